"""Events of contacts: who changed what, for every operation that writes."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.examples import ACCOUNT, FLOW_ID, OTHER_USER, UNKNOWN_ID, USER
from helpers.keys import make_key
from helpers.messages import message

from contacts_service.db.database import database, reading, writing
from schemas.contacts import ContactUpdate

NUMBER = "+1234567890"
AGENT = "Jörg <joerg@example.com>"
HEADERS = {"X-Actor": AGENT.encode().decode("latin-1")}
Told = list[tuple[str, list[str]]]


def events_of(caller: Caller, contact_id: str, **query: object) -> list[dict[str, Any]]:
    return caller.get(f"/api/contacts/{contact_id}/events", **query).data["items"]


def set_status(writer: Caller, path: str, body: dict[str, Any]) -> Any:
    return writer.put(path, {**body, "status": "read"}, HEADERS)


def undo_merge(writer: Caller, contact: str, _: str) -> Any:
    source = writer.create("+19998887777")["id"]
    writer.post(f"/api/contacts/{contact}/merge", {"source_id": source}, HEADERS)
    return writer.delete(f"/api/contacts/{contact}/merges/{source}", HEADERS)


# Each writing operation: a request about a contact with a message and a session, and the events that it leaves there.
OPERATIONS: dict[str, tuple[Callable[[Caller, str, str], Any], Told]] = {
    "PUT /api/contacts/{id}": (
        lambda writer, contact, _: writer.put(f"/api/contacts/{contact}", {"name": "A", "username": "a"}, HEADERS),
        [("updated", ["username", "name"])],
    ),
    "PATCH /api/contacts/{id}": (
        lambda writer, contact, _: writer.patch(f"/api/contacts/{contact}", {"tags": ["vip"]}, HEADERS),
        [("tagged", ["tags"])],
    ),
    "POST /api/contacts/import": (
        lambda writer, _, __: writer.request(
            "POST",
            "/api/contacts/import",
            data=f"phone_number,name,tags\n{NUMBER},A,vip\n",
            content_type="text/csv",
            headers=HEADERS,
        ),
        [("updated", ["name", "tags"])],
    ),
    "PUT /api/contacts/{id}/assign": (
        lambda writer, contact, _: writer.put(f"/api/contacts/{contact}/assign", {"user_id": USER}, HEADERS),
        [("assigned", ["assigned_to"])],
    ),
    "POST /api/contacts/{id}/mark-read": (
        lambda writer, contact, _: writer.post(f"/api/contacts/{contact}/mark-read", None, HEADERS),
        [("read", ["unread_count"])],
    ),
    "PUT /api/contacts/{id}/tags/{tag}": (
        lambda writer, contact, _: writer.put(f"/api/contacts/{contact}/tags/vip", None, HEADERS),
        [("tagged", ["tags"])],
    ),
    "DELETE /api/contacts/{id}/tags/{tag}": (
        lambda writer, contact, _: writer.delete(f"/api/contacts/{contact}/tags/vip", HEADERS),
        [],
    ),
    "POST /api/contacts/bulk": (
        lambda writer, *_: writer.post(
            "/api/contacts/bulk",
            {"filter": {}, "expected_total": 1, "set": {"assigned_to": USER}, "add_tags": ["vip"]},
            HEADERS,
        ),
        [("updated", ["assigned_to", "tags"])],
    ),
    "POST /api/contacts/resolve": (
        lambda writer, *_: writer.post("/api/contacts/resolve", {"phone_number": NUMBER, "bsuid": "US.1"}, HEADERS),
        [("updated", ["bsuid"])],
    ),
    "POST /api/messages": (
        lambda writer, *_: writer.post(
            "/api/messages", {**message(7), "contact": {"phone_number": NUMBER, "profile_name": "Ana"}}, HEADERS
        ),
        [("updated", ["profile_name"])],
    ),
    "POST /api/contacts/{id}/merge": (
        lambda writer, contact, _: writer.post(
            f"/api/contacts/{contact}/merge",
            {"source_id": writer.create("+19998887777", name="B")["id"]},
            HEADERS,
        ),
        [("merged", ["name"])],
    ),
    "DELETE /api/contacts/{id}/merges/{source_id}": (
        undo_merge,
        [("unmerged", []), ("merged", [])],
    ),
    "POST /api/contacts/duplicates/dismiss": (
        lambda writer, contact, _: writer.post(
            "/api/contacts/duplicates/dismiss", {"ids": [contact, writer.create("+19998887777")["id"]]}, HEADERS
        ),
        [],
    ),
    "POST /api/contacts/{id}/messages": (
        lambda writer, contact, _: writer.post(f"/api/contacts/{contact}/messages", message(7), HEADERS),
        [],
    ),
    "PUT /api/messages/{id}/status": (
        lambda writer, _, recorded: set_status(writer, f"/api/messages/{recorded}/status", {}),
        [],
    ),
    "PUT /api/messages/status": (
        lambda writer, *_: set_status(writer, "/api/messages/status", {"wa_message_id": "wamid.0001"}),
        [],
    ),
    "PUT /api/contacts/{id}/session-data": (
        lambda writer, contact, _: writer.put(f"/api/contacts/{contact}/session-data", {"session_data": {}}, HEADERS),
        [],
    ),
    "PATCH /api/contacts/{id}/session-data": (
        lambda writer, contact, _: writer.patch(f"/api/contacts/{contact}/session-data", {"status": "active"}, HEADERS),
        [],
    ),
    "PUT /api/flows/{id}": (
        lambda writer, *_: writer.put(
            f"/api/flows/{FLOW_ID}", {"name": "F", "panel_config": {"sections": []}}, HEADERS
        ),
        [],
    ),
    "DELETE /api/flows/{id}": (lambda writer, *_: writer.delete(f"/api/flows/{FLOW_ID}", HEADERS), []),
}
CREATING: dict[str, tuple[Callable[[Caller], Any], list[str]]] = {
    "POST /api/contacts": (
        lambda writer: writer.post("/api/contacts", {"phone_number": NUMBER, "account_id": ACCOUNT}, HEADERS),
        ["phone_number", "account_id"],
    ),
    "POST /api/contacts/resolve": (
        lambda writer: writer.post("/api/contacts/resolve", {"bsuid": "US.1", "profile_name": "Ana"}, HEADERS),
        ["bsuid", "profile_name"],
    ),
    "POST /api/messages": (
        lambda writer: writer.post("/api/messages", {**message(1), "contact": {"phone_number": NUMBER}}, HEADERS),
        ["phone_number"],
    ),
}
ENDING = {"DELETE /api/contacts/{id}"}
"""Of what is deleted there are no events."""


def test_events_of_every_writing_operation_are_tested(caller: Caller) -> None:
    """A new operation fails here until it is listed with the events that it leaves."""
    writing_operations = {
        f"{method.upper()} {path}"
        for path, operations in caller.openapi["paths"].items()
        for method in operations
        if method in {"post", "put", "patch", "delete"}
    }
    assert writing_operations == OPERATIONS.keys() | CREATING.keys() | ENDING


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_leaves_exactly_its_events(app: Flask, name: str) -> None:
    send, expected = OPERATIONS[name]
    other, writer = Caller(app, make_key(app, name="other")), Caller(app, make_key(app, name="writer"))
    contact = other.post("/api/contacts", {"phone_number": NUMBER}, {"X-Actor": "nobody"}).data["id"]
    recorded = other.post(f"/api/contacts/{contact}/messages", message(1)).data["id"]
    other.put(f"/api/contacts/{contact}/session-data", {"session_data": {}})
    other.put(f"/api/flows/{FLOW_ID}", {"name": "Flow", "panel_config": {"sections": []}})
    assert [event["kind"] for event in events_of(other, contact)] == ["created"]
    assert send(writer, contact, recorded).status < 300
    left = events_of(other, contact)[:-1]
    assert [(event["kind"], event["fields"], event["actor"], event["on_behalf_of"]) for event in left] == [
        (kind, fields, "writer", AGENT) for kind, fields in expected
    ]
    for event in left:
        now = other.get(f"/api/contacts/{contact}").data
        assert (event["version"], event["at"]) <= (now["version"], now["updated_at"])
    if "merge" not in name and "dismiss" not in name:  # These need another contact each time.
        send(writer, contact, recorded)
    again = [event for event in events_of(other, contact)[:-1] if event not in left]
    assert again == [], "a write that changes nothing is no event"


@pytest.mark.parametrize("name", CREATING)
def test_every_operation_that_creates_says_so(app: Flask, name: str) -> None:
    send, fields = CREATING[name]
    writer = Caller(app, make_key(app, name="writer"))
    created = send(writer).data
    contact = writer.get(f"/api/contacts/{created.get('contact_id') or created['id']}").data
    [event] = events_of(writer, contact["id"])
    assert event.pop("id")
    at = event.pop("at")
    assert at == contact["created_at"]
    told = {"kind": "created", "fields": fields, "actor": "writer", "on_behalf_of": AGENT, "version": 1}
    assert event == told


VALUES: dict[str, Any] = {
    "phone_number": "+19998887777",
    "bsuid": "US.secret",
    "parent_bsuid": "US.ENT.secret",
    "avatar_url": "https://secret.example",
    "tags": ["secret"],
    "marketing_opt_out": True,
    "marketing_opt_out_at": "2024-01-01T12:00:00Z",
    "metadata": {"secret": 1},
}


@pytest.mark.parametrize("field", ContactUpdate().fields)
def test_every_field_that_callers_write_is_named_and_its_value_is_not(caller: Caller, field: str) -> None:
    """A new field fails here until the triggers compare it, see db/migrations/initial_changes.py."""
    contact = caller.create()["id"]
    consent = ["marketing_opt_out", "marketing_opt_out_at", "marketing_opt_out_source"]
    fields = consent if field in consent else [field]
    sent = {name: VALUES.get(name, "secret") for name in fields if name in ContactUpdate().fields}
    assert caller.patch(f"/api/contacts/{contact}", sent).status == 200
    event = events_of(caller, contact)[0]
    assert event["fields"] == fields
    assert "secret" not in str(event)
    assert event["kind"] == ("tagged" if field == "tags" else "updated")


def test_events_are_read_newest_first_in_pages(caller: Caller) -> None:
    contact, other = caller.create()["id"], caller.create("+1234567891")["id"]
    for number in range(5):
        caller.put(f"/api/contacts/{contact}", {"name": f"Name {number}"})
        caller.post(f"/api/contacts/{contact}/messages", message(number))
    path = f"/api/contacts/{contact}/events"
    pages, query = [], {"limit": 4}
    while True:
        page = caller.get(path, **query).data
        pages.append([event["version"] for event in page["items"]])
        if not page["has_more"]:
            break
        query["before"] = page["items"][-1]["id"]
    assert pages == [[10, 8, 6, 4], [2, 1]]
    assert len({event["id"] for event in events_of(caller, contact)}) == 6
    for unknown in (UNKNOWN_ID, events_of(caller, other)[0]["id"]):
        response = caller.get(path, before=unknown)
        assert (response.status, response.code) == (404, "event_not_found")
    assert caller.get(f"/api/contacts/{UNKNOWN_ID}/events").code == "contact_not_found"
    caller.delete(f"/api/contacts/{contact}")
    assert caller.get(path).code == "contact_not_found"
    with reading():
        left = database.execute_sql("SELECT count(*) FROM contact_event").fetchone()
    assert left == (1,), "events go with their contact"


def test_caller_without_key_has_no_name(caller: Caller) -> None:
    contact = caller.create()["id"]
    caller.put(f"/api/contacts/{contact}/assign", {"user_id": USER}, {"X-Actor": "agent 7"})
    caller.put(f"/api/contacts/{contact}/assign", {"user_id": OTHER_USER})
    told = [(event["actor"], event["on_behalf_of"]) for event in events_of(caller, contact)]
    assert told == [(None, None), (None, "agent 7"), (None, None)], "none is taken from the request before"


@pytest.mark.parametrize("value", ["", " ", "x" * 256, "a\x7fb", "\xff", "a\u0085b".encode().decode("latin-1")])
def test_invalid_x_actor_is_400_and_nothing_is_written(caller: Caller, value: str) -> None:
    response = caller.post("/api/contacts", {"phone_number": NUMBER}, {"X-Actor": value})
    assert (response.status, [*response.errors]) == (400, ["X-Actor"])
    assert caller.get("/api/contacts").data["total"] == 0
    longest = ("ü" * 255).encode().decode("latin-1")
    assert caller.post("/api/contacts", {"phone_number": NUMBER}, {"X-Actor": longest}).status == 201


def test_statement_past_the_service_is_not_taken_for_a_caller(caller: Caller) -> None:
    contact = caller.post("/api/contacts", {"phone_number": NUMBER}, {"X-Actor": "agent"}).data["id"]
    caller.put(f"/api/contacts/{contact}", {"name": "A"}, {"X-Actor": "agent"})
    caller.post(f"/api/contacts/{contact}/messages", message(1))
    with writing():
        database.execute_sql("UPDATE contact SET name = 'B'")
    assert [event["on_behalf_of"] for event in events_of(caller, contact)] == [None, "agent", "agent"]


def told(caller: Caller, contact_id: str) -> list[tuple[str, list[str], int]]:
    return [(event["kind"], event["fields"], event["version"]) for event in events_of(caller, contact_id)]


def test_merge_is_an_event_even_if_no_field_changes(caller: Caller) -> None:
    survivor, source = (caller.create(f"+123456780{number}")["id"] for number in range(2))
    caller.post(f"/api/contacts/{survivor}/merge", {"source_id": source})
    assert told(caller, survivor) == [("merged", [], 2), ("created", ["phone_number"], 1)]
    assert caller.get(f"/api/contacts/{source}/events").code == "contact_merged"


def test_undone_merge_is_an_event_of_both_and_brings_earlier_events_back(caller: Caller) -> None:
    survivor, source = (caller.create(f"+123456780{number}")["id"] for number in range(2))
    caller.put(f"/api/contacts/{source}", {"name": "A", "tags": ["vip"]}, {"X-Actor": "agent"})
    caller.post(f"/api/contacts/{source}/messages", message(1))
    before = events_of(caller, source)
    caller.post(f"/api/contacts/{survivor}/merge", {"source_id": source})
    merged = ("merged", ["name", "tags"], 2)
    assert told(caller, survivor) == [merged, ("created", ["phone_number"], 1)]
    caller.delete(f"/api/contacts/{survivor}/merges/{source}")
    assert told(caller, survivor) == [
        ("unmerged", ["name", "tags", "unread_count"], 3),
        merged,
        ("created", ["phone_number"], 1),
    ]
    assert events_of(caller, source)[1:] == before
    assert told(caller, source)[0][::2] == ("unmerged", 4)
