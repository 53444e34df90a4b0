"""Merging: two contacts become one, and callers that know the ended one are led to the survivor."""

from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller, Response
from helpers.examples import ACCOUNT, FLOW_ID, OTHER_ACCOUNT, OTHER_USER, UNKNOWN_ID, USER
from helpers.keys import make_key
from helpers.messages import message

from contacts_service.contacts.tables import ContactMerge
from contacts_service.db.database import reading
from contacts_service.web.stored_responses import StoredResponse

NUMBER, OTHER_NUMBER = "+1234567890", "+1234567891"
BSUID, OTHER_BSUID = "US.1A2b3C", "US.4D5e6F"


def merge(caller: Caller, survivor: str, source: str, **body: Any) -> Response:
    return caller.post(f"/api/contacts/{survivor}/merge", {"source_id": source, **body})


def record(caller: Caller, contact: str, number: int, **fields: Any) -> Response:
    return caller.post(f"/api/contacts/{contact}/messages", message(number, **fields))


def history(caller: Caller, contact: str) -> list[str]:
    return [item["wa_message_id"] for item in caller.get(f"/api/contacts/{contact}/messages").data["items"]]


def without_times(contact: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in contact.items() if name not in {"version", "updated_at"}}


def two_contacts(caller: Caller, **account: str) -> tuple[str, str]:
    survivor = caller.create(NUMBER, name="Ann", **account)["id"]
    return survivor, caller.post("/api/contacts", {"bsuid": BSUID, **account}).data["id"]


def test_values_of_the_survivor_win_and_the_source_fills_the_gaps(caller: Caller) -> None:
    survivor = caller.create(NUMBER, name="Ann", tags=["vip", "new"], metadata={"plan": "gold", "b": None})["id"]
    source = caller.create(
        OTHER_NUMBER,
        bsuid=BSUID,
        name="Annie",
        profile_name="Ann 🌷",
        username="ann",
        avatar_url="https://example.com/a.jpg",
        external_id="crm-1",
        tags=["new", "old"],
        metadata={"plan": "free", "b": 1, "city": {"name": "Rome", "zip": None}},
        marketing_opt_out=True,
    )["id"]
    caller.put(f"/api/contacts/{source}/assign", {"user_id": USER})
    answer = merge(caller, survivor, source)
    contact = answer.data
    told = contact.pop("merge")
    assert contact == caller.get(f"/api/contacts/{survivor}").data
    assert answer.headers["ETag"] == caller.get(f"/api/contacts/{survivor}").headers["ETag"]
    assert (contact["id"], contact["name"], contact["phone_number"]) == (survivor, "Ann", NUMBER)
    assert (contact["bsuid"], contact["external_id"]) == (BSUID, "crm-1")
    assert (contact["profile_name"], contact["username"], contact["assigned_to"]) == ("Ann 🌷", "ann", USER)
    assert contact["tags"] == ["vip", "new", "old"]
    assert contact["metadata"] == {"plan": "gold", "b": None, "city": {"name": "Rome", "zip": None}}
    assert contact["marketing_opt_out"] is True
    filled = ["bsuid", "external_id", "username", "profile_name", "avatar_url", "assigned_to"]
    assert told == {
        "source_id": source,
        "fields": [*filled, "metadata", "tags", "marketing_opt_out"],
        "messages": 0,
        "sessions": 0,
    }


