"""Idempotency-Key: a POST that is sent again has its effect once and the same response."""

import json
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from flask import Flask
from helpers.caller import Caller, Response
from helpers.concurrency import run_concurrently
from helpers.databases import Databases, sqlite_file
from helpers.keys import make_key
from helpers.queries import count_queries
from helpers.service import Service, call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contacts_service.app import create_app, prepare
from contacts_service.contacts import use_cases, writes
from contacts_service.db.database import database, reading
from contacts_service.errors import Unavailable
from contacts_service.settings import Settings
from contacts_service.web import idempotency
from contacts_service.web.stored_responses import StoredResponse

BODY = {"phone_number": "+1234567890", "name": "John Doe"}
MESSAGE = {"direction": "incoming", "type": "text", "content": {"body": "hello"}}
KEY = {"Idempotency-Key": "order-4711"}

IS_BLOCKING = "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"


def send(caller: Caller, path: str = "/api/contacts", body: object = BODY, key: str = "order-4711") -> Response:
    return caller.post(path, body, {"Idempotency-Key": key})


def count_stored() -> int:
    with reading():
        return StoredResponse.select().count()


def posts(caller: Caller) -> dict[str, Any]:
    """Return the path and the example body of every documented POST but the import, which needs no key."""
    contact = caller.create("+19998887777")["id"]
    found = {}
    for path, operations in caller.openapi["paths"].items():
        if operation := operations.get("post"):
            content = operation.get("requestBody", {}).get("content", {})
            found[path.replace("{id}", contact)] = content.get("application/json", {}).get("example")
    del found["/api/contacts/import"]
    ended, other = (caller.create(f"+1999888776{number}")["id"] for number in range(2))
    found[f"/api/contacts/{contact}/merge"] = {"source_id": ended}
    found["/api/contacts/bulk"] = {"filter": {"ids": contact}, "expected_total": 1, "add_tags": ["new"]}
    found["/api/contacts/duplicates/dismiss"] = {"ids": [contact, other]}
    return found


def test_repeated_post_returns_the_first_response_and_does_nothing(app: Flask) -> None:
    caller = Caller(app)
    found = posts(caller)
    assert len(found) == 8
    for path, body in found.items():
        before = caller.get("/api/contacts").data
        first = caller.client.post(path, json=body, headers=KEY | {"Idempotency-Key": path})
        after = caller.get("/api/contacts").data
        assert before != after or path.endswith(("/mark-read", "/dismiss")), "the first request had an effect"
        told = first.json["data"] or {}
        contact = told.get("contact_id") or told.get("id") or after["items"][0]["id"]
        caller.put(f"/api/contacts/{contact}", {"name": "X"})
        changed = caller.get("/api/contacts").data
        for _ in range(2):
            again = caller.client.post(path, json=body, headers=KEY | {"Idempotency-Key": path})
            assert (again.status_code, again.data) == (first.status_code, first.data), path
            assert again.headers["Idempotent-Replayed"] == "true"
            for name in ("ETag", "Location", "Content-Type"):
                assert again.headers.get(name) == first.headers.get(name), (path, name)
            assert caller.get("/api/contacts").data == changed
        assert "Idempotent-Replayed" not in first.headers
        assert ("Location" in first.headers) == (path == "/api/contacts")


def test_same_key_with_another_request_is_422(caller: Caller) -> None:
    contact = send(caller).data["id"]
    for path, body in (
        ("/api/contacts", {**BODY, "name": "Jane"}),
        ("/api/contacts/resolve", {"phone_number": "+1234567890"}),
        (f"/api/contacts/{contact}/messages", MESSAGE),
    ):
        response = send(caller, path, body)
        assert (response.status, response.code) == (422, "idempotency_key_reused")
    assert caller.get("/api/contacts").data["total"] == 1
    assert send(caller).headers["Idempotent-Replayed"] == "true"


