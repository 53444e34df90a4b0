"""Conversation history: messages recorded once and ordered by time."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from helpers.caller import Caller
from helpers.examples import ACCOUNT, OTHER_ACCOUNT, UNKNOWN_ID
from helpers.messages import message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture
def contact(caller: Caller) -> str:
    return f"/api/contacts/{caller.create(account_id=ACCOUNT)['id']}"


def summary(caller: Caller, path: str) -> dict[str, Any]:
    fields = ("last_message_at", "last_message_preview", "last_inbound_at", "unread_count")
    return {name: caller.get(path).data[name] for name in fields}


def test_recorded_message_is_returned_and_listed(caller: Caller, contact: str) -> None:
    content = {"body": "Hello", "nested": {"kept": [1, 2**70, None]}}
    response = caller.post(f"{contact}/messages", message(1, content=content))
    assert response.status == 201
    assert response.data == {
        "id": response.data["id"],
        "contact_id": contact.rpartition("/")[2],
        "wa_message_id": "wamid.0001",
        "direction": "incoming",
        "type": "text",
        "content": content,
        "history": False,
        "status": None,
        "status_at": None,
        "error": None,
        "timestamp": "2024-01-01T00:00:01Z",
        "created_at": response.data["created_at"],
    }
    assert caller.get(f"{contact}/messages").data == {"items": [response.data], "has_more": False}


def test_contact_shows_its_newest_message(caller: Caller, contact: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    moment = (now - timedelta(hours=23)).isoformat()
    caller.post(f"{contact}/messages", message(1, timestamp=moment))
    after = caller.get(contact).data
    assert datetime.fromisoformat(after["last_message_at"]) == datetime.fromisoformat(moment)
    assert after["last_inbound_at"] == after["last_message_at"]
    assert (after["last_message_preview"], after["unread_count"], after["service_window_open"]) == ("text 1", 1, True)
    caller.post(f"{contact}/messages", {"direction": "outgoing", "type": "image", "content": {"caption": "Look"}})
    updated = caller.get(contact).data
    assert (updated["last_message_preview"], updated["unread_count"]) == ("Look", 1)
    assert updated["last_inbound_at"] == after["last_inbound_at"]
    assert updated["last_message_at"] > after["last_message_at"]
    assert updated["version"] == after["version"] + 1


def test_service_window_closes_after_24_hours(caller: Caller, contact: str) -> None:
    long_ago = (datetime.now(UTC) - timedelta(hours=24, seconds=1)).isoformat()
    caller.post(f"{contact}/messages", message(1, timestamp=long_ago))
    assert caller.get(contact).data["service_window_open"] is False


@pytest.mark.parametrize(
    ("message_type", "content", "expected"),
    [
        ("text", {"body": "é" * 150}, "é" * 100),
        ("text", {"body": "🎉" * 150}, "🎉" * 100),
        ("text", {"text": {"body": "inside"}}, "inside"),
        ("text", {"text": "plain"}, "plain"),
        ("text", {}, "Text"),
        ("text", {"body": "  "}, "Text"),
        ("text", {"body": 5}, "Text"),
        ("image", {"id": "1", "caption": "Look"}, "Look"),
        ("image", {"id": "1"}, "Image"),
        ("button", {"text": "Yes", "payload": "YES"}, "Yes"),
        ("interactive", {"type": "button_reply", "button_reply": {"id": "1", "title": "Agree"}}, "Agree"),
        ("interactive", {"type": "list_reply", "list_reply": {"id": "1", "title": "Choose"}}, "Choose"),
        ("interactive", {"type": "button", "body": {"text": "Choose one"}}, "Choose one"),
        ("location", {"latitude": 1, "longitude": 2, "name": "Office"}, "Office"),
        ("template", {"name": "welcome"}, "welcome"),
        ("call", {"event": "missed"}, "Call"),
        ("contacts", {"contacts": [{}]}, "Contact card"),
        ("document", {"id": "1", "filename": "invoice.pdf"}, "invoice.pdf"),
        ("interactive", {"type": "nfm_reply", "nfm_reply": {"name": "flow", "body": "Sent"}}, "Sent"),
        ("text", {"body": "  indented"}, "indented"),
        ("unsupported", {}, "Unsupported message"),
    ],
)
def test_preview_is_the_text_the_caption_or_the_type(
    caller: Caller, contact: str, message_type: str, content: dict[str, Any], expected: str
) -> None:
    caller.post(f"{contact}/messages", message(1, type=message_type, content=content))
    assert caller.get(contact).data["last_message_preview"] == expected


def test_content_limit_counts_bytes_as_sent(caller: Caller, contact: str) -> None:
    assert caller.post(f"{contact}/messages", message(1, content={"list": [1] * 30_000})).status == 201


def test_repeated_message_changes_nothing(caller: Caller, contact: str) -> None:
    first = caller.post(f"{contact}/messages", message(1)).data
    before = caller.get(contact).data
    again = caller.post(f"{contact}/messages", message(1, content={"body": "other"}, direction="outgoing"))
    assert (again.status, again.data) == (200, first)
    assert caller.get(contact).data == before
    # The id is unique within an account: another contact of the account gets the same message, another account its own.
    sibling = caller.create("+1234567891", account_id=ACCOUNT)["id"]
    assert caller.post(f"/api/contacts/{sibling}/messages", message(1)).data == first
    assert caller.get(f"/api/contacts/{sibling}").data["unread_count"] == 0
    for account in (OTHER_ACCOUNT, None):
        stranger = caller.create("+1234567892", account_id=account)["id"]
        assert caller.post(f"/api/contacts/{stranger}/messages", message(1)).status == 201
        again = caller.post(f"/api/contacts/{stranger}/messages", message(1))
        assert (again.status, again.data["contact_id"]) == (200, stranger)
        body = {"account_id": account, "wa_message_id": "wamid.0001", "status": "read"}
        assert caller.put("/api/messages/status", body).data["contact_id"] == stranger
    assert caller.get(f"{contact}/messages").data["items"] == [first], "not the status of another account"


def test_messages_without_a_whatsapp_id_are_all_recorded(caller: Caller, contact: str) -> None:
    body = {"direction": "incoming", "type": "text", "content": {"body": "Hi"}}
    for _ in range(3):
        assert caller.post(f"{contact}/messages", body).status == 201
    assert len(caller.get(f"{contact}/messages").data["items"]) == 3


def test_mark_read_resets_the_unread_count(caller: Caller, contact: str) -> None:
    for number in range(3):
        caller.post(f"{contact}/messages", message(number))
    before = caller.get(contact).data
    read = caller.request("POST", f"{contact}/mark-read").data
    assert read == {**before, "unread_count": 0, "version": before["version"] + 1, "updated_at": read["updated_at"]}
    caller.post(f"{contact}/messages", message(3))
    assert caller.get(contact).data["unread_count"] == 1


def test_history_pages_hold_every_message_once_in_both_directions(caller: Caller, contact: str) -> None:
    numbers = list(range(23))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        caller.post(f"{contact}/messages", message(number, second=number // 3))
    whole = [item["wa_message_id"] for item in caller.get(f"{contact}/messages", limit=100).data["items"]]
    assert whole == [f"wamid.{number:04}" for number in range(23)]
    for limit in (1, 4, 22, 23):
        page = caller.get(f"{contact}/messages", limit=limit).data
        assert len(page["items"]) == limit
        walked = page["items"]
        while page["has_more"]:
            page = caller.get(f"{contact}/messages", limit=limit, before=walked[0]["id"]).data
            assert page["items"]
            walked = page["items"] + walked
        assert [item["wa_message_id"] for item in walked] == whole
        forth, page = walked[:1], {"has_more": True}
        while page["has_more"]:
            page = caller.get(f"{contact}/messages", limit=limit, after=forth[-1]["id"]).data
            forth += page["items"]
        assert [item["wa_message_id"] for item in forth] == whole
    between = caller.get(f"{contact}/messages", after=walked[5]["id"], before=walked[9]["id"]).data
    assert [item["wa_message_id"] for item in between["items"]] == whole[6:9]


def test_page_of_large_messages_ends_early_and_leads_on(caller: Caller, contact: str) -> None:
    large = {"content": {"body": "x" * 60_000}}
    for number in range(50):
        path = f"{contact}/messages"
        recorded = caller.post(path, message(wa_message_id=f"wamid.{number:02}", **large)).data
        failed = {"status": "failed", "error": {"text": "é" * 30_000}}
        assert caller.put(f"/api/messages/{recorded['id']}/status", failed).status == 200
    everything = [f"wamid.{number:02}" for number in range(50)]
    newest = caller.get(path, limit=100).data
    older = caller.get(path, limit=100, before=newest["items"][0]["id"]).data
    pages = [[item["wa_message_id"] for item in page["items"]] for page in (older, newest)]
    assert pages == [everything[:15], everything[15:]], "35 of 120 kB reach 4 MiB"
    assert (newest["has_more"], older["has_more"]) == (True, False)
    after = caller.get(path, limit=100, after=older["items"][0]["id"]).data
    assert [item["wa_message_id"] for item in after["items"]] == everything[1:36]
    assert after["has_more"]


def test_unknown_bound_of_the_history_is_404(caller: Caller, contact: str) -> None:
    other = f"/api/contacts/{caller.create('+1234567899')['id']}"
    foreign = caller.post(f"{other}/messages", message(1)).data["id"]
    for bound in ("before", "after"):
        for message_id in (UNKNOWN_ID, foreign):
            response = caller.get(f"{contact}/messages", **{bound: message_id})
            assert (response.status, response.code) == (404, "message_not_found")
    assert caller.get(f"{contact}/messages").data == {"items": [], "has_more": False}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"direction": "sideways"}, "direction"),
        ({"direction": None}, "direction"),
        ({"type": "hologram"}, "type"),
        ({"content": []}, "content"),
        ({"content": {"body": "x" * 70_000}}, "content"),
        ({"content": {"body": "\x00"}}, "content"),
        ({"content": {"list": [1] * 33_000}}, "content"),
        ({"status": "lost"}, "status"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "2024-01-01T12:00:00"}, "timestamp"),
        ({"timestamp": "2024-01-01"}, "timestamp"),
        ({"timestamp": "2024-02-30T12:00:00Z"}, "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp"),
        ({"timestamp": 1704067200}, "timestamp"),
        ({"wa_message_id": ""}, "wa_message_id"),
        ({"from": "1"}, "from"),
    ],
)
def test_invalid_message_is_400_and_changes_nothing(
    caller: Caller, contact: str, fields: dict[str, Any], field: str
) -> None:
    before = caller.get(contact).data
    response = caller.post(f"{contact}/messages", message(1, **fields))
    assert (response.status, list(response.errors)) == (400, [field])
    assert caller.get(contact).data == before


arrivals = st.lists(
    st.builds(
        lambda second, direction, kind: {"second": second, "direction": direction, "type": kind},
        st.integers(0, 3),
        st.sampled_from(["incoming", "outgoing"]),
        st.sampled_from(["text", "image"]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrived=arrivals, shuffle=st.randoms(use_true_random=False))
def test_messages_in_any_order_and_repeated_end_the_same(
    caller: Caller, arrived: list[dict[str, Any]], shuffle: random.Random
) -> None:
    bodies = [message(number, **fields) for number, fields in enumerate(arrived)]
    ends = []
    for disorder in (False, True):
        arriving = list(bodies)
        if disorder:
            arriving += shuffle.sample(bodies, len(bodies) // 2)
            shuffle.shuffle(arriving)
        path = f"/api/contacts/{caller.create(account_id=ACCOUNT)['id']}"
        for body in arriving:
            caller.post(f"{path}/messages", body)
        history = caller.get(f"{path}/messages").data["items"]
        ends.append((summary(caller, path), [item["wa_message_id"] for item in history]))
        caller.delete(path)
    assert ends[0] == ends[1]
    final, order = ends[0]
    newest = max(bodies, key=lambda body: (body["timestamp"], body["wa_message_id"]))
    assert order[-1] == newest["wa_message_id"]
    assert final["unread_count"] == sum(body["direction"] == "incoming" for body in bodies)


def test_message_of_the_last_day_of_all_is_recorded(caller: Caller) -> None:
    """The service window would end in a year of five digits."""
    contact = caller.create()["id"]
    recorded = caller.post(f"/api/contacts/{contact}/messages", message(timestamp="9999-12-31T16:00:00Z"))
    assert recorded.data["timestamp"] == "9999-12-31T16:00:00Z"
    assert caller.get(f"/api/contacts/{contact}").data["service_window_expires_at"] == "9999-12-31T23:59:59.999999Z"


@pytest.mark.parametrize(
    ("message_type", "is_shown", "opens_window"),
    [
        *(("text", True, True), ("call", True, True), ("reaction", False, True)),
        *(("edit", False, False), ("revoke", False, False), ("system", False, False)),
    ],
)
def test_what_a_message_moves_follows_from_its_type(
    caller: Caller, contact: str, message_type: str, *, is_shown: bool, opens_window: bool
) -> None:
    caller.post(f"{contact}/messages", message(1, content={"body": "before"}))
    moment = datetime.now(UTC).isoformat()
    caller.post(f"{contact}/messages", message(2, type=message_type, content={"body": "it"}, timestamp=moment))
    after = caller.get(contact).data
    assert after["unread_count"] == (2 if is_shown else 1)
    assert after["last_message_preview"] == ("it" if is_shown else "before")
    assert (after["last_message_at"] != "2024-01-01T00:00:01Z") == is_shown
    assert (after["last_inbound_at"] != "2024-01-01T00:00:01Z") == opens_window
    assert after["service_window_open"] == opens_window
    expires_at = datetime.fromisoformat(after["last_inbound_at"]) + timedelta(hours=24)
    assert datetime.fromisoformat(after["service_window_expires_at"]) == expires_at
    caller.post(f"{contact}/messages", message(3, type=message_type, direction="outgoing"))
    assert caller.get(contact).data["unread_count"] == after["unread_count"]


def test_message_of_the_history_counts_as_read(caller: Caller, contact: str) -> None:
    body = message(1, history=True)
    recorded = caller.post(f"{contact}/messages", body).data
    assert recorded["history"] is True
    after = caller.get(contact).data
    assert after["unread_count"] == 0
    assert after["last_message_at"] == after["last_inbound_at"] == recorded["timestamp"]
    caller.post("/api/messages", message(2, history=True, contact={"phone_number": after["phone_number"]}))
    assert caller.get(contact).data["unread_count"] == 0
