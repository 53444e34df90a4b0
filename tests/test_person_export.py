"""Export of one person: everything that is kept, and a broken document if it can't be whole."""

import json

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.messages import message

from contacts_service.db.database import database, reading
from contacts_service.errors import ContactMerged, ContactNotFound
from contacts_service.privacy import export

NUMBER = "+1234567890"


def test_export_holds_everything_that_is_kept(caller: Caller) -> None:
    contact_id = caller.create(NUMBER, name="John", metadata={"plan": "gold"})["id"]
    path = f"/api/contacts/{contact_id}"
    for said in ({"bsuid": "US.1"}, {"bsuid": "US.2", "previous_bsuid": "US.1"}):
        caller.post("/api/contacts/resolve", {**said, "phone_number": NUMBER})
    for number in range(3):
        caller.post(f"{path}/messages", message(number, content={"body": "é" * number}))
        caller.put(f"{path}/session-data", {"session_data": {"step": number}})
    source = caller.create("+1234567899", name="Johnny")["id"]
    caller.post(f"{path}/merge", {"source_id": source})
    response = caller.get(f"{path}/export")
    data = response.data
    assert response.headers["Content-Disposition"] == f"attachment; filename=contact-{contact_id}.json"
    assert data["contact"] == caller.get(path).data
    for name in ("messages", "sessions", "events"):
        assert data[name] == caller.get(f"{path}/{name}").data["items"]
    known = {(each["kind"], each["value"], each["current"]) for each in data["identifiers"]}
    former = {("bsuid", "US.1", False), ("phone_number", "+1234567899", False)}
    assert known == {("phone_number", NUMBER, True), ("bsuid", "US.2", True), *former}
    [merge] = data["merges"]
    assert merge["snapshot"]["contact"]["name"] == "Johnny"
    assert {name: merge[name] for name in merge if name != "snapshot"} == caller.get(f"{path}/merges").data["items"][0]


def test_contact_without_anything_is_exported(caller: Caller) -> None:
    data = caller.get(f"/api/contacts/{caller.create()['id']}/export").data
    assert [data[name] for name in ("messages", "sessions", "merges")] == [[], [], []]


def test_pages_of_a_long_history_join_without_gap(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_PAGE", 2)
    path = f"/api/contacts/{caller.create()['id']}"
    for number in range(7):
        caller.post(f"{path}/messages", message(number, second=number // 4))
        caller.post(
            f"{path}/messages",
            {"direction": "outgoing", "type": "text", "content": {}, "timestamp": "2024-01-01T00:00:01Z"},
        )
        caller.put(f"{path}/session-data", {"session_data": {}})
    data = caller.get(f"{path}/export").data
    for name in ("messages", "sessions", "events"):
        assert data[name] == caller.get(f"{path}/{name}").data["items"]
    assert (len(data["messages"]), len(data["sessions"])) == (14, 7)


@pytest.mark.parametrize(("how", "error"), [("delete", ContactNotFound), ("merge", ContactMerged)])
def test_document_ends_early_if_the_contact_ends(app: Flask, caller: Caller, how: str, error: type[Exception]) -> None:
    contact_id, other_id = caller.create()["id"], caller.create("+1234567899")["id"]
    caller.post(f"/api/contacts/{contact_id}/messages", message())
    response = app.test_client().get(f"/api/contacts/{contact_id}/export", buffered=False)
    chunks = response.iter_encoded()
    received = next(chunks)
    if how == "delete":
        caller.delete(f"/api/contacts/{contact_id}")
    else:
        caller.post(f"/api/contacts/{other_id}/merge", {"source_id": contact_id})
    with pytest.raises(error):
        received += b"".join(chunks)
    with pytest.raises(json.JSONDecodeError):
        json.loads(received)


def test_no_connection_is_held_while_the_client_reads(app: Flask, caller: Caller) -> None:
    path = f"/api/contacts/{caller.create()['id']}"
    response = app.test_client().get(f"{path}/export", buffered=False)
    for _ in response.iter_encoded():
        assert not database.in_transaction()
        with reading():  # Takes a slot, which this thread would hold already.
            assert not database.bulkhead.enter()
        assert database.bulkhead.enter(), "no slot is held"
        database.bulkhead.leave()


def test_contact_that_ended_is_404_or_410(caller: Caller) -> None:
    survivor, source = caller.create()["id"], caller.create("+1234567899")["id"]
    caller.post(f"/api/contacts/{survivor}/merge", {"source_id": source})
    assert caller.get(f"/api/contacts/{source}/export").code == "contact_merged"
    caller.delete(f"/api/contacts/{survivor}")
    assert caller.get(f"/api/contacts/{survivor}/export").code == "contact_not_found"