def test_error_responses_are_replayed_too(caller: Caller) -> None:
    existing = caller.create()["id"]
    first = send(caller)
    assert (first.status, first.code) == (409, "contact_exists")
    caller.delete(f"/api/contacts/{existing}")
    again = send(caller)
    assert (again.body, again.headers["Idempotent-Replayed"]) == (first.body, "true")
    missing = send(caller, f"/api/contacts/{existing}/messages", MESSAGE, "other")
    assert send(caller, f"/api/contacts/{existing}/messages", MESSAGE, "other").body == missing.body


def test_invalid_request_is_not_stored(caller: Caller) -> None:
    for bad in ({"phone_number": 1}, {}, {**BODY, "nickname": "J"}):
        assert send(caller, body=bad).status == 400
    assert count_stored() == 0
    assert send(caller).status == 201


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "na\u00efve", " x"])
def test_invalid_idempotency_key_is_400(caller: Caller, key: str) -> None:
    response = caller.request("POST", "/api/contacts", json=BODY, headers={"Idempotency-Key": key})
    assert (response.status, list(response.errors)) == (400, ["Idempotency-Key"])
    assert caller.get("/api/contacts").data["total"] == 0


def test_idempotency_keys_of_different_api_keys_are_separate(app: Flask) -> None:
    one, two = make_key(app), make_key(app)
    first = send(Caller(app, one))
    second = send(Caller(app, two), body={**BODY, "phone_number": "+19998887777"})
    assert (first.status, second.status) == (201, 201)
    assert send(Caller(app, one)).body == first.body
    assert send(Caller(app, two)).code == "idempotency_key_reused"


def test_idempotent_method_stores_no_response(caller: Caller) -> None:
    contact = caller.create()["id"]
    for name in ("A", "B"):
        assert caller.put(f"/api/contacts/{contact}", {"name": name}, KEY).data["name"] == name
    assert count_stored() == 0