def test_messages_and_sessions_move_and_what_is_shown_of_them_follows(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    record(caller, survivor, 1)
    record(caller, survivor, 4, direction="outgoing")
    record(caller, source, 3)
    record(caller, source, 5, direction="outgoing", content={"body": "the newest"})
    for contact in (survivor, source):
        caller.put(f"/api/contacts/{contact}/session-data", {"session_data": {"of": contact}})
    merged = merge(caller, survivor, source).data
    assert (merged["merge"]["messages"], merged["merge"]["sessions"]) == (2, 1)
    assert history(caller, survivor) == ["wamid.0001", "wamid.0003", "wamid.0004", "wamid.0005"]
    assert merged["last_message_preview"] == "the newest"
    assert merged["last_message_at"] == "2024-01-01T00:00:05Z"
    assert merged["last_inbound_at"] == "2024-01-01T00:00:03Z"
    assert merged["unread_count"] == 2
    sessions = caller.get(f"/api/contacts/{survivor}/sessions").data["items"]
    assert [session["session_data"]["of"] for session in sessions] == [source, survivor]
    status = caller.put("/api/messages/status", {"wa_message_id": "wamid.0005", "status": "read"})
    assert status.data["contact_id"] == survivor
    again = record(caller, survivor, 3)
    assert (again.status, again.data["contact_id"]) == (200, survivor)


def test_older_messages_of_the_source_change_nothing_that_is_shown(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    record(caller, survivor, 9)
    record(caller, source, 2, direction="outgoing")
    merged = merge(caller, survivor, source).data
    assert (merged["last_message_preview"], merged["unread_count"]) == ("text 9", 1)
    assert merged["last_inbound_at"] == merged["last_message_at"] == "2024-01-01T00:00:09Z"


def test_totals_search_tags_and_filters_are_right_after_a_merge(caller: Caller) -> None:
    survivor, source = two_contacts(caller, account_id=ACCOUNT)
    caller.put(f"/api/contacts/{source}", {"profile_name": "Zoë", "tags": ["old"]})
    caller.put(f"/api/contacts/{source}/assign", {"user_id": OTHER_USER})
    merge(caller, survivor, source)
    for query in (
        {},
        {"account_id": ACCOUNT},
        {"search": "zoe"},
        {"search": "ann zoe"},
        {"tags": "old"},
        {"assigned_to": OTHER_USER},
        {"bsuid": BSUID},
        {"phone_number": NUMBER},
    ):
        page = caller.get("/api/contacts", **query).data
        assert ([item["id"] for item in page["items"]], page["total"]) == ([survivor], 1), query
    assert caller.get("/api/contacts", assigned_to="none").data["total"] == 0
    assert caller.get("/api/contacts", ids=source).data["total"] == 0


def test_dry_run_answers_the_same_and_writes_nothing(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    caller.put(f"/api/contacts/{source}", {"tags": ["t"], "metadata": {"a": 1}})
    record(caller, source, 1)
    before = [caller.get(f"/api/contacts/{contact}").data for contact in (survivor, source)]
    dry = merge(caller, survivor, source, dry_run=True)
    assert "ETag" not in dry.headers, "this version doesn't exist"
    assert [caller.get(f"/api/contacts/{contact}").data for contact in (survivor, source)] == before
    assert history(caller, source) == ["wamid.0001"]
    assert caller.get(f"/api/contacts/{survivor}/merges").data == {"items": []}
    done = merge(caller, survivor, source, dry_run=False).data
    assert {**dry.data, "updated_at": None} == {**done, "updated_at": None}


BODIES: dict[str, Any] = {
    "GET": None,
    "PUT": {"name": "x"},
    "PATCH": {"name": "x"},
    "DELETE": None,
    "GET /messages": None,
    "POST /messages": message(1),
    "POST /mark-read": None,
    "PUT /assign": {"user_id": USER},
    "PUT /tags/vip": None,
    "DELETE /tags/vip": None,
    "GET /session-data": None,
    "PUT /session-data": {"session_data": {}},
    "PATCH /session-data": {"session_data": {"a": 1}},
    "GET /sessions": None,
    "POST /merge": {"source_id": UNKNOWN_ID},
    "GET /merges": None,
    "GET /events": None,
    "GET /export": None,
    f"DELETE /merges/{UNKNOWN_ID}": None,
}


def test_every_operation_on_an_ended_contact_is_410_and_names_the_last_survivor(app: Flask, caller: Caller) -> None:
    first, second, third = (caller.create(f"+123456789{number}", account_id=ACCOUNT)["id"] for number in range(3))
    merge(caller, second, first)
    merge(caller, third, second)
    named = {f"{name.partition(' ')[0]} /api/contacts/{{id}}{name.partition(' ')[2]}" for name in BODIES}
    documented = {
        f"{method.upper()} {path.replace('{source_id}', UNKNOWN_ID).replace('{tag}', 'vip')}"
        for path, operations in caller.openapi["paths"].items()
        for method in operations
        if path.startswith("/api/contacts/{id}") and method != "parameters"
    }
    assert documented == named, "every operation is tried below"
    for ended in (first, second):
        for name, body in BODIES.items():
            method, _, path = name.partition(" ")
            response = caller.request(method, f"/api/contacts/{ended}{path}", json=body)
            assert (response.status, response.code) == (410, "contact_merged"), name
            assert response.errors == {"id": [third]}
            assert response.headers["Link"] == f'</api/contacts/{third}>; rel="successor-version"'
    stranger = Caller(app, make_key(app, accounts=[OTHER_ACCOUNT]))
    assert stranger.get(f"/api/contacts/{first}").status == 404
    own = Caller(app, make_key(app, accounts=[ACCOUNT]))
    assert own.get(f"/api/contacts/{first}").status == 410


def test_ended_contact_is_404_when_its_survivor_is_deleted(caller: Caller) -> None:
    first, second, third = (caller.create(f"+123456789{number}")["id"] for number in range(3))
    merge(caller, second, first)
    merge(caller, third, second)
    assert caller.delete(f"/api/contacts/{third}").status == 200
    for ended in (first, second, third):
        assert caller.get(f"/api/contacts/{ended}").status == 404
    with reading():
        assert ContactMerge.select().count() == 0, "the snapshots went too"


def test_answers_kept_of_the_source_go_with_the_survivor(caller: Caller) -> None:
    survivor = caller.create(NUMBER)["id"]
    key = {"Idempotency-Key": "first"}
    source = caller.post("/api/contacts", {"phone_number": OTHER_NUMBER, "name": "Secret"}, key).data["id"]
    merge(caller, survivor, source)
    caller.delete(f"/api/contacts/{survivor}")
    with reading():
        assert [stored.body for stored in StoredResponse.select()] == [None]


def test_what_arrives_under_identifiers_of_the_source_finds_the_survivor(caller: Caller) -> None:
    survivor = caller.create(NUMBER, bsuid=BSUID)["id"]
    source = caller.create(OTHER_NUMBER, bsuid=OTHER_BSUID, external_id="crm-1")["id"]
    merge(caller, survivor, source)
    for identity in ({"bsuid": OTHER_BSUID}, {"phone_number": OTHER_NUMBER}, {"external_id": "crm-1", "bsuid": BSUID}):
        found = caller.post("/api/contacts/resolve", identity)
        assert (found.status, found.data["id"]) == (200, survivor), identity
    assert caller.get(f"/api/contacts/{survivor}").data["bsuid"] == BSUID
    taken = caller.post("/api/contacts", {"bsuid": OTHER_BSUID})
    assert (taken.status, taken.errors) == (409, {"id": [survivor]})


def test_number_of_the_source_goes_to_the_next_contact_that_gets_it(caller: Caller) -> None:
    survivor = caller.create(NUMBER)["id"]
    source = caller.create(OTHER_NUMBER)["id"]
    merge(caller, survivor, source)
    other = caller.create(OTHER_NUMBER)["id"]
    assert caller.post("/api/contacts/resolve", {"phone_number": OTHER_NUMBER}).data["id"] == other
    refused = caller.delete(f"/api/contacts/{survivor}/merges/{source}")
    assert (refused.status, refused.code, refused.errors) == (409, "contact_exists", {"id": [other]})
    assert caller.get(f"/api/contacts/{source}").status == 410, "nothing was undone"


def test_session_id_that_both_have_stays_with_the_survivor(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    for contact in (survivor, source):
        body = {"session_id": FLOW_ID, "session_data": {"of": contact}}
        caller.put(f"/api/contacts/{contact}/session-data", body)
    merge(caller, survivor, source)
    caller.patch(f"/api/contacts/{survivor}/session-data", {"session_id": FLOW_ID, "session_data": {"more": 1}})
    sessions = caller.get(f"/api/contacts/{survivor}/sessions").data["items"]
    by_data = {session["session_data"]["of"]: session for session in sessions}
    assert by_data[survivor]["session_id"] == FLOW_ID
    assert by_data[survivor]["session_data"] == {"of": survivor, "more": 1}
    assert by_data[source]["session_id"] != FLOW_ID


def test_if_match_is_the_version_of_the_survivor(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    etag = caller.get(f"/api/contacts/{survivor}").headers["ETag"]
    caller.put(f"/api/contacts/{survivor}", {"name": "Anna"})
    path, body = f"/api/contacts/{survivor}/merge", {"source_id": source}
    stale = caller.post(path, body, {"If-Match": etag})
    assert (stale.status, stale.body["current"]["name"]) == (412, "Anna")
    assert caller.get(f"/api/contacts/{source}").status == 200
    assert caller.post(path, body, {"If-Match": stale.headers["ETag"]}).status == 200
    undo = f"/api/contacts/{survivor}/merges/{source}"
    assert caller.delete(undo, {"If-Match": etag}).status == 412
    assert caller.delete(undo, {"If-Match": caller.get(f"/api/contacts/{survivor}").headers["ETag"]}).status == 200


def test_merge_that_makes_no_sense_is_refused_with_a_reason(app: Flask) -> None:
    caller = Caller(app, make_key(app))
    survivor, source = two_contacts(caller, account_id=ACCOUNT)
    same = merge(caller, survivor, survivor.upper())
    assert (same.status, list(same.errors)) == (400, ["source_id"])
    for body in ({}, {"source_id": None}, {"source_id": "x"}, {"source_id": source, "dry_run": "yes"}):
        refused = caller.post(f"/api/contacts/{survivor}/merge", body)
        assert (refused.status, refused.code) == (400, "invalid_request"), body
    for pair in ((survivor, UNKNOWN_ID), (UNKNOWN_ID, source)):
        assert (merge(caller, *pair).status, merge(caller, *pair).code) == (404, "contact_not_found")
    foreign = caller.create(NUMBER, account_id=OTHER_ACCOUNT)["id"]
    assert (merge(caller, survivor, foreign).status, merge(caller, survivor, foreign).code) == (409, "account_mismatch")
    limited = Caller(app, make_key(app, accounts=[ACCOUNT]))
    assert (merge(limited, survivor, foreign).status, merge(limited, foreign, source).status) == (404, 404)
    merge(caller, survivor, source)
    again = merge(caller, survivor, source)
    assert (again.status, again.errors) == (410, {"id": [survivor]})


def test_merge_that_would_exceed_a_limit_is_refused_before_anything_is_written(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    for number, contact in enumerate((survivor, source)):
        caller.put(f"/api/contacts/{contact}", {"tags": [f"{number} {each}" for each in range(26)]})
    refused = merge(caller, survivor, source)
    assert (refused.status, list(refused.errors)) == (400, ["source_id"])
    said = {"phone_number": NUMBER, "bsuid": BSUID, "on_conflict": "merge"}
    reported = caller.post("/api/contacts/resolve", said).data
    assert (reported["merged"], reported["conflict_with"]) == ([], [survivor]), "what WhatsApp says is never refused"
    for number, contact in enumerate((survivor, source)):
        caller.put(f"/api/contacts/{contact}", {"tags": [], "metadata": {str(number): "x" * 600_000}})
    assert merge(caller, survivor, source).status == 413
    assert merge(caller, survivor, source, dry_run=True).status == 413
    assert caller.get(f"/api/contacts/{source}").status == 200


def test_repeated_merge_with_an_idempotency_key_answers_the_same(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    path, body, key = f"/api/contacts/{survivor}/merge", {"source_id": source}, {"Idempotency-Key": "merge"}
    first, again = caller.post(path, body, key), caller.post(path, body, key)
    assert (again.status, again.data) == (200, first.data)
    assert again.headers["Idempotent-Replayed"] == "true"
    refused, refused_again = (caller.post(path, body, {"Idempotency-Key": "late"}) for _ in range(2))
    assert (refused_again.status, refused_again.errors) == (410, refused.errors)
    assert refused_again.headers["Link"] == refused.headers["Link"]


@pytest.mark.parametrize("name", ["test", None])
def test_merges_are_listed_with_who_made_them(app: Flask, name: str | None) -> None:
    caller = Caller(app, make_key(app) if name else None)
    first, second, third = (caller.create(f"+123456789{number}")["id"] for number in range(3))
    record(caller, first, 1)
    merge(caller, second, first)
    merge(caller, third, second)
    later, earlier = caller.get(f"/api/contacts/{third}/merges").data["items"]
    assert (later["source_id"], later["merged_into"], later["messages"]) == (second, third, 1)
    assert (earlier["source_id"], earlier["merged_into"], earlier["messages"]) == (first, second, 1)
    assert [each["actor"] for each in (later, earlier)] == [name, name]
    assert later["undo_until"] > later["at"]