def test_effect_and_stored_response_commit_together(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the response can't be stored, the effect is rolled back."""
    caller = Caller(app)
    monkeypatch.setattr(idempotency, "delete_expired", lambda *_, **__: (_ for _ in ()).throw(Unavailable()))
    assert send(caller).status == 503
    assert caller.get("/api/contacts").data["total"] == 0
    monkeypatch.undo()
    assert send(caller).status == 201


def test_stored_response_expires_after_24_hours_and_is_removed_by_later_requests(caller: Caller) -> None:
    for number in range(15):
        send(caller, body={"phone_number": f"+12345678{number:02}"}, key=f"old {number}")
    with reading():
        StoredResponse.update(created_at=datetime.now(UTC) - timedelta(hours=24)).execute()
    refused = send(caller, body={"phone_number": "+1234567800"}, key="old 0")
    assert (refused.status, refused.code) == (409, "contact_exists"), "the request was executed again"
    assert "Idempotent-Replayed" not in refused.headers
    assert count_stored() == 5, "the ten oldest were removed, and the new response replaced the expired one"
    send(caller, body={"phone_number": "+19998887777"}, key="new")
    assert count_stored() == 2
    with reading():
        StoredResponse.update(created_at=datetime.now(UTC) - timedelta(hours=23, minutes=59)).execute()
    assert send(caller, body={"phone_number": "+19998887777"}, key="new").headers["Idempotent-Replayed"] == "true"


def test_deleting_a_contact_empties_its_stored_responses(caller: Caller) -> None:
    """The key stays known, so that a retry doesn't create the contact again."""
    contact = send(caller).data["id"]
    send(caller, f"/api/contacts/{contact}/messages", MESSAGE, "message")
    caller.delete(f"/api/contacts/{contact}")
    with reading():
        rows = str(list(StoredResponse.select().dicts()))
    for personal in ("John Doe", "1234567890", "hello"):
        assert personal not in rows
    for path, body, key in (
        ("/api/contacts", BODY, "order-4711"),
        (f"/api/contacts/{contact}/messages", MESSAGE, "message"),
    ):
        again = send(caller, path, body, key)
        assert (again.status, again.code) == (404, "contact_not_found")
    assert caller.get("/api/contacts").data["total"] == 0


def test_concurrent_posts_with_one_key_happen_once(service: Service) -> None:
    bodies = [{"phone_number": "+1234567890"}, {**MESSAGE, "contact": {"phone_number": "+19998887777"}}]
    for path, body in zip(("/api/contacts", "/api/messages"), bodies, strict=True):

        def until_answered(_: int, path: str = path, body: object = body) -> tuple[int, Any]:
            while True:
                status, response = call(service, "POST", path, body, {"Idempotency-Key": path})
                if response.get("code") != "retry_in_progress":
                    return status, response

        responses = run_concurrently(until_answered)
        assert {status for status, _ in responses} == {201}
        assert len({json.dumps(response) for _, response in responses}) == 1
    contacts = call(service, "GET", "/api/contacts")[1]["data"]["items"]
    assert [contact["unread_count"] for contact in contacts] == [1, 0]


def test_retry_during_the_first_attempt_is_409_or_503(kind: str, databases: Databases, app: Flask) -> None:
    """PostgreSQL responds at once. On SQLite the retry waits for the only writer, within its timeout."""
    assert app
    url = databases.create(kind)
    application = create_app(Settings(database_url=url, database_timeout=0.5))
    prepare(application)
    caller = Caller(application)
    first = send(caller)
    with reading():
        [key] = [row.key for row in StoredResponse.select()]
    if kind == "postgresql":
        with psycopg.connect(url) as running:
            running.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"retry/{key}",))
            response = send(caller)
            assert (response.status, response.code) == (409, "retry_in_progress")
    else:
        running = sqlite3.connect(sqlite_file(url), isolation_level=None)
        running.execute("BEGIN IMMEDIATE")
        response = send(caller)
        assert (response.status, response.code) == (503, "unavailable")
        running.close()
    assert int(response.headers["Retry-After"]) >= 1
    assert send(caller).body == first.body


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=12))
def test_first_request_of_a_key_decides(app: Flask, requests: list[tuple[str, int]]) -> None:
    caller = Caller(app)
    with reading():
        StoredResponse.delete().execute()
    for contact in caller.get("/api/contacts").data["items"]:
        caller.delete(f"/api/contacts/{contact['id']}")
    first: dict[str, tuple[int, Response]] = {}
    for key, number in requests:
        response = send(caller, body={"phone_number": f"+123456789{number}"}, key=key)
        if key not in first:
            first[key] = (number, response)
            assert response.status in {201, 409}
        elif first[key][0] == number:
            assert response.body == first[key][1].body
        else:
            assert response.status == 422
    created = {number for number, response in first.values() if response.status == 201}
    assert caller.get("/api/contacts").data["total"] == len(created) == len({number for number, _ in first.values()})


def test_integer_of_any_size_is_returned_unchanged(caller: Caller) -> None:
    body = f'{{"phone_number": "+1234567890", "metadata": {{"n": {"9" * 400}}}}}'
    first = caller.request("POST", "/api/contacts", data=body, content_type="application/json", headers=KEY)
    again = caller.request("POST", "/api/contacts", data=body, content_type="application/json", headers=KEY)
    assert (first.status, again.body) == (201, first.body)
    assert first.data["metadata"]["n"] == int("9" * 400)


def test_stored_412_is_emptied_with_its_contact(caller: Caller) -> None:
    contact = caller.create(name="John Doe")["id"]
    headers = {**KEY, "If-Match": '"7"'}
    refused = caller.request("POST", f"/api/contacts/{contact}/mark-read", headers=headers)
    assert (refused.status, refused.body["current"]["name"]) == (412, "John Doe")
    assert caller.request("POST", f"/api/contacts/{contact}/mark-read", headers=headers).body == refused.body
    caller.delete(f"/api/contacts/{contact}")
    assert caller.request("POST", f"/api/contacts/{contact}/mark-read", headers=headers).status == 404
    with reading():
        assert "John Doe" not in str(list(StoredResponse.select().dicts()))


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # SQLite has one writer at a time.
def test_412_stored_while_its_contact_is_deleted_tells_nothing_of_it(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = Caller(app)
    contact = f"/api/contacts/{caller.create(name='John Doe')['id']}"
    run, deletion = idempotency._run, threading.Thread(target=lambda: Caller(app).delete(contact))  # noqa: SLF001

    def run_and_delete(view: Any) -> Any:
        """Let another transaction delete the contact before the response is stored, if it can."""
        result = run(view)
        deletion.start()
        while deletion.is_alive() and not database.execute_sql(IS_BLOCKING).fetchone():
            time.sleep(0.01)
        return result

    monkeypatch.setattr(idempotency, "_run", run_and_delete)
    headers = {**KEY, "If-Match": '"99"'}
    assert caller.request("POST", f"{contact}/mark-read", headers=headers).status == 412
    deletion.join()
    with reading():
        assert "John Doe" not in str(list(StoredResponse.select().dicts()))
    assert caller.request("POST", f"{contact}/mark-read", headers=headers).status == 404


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_412_of_a_contact_deleted_before_it_is_stored_is_404(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller(app)
    contact = f"/api/contacts/{caller.create(name='John Doe')['id']}"
    make = writes.version_mismatch

    def delete_first(row: dict[str, Any]) -> Any:
        deletion = threading.Thread(target=lambda: Caller(app).delete(contact))
        deletion.start()
        deletion.join()
        return make(row)

    monkeypatch.setattr(writes, "version_mismatch", delete_first)
    headers = {**KEY, "If-Match": '"99"'}
    for _ in range(2):
        assert caller.request("POST", f"{contact}/mark-read", headers=headers).status == 404
    with reading():
        assert "John Doe" not in str(list(StoredResponse.select().dicts()))


def test_repeated_message_locks_its_contact_while_the_response_is_stored(app: Flask, kind: str) -> None:
    """Otherwise a concurrent delete, which empties stored responses, would miss this one."""
    caller = Caller(app)
    message = {**MESSAGE, "wa_message_id": "wamid.1", "contact": {"phone_number": "+1234567890"}}
    caller.post("/api/messages", message)
    with count_queries() as queries:
        assert caller.post("/api/messages", message).status == 200
    of_contact = [record.msg[0] for record in queries.get_queries() if 'FROM "contact"' in record.msg[0]]
    assert len(of_contact) == 1
    assert of_contact[0].endswith("FOR UPDATE") == (kind == "postgresql"), "SQLite has locked the whole database"


@pytest.mark.parametrize("error", [Unavailable, RuntimeError])
def test_server_error_is_not_stored(app: Flask, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    monkeypatch.setattr(use_cases, "create_contact", lambda **_: (_ for _ in ()).throw(error()))
    failed = app.test_client().post("/api/contacts", json=BODY, headers=KEY)
    assert failed.status_code == (503 if error is Unavailable else 500)
    monkeypatch.undo()
    assert count_stored() == 0
    assert send(Caller(app)).status == 201


def test_path_and_precondition_are_part_of_the_request(caller: Caller) -> None:
    one, two = (f"/api/contacts/{caller.create(number)['id']}/mark-read" for number in ("+1234567890", "+1234567891"))
    assert caller.request("POST", one, headers=KEY).status == 200
    assert caller.request("POST", two, headers=KEY).code == "idempotency_key_reused"
    assert caller.request("POST", one, headers={**KEY, "If-Match": "*"}).code == "idempotency_key_reused"


def test_responses_are_stored_for_24_hours() -> None:
    assert timedelta(hours=24) == idempotency.RETENTION
