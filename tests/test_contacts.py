"""The operations on contacts, field by field as in the contract."""

import re
from datetime import UTC, datetime

import pytest
from flask import Flask
from helpers.caller import UUID, Caller
from helpers.examples import ACCOUNT, OTHER_ACCOUNT, UNKNOWN_ID, USER

from contacts_service.db.database import database, reading


def test_create_returns_the_contact_and_its_location(caller: Caller) -> None:
    response = caller.post(
        "/api/contacts",
        {
            "phone_number": "+1234567890",
            "name": "John Doe",
            "account_id": ACCOUNT,
            "metadata": {"custom_field": "value"},
        },
    )
    contact = response.data
    assert response.status == 201
    assert response.headers["Location"] == f"/api/contacts/{contact['id']}"
    assert re.fullmatch(UUID, contact["id"])
    assert contact["id"][14] == "7", "ids are UUIDv7"
    created = datetime.fromisoformat(contact["created_at"])
    assert contact["created_at"].endswith("Z")
    assert abs((datetime.now(UTC) - created).total_seconds()) < 60
    assert contact == {
        "id": contact["id"],
        "phone_number": "+1234567890",
        "name": "John Doe",
        "bsuid": None,
        "parent_bsuid": None,
        "external_id": None,
        "username": None,
        "profile_name": None,
        "avatar_url": None,
        "account_id": ACCOUNT,
        "assigned_to": None,
        "tags": [],
        "marketing_opt_out": False,
        "marketing_opt_out_at": None,
        "marketing_opt_out_source": None,
        "last_message_at": None,
        "last_message_preview": None,
        "last_inbound_at": None,
        "unread_count": 0,
        "service_window_open": False,
        "service_window_expires_at": None,
        "created_at": contact["created_at"],
        "updated_at": contact["created_at"],
        "version": 1,
        "metadata": {"custom_field": "value"},
    }


def test_create_needs_only_a_phone_number(caller: Caller) -> None:
    contact = caller.post("/api/contacts", {"phone_number": "1234567890"}).data
    assert (contact["phone_number"], contact["name"], contact["account_id"]) == ("+1234567890", None, None)
    assert contact["metadata"] == {}


def test_get_returns_the_created_contact(caller: Caller) -> None:
    contact = caller.create(name="John Doe", account_id=ACCOUNT, metadata={"a": [1, {"b": None}]})
    assert caller.get(f"/api/contacts/{contact['id']}").data == contact


def test_uppercase_id_finds_the_contact(caller: Caller) -> None:
    contact = caller.create()
    assert caller.get(f"/api/contacts/{contact['id'].upper()}").data == contact


@pytest.mark.parametrize("account", [None, ACCOUNT])
def test_phone_number_is_unique_within_an_account(caller: Caller, account: str | None) -> None:
    existing = caller.create("+1234567890", account_id=account)
    again = caller.post("/api/contacts", {"phone_number": "00 1 (234) 567-890", "account_id": account})
    assert (again.status, again.code) == (409, "contact_exists")
    assert again.errors == {"id": [existing["id"]]}
    assert caller.get("/api/contacts").data["total"] == 1


def test_phone_number_may_repeat_across_accounts(caller: Caller) -> None:
    ids = {caller.create("+1234567890", account_id=account)["id"] for account in (None, ACCOUNT, OTHER_ACCOUNT)}
    assert len(ids) == 3


def test_update_changes_only_the_given_fields(caller: Caller) -> None:
    contact = caller.create(name="John Doe", account_id=ACCOUNT, metadata={"a": 1, "b": 2})
    path = f"/api/contacts/{contact['id']}"
    renamed = caller.put(path, {"name": "John Smith"}).data
    assert renamed == {**contact, "name": "John Smith", "updated_at": renamed["updated_at"], "version": 2}
    assert renamed["updated_at"] > contact["updated_at"]
    replaced = caller.put(path, {"metadata": {"c": 3}}).data
    assert replaced == {**renamed, "metadata": {"c": 3}, "updated_at": replaced["updated_at"], "version": 3}
    assert caller.get(path).data == replaced


def test_every_write_stores_times_in_the_same_format(caller: Caller, kind: str) -> None:
    """SQLite compares times as text."""
    contact = caller.create()
    caller.put(f"/api/contacts/{contact['id']}", {"name": "x"})
    caller.put(f"/api/contacts/{contact['id']}/assign", {"user_id": None})
    with reading():
        [row] = database.execute_sql("SELECT created_at, updated_at FROM contact").fetchall()
    if kind == "sqlite":
        assert [re.sub("[0-9]", "0", text) for text in row] == ["0000-00-00T00:00:00.000000Z"] * 2
    assert row[1] > row[0]


def test_null_clears_a_field(caller: Caller) -> None:
    contact = caller.create(name="John", profile_name="Johnny", avatar_url="https://example.com/j.jpg")
    path = f"/api/contacts/{contact['id']}"
    emptied = caller.put(path, {"name": None, "avatar_url": None}).data
    assert (emptied["name"], emptied["profile_name"], emptied["avatar_url"]) == (None, "Johnny", None)
    assert caller.names(search="johnny") == [None], "the profile name is still searched"


def test_name_and_profile_name_are_independent(caller: Caller) -> None:
    contact = caller.create(name="Typed by a person", profile_name="Said by WhatsApp")
    path = f"/api/contacts/{contact['id']}"
    assert caller.put(path, {"profile_name": "New"}).data["name"] == "Typed by a person"
    assert caller.put(path, {"name": "Newer"}).data["profile_name"] == "New"


def test_put_accepts_every_writable_field(caller: Caller) -> None:
    contact = caller.create(account_id=ACCOUNT)
    fields = {
        "phone_number": "+4915112345678",
        "bsuid": "US.13491208655302741918",
        "username": "john.doe",
        "name": "John",
        "profile_name": "Johnny",
        "avatar_url": "HTTPS://example.com/bücher.jpg",
        "tags": ["vip", "New York", "vip"],
        "marketing_opt_out": True,
        "marketing_opt_out_at": "2024-01-01T12:00:00Z",
        "metadata": {"a": 1},
    }
    changed = caller.put(f"/api/contacts/{contact['id']}", fields).data
    expected = {**contact, **fields, "tags": ["vip", "New York"], "updated_at": changed["updated_at"], "version": 2}
    expected["marketing_opt_out_source"] = "person"
    assert changed == expected
    assert caller.get(f"/api/contacts/{contact['id']}").data == expected
    assert caller.post("/api/contacts", {**fields, "phone_number": "+1234567899", "bsuid": None}).status == 201
    assert caller.get("/api/contacts", search="4915112345678").data["total"] == 1, "the new number is searched"


def test_replacing_tags_updates_the_tag_filter(caller: Caller) -> None:
    contact = caller.create(name="John", tags=["old", "kept"])
    assert caller.names(tags="old") == ["John"]
    for method in (caller.put, caller.patch):
        changed = method(f"/api/contacts/{contact['id']}", {"tags": ["kept", "new"]}).data
        assert changed["tags"] == ["kept", "new"]
        assert caller.names(tags="old") == []
        assert caller.names(tags="new") == caller.names(tags="kept,new") == ["John"]
    assert caller.put(f"/api/contacts/{contact['id']}", {"tags": []}).data["tags"] == []
    assert caller.names(tags="kept,new") == []


def test_contact_may_have_only_a_bsuid(caller: Caller) -> None:
    contact = caller.post("/api/contacts", {"bsuid": "US.1A2b3C", "name": "Hidden"}).data
    assert (contact["phone_number"], contact["bsuid"]) == (None, "US.1A2b3C")
    again = caller.post("/api/contacts", {"bsuid": "US.1A2b3C"})
    assert (again.status, again.code, again.errors) == (409, "contact_exists", {"id": [contact["id"]]})
    path = f"/api/contacts/{contact['id']}"
    alone = caller.put(path, {"bsuid": None})
    assert (alone.status, alone.code) == (409, "contact_unidentified")
    assert caller.put(path, {"bsuid": None, "phone_number": "+1234567890"}).data["phone_number"] == "+1234567890"
    assert caller.patch(path, {"phone_number": None}).code == "contact_unidentified"


def test_identifier_of_another_contact_is_409_and_changes_nothing(caller: Caller) -> None:
    taken = caller.create("+1234567890", account_id=ACCOUNT, bsuid="US.taken")
    other = caller.create("+1234567891", account_id=ACCOUNT, bsuid="US.other")
    mine = caller.create("+1234567892", account_id=ACCOUNT, name="mine", tags=["a"])
    path = f"/api/contacts/{mine['id']}"
    for fields in ({"phone_number": "+1234567890"}, {"bsuid": "US.taken"}, {"bsuid": "US.taken", "tags": ["b"]}):
        response = caller.put(path, {"name": "new", **fields})
        assert (response.status, response.code, response.errors) == (409, "contact_exists", {"id": [taken["id"]]})
    for fields in ({"external_id": "crm 1"}, {"parent_bsuid": "US.ENT.1"}):
        caller.put(f"/api/contacts/{taken['id']}", fields)
        assert caller.put(path, fields).errors == {"id": [taken["id"]]}
        body = {"phone_number": "+1234567899", "account_id": ACCOUNT, **fields}
        assert caller.post("/api/contacts", body).errors == {"id": [taken["id"]]}
    both = caller.put(path, {"phone_number": "+1234567890", "bsuid": "US.other"})
    assert (both.status, both.code) == (409, "identity_conflict")
    assert sorted(both.errors["id"]) == sorted([taken["id"], other["id"]])
    created = caller.post("/api/contacts", {"phone_number": "+1234567890", "bsuid": "US.other", "account_id": ACCOUNT})
    assert (created.code, sorted(created.errors["id"])) == ("identity_conflict", sorted([taken["id"], other["id"]]))
    assert caller.get(path).data == mine
    assert caller.names(tags="b") == []
    # The same identifiers in another account, and the contact's own again, are no conflict.
    assert caller.put(path, {"phone_number": "+1234567892"}).status == 200
    assert caller.post("/api/contacts", {"phone_number": "+1234567890", "bsuid": "US.other"}).status == 201


def test_patch_merges_metadata_and_null_removes_a_key(caller: Caller) -> None:
    contact = caller.create(metadata={"keep": 1, "change": {"x": 1, "y": 2}, "drop": 3}, tags=["a"])
    path = f"/api/contacts/{contact['id']}"
    body = {"metadata": {"change": {"x": None, "z": 2**70}, "drop": None}, "name": "New"}
    patched = caller.patch(path, body).data
    assert patched["metadata"] == {"keep": 1, "change": {"y": 2, "z": 2**70}}
    assert (patched["name"], patched["tags"]) == ("New", ["a"])
    assert caller.get(path).data == patched
    json_patch = caller.request("PATCH", path, data='{"name": null}', content_type="application/merge-patch+json")
    assert (json_patch.data["name"], json_patch.data["metadata"]) == (None, patched["metadata"])
    assert caller.patch(path, {}).status == 400


def test_assign_and_unassign(caller: Caller) -> None:
    contact = caller.create()
    path = f"/api/contacts/{contact['id']}"
    assigned = caller.put(f"{path}/assign", {"user_id": USER.upper()}).data
    assert assigned == {**contact, "assigned_to": USER, "updated_at": assigned["updated_at"], "version": 2}
    assert assigned["updated_at"] > contact["updated_at"]
    assert caller.get(path).data["assigned_to"] == USER
    assert caller.put(f"{path}/assign", {"user_id": None}).data["assigned_to"] is None
    assert caller.get(path).data["assigned_to"] is None


def test_delete_removes_everything_of_a_contact(caller: Caller) -> None:
    contact, other = caller.create("+1234567890", name="gone"), caller.create("+1234567891", name="stays")
    path = f"/api/contacts/{contact['id']}"
    caller.put(f"{path}/session-data", {"session_data": {"a": 1}})
    deleted = caller.delete(path)
    assert (deleted.status, deleted.data) == (200, None)
    for method, address, body in (
        ("DELETE", path, None),
        ("GET", path, None),
        ("PUT", path, {"name": "x"}),
        ("PUT", f"{path}/assign", {"user_id": None}),
        ("GET", f"{path}/session-data", None),
        ("PUT", f"{path}/session-data", {"session_data": {}}),
        ("PATCH", f"{path}/session-data", {"session_data": {}}),
        ("GET", f"{path}/sessions", None),
        ("PATCH", path, {"name": "x"}),
        ("POST", f"{path}/mark-read", None),
        ("GET", f"{path}/messages", None),
        ("POST", f"{path}/messages", {"direction": "incoming", "type": "text", "content": {}}),
    ):
        response = caller.request(method, address, json=body) if body else caller.request(method, address)
        assert (response.status, response.code) == (404, "contact_not_found"), (method, address)
    assert caller.names() == ["stays"]
    assert caller.names(search="gone") == []
    assert caller.create("+1234567890")["id"] not in {contact["id"], other["id"]}, "the number is free again"


def test_unknown_contact_is_404(caller: Caller) -> None:
    response = caller.get(f"/api/contacts/{UNKNOWN_ID}")
    assert (response.status, response.code) == (404, "contact_not_found")
    assert UNKNOWN_ID in response.body["message"]


def test_identifier_that_people_replace_stays_former_and_one_they_take_away_is_free(caller: Caller) -> None:
    contact = caller.create("+1234567890", bsuid="US.1", parent_bsuid="US.ENT.1", external_id="crm 1")
    path = f"/api/contacts/{contact['id']}"
    new = {"phone_number": "+1234567891", "bsuid": "US.2", "parent_bsuid": "US.ENT.2", "external_id": "crm 2"}
    changed = caller.put(path, new).data
    assert {name: changed[name] for name in new} == new
    for fields, code in (
        ({"bsuid": "US.1"}, "contact_exists"),
        ({"phone_number": "+1234567892", "parent_bsuid": "US.ENT.1"}, "contact_exists"),
        ({"phone_number": "+1234567890", "external_id": "crm 1"}, None),
    ):
        assert caller.post("/api/contacts", fields).body.get("code") == code, fields
    assert caller.put(path, {"bsuid": "US.1"}).data["bsuid"] == "US.1", "its own former one again"
    assert caller.patch(path, {"bsuid": None, "external_id": None}).data["bsuid"] is None
    assert caller.post("/api/contacts", {"bsuid": "US.1", "external_id": "crm 2"}).status == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("bsuid", "US.ENT.1"), ("bsuid", "us.1"), ("bsuid", "US." + "1" * 129)),
        *(("parent_bsuid", "US.1"), ("parent_bsuid", "US.ENT."), ("external_id", ""), ("external_id", "x" * 256)),
    ],
)
def test_malformed_identifier_is_400(caller: Caller, field: str, value: str) -> None:
    for method, path in (("POST", "/api/contacts"), ("POST", "/api/contacts/resolve")):
        response = caller.request(method, path, json={"phone_number": "+1234567890", field: value})
        assert (response.status, list(response.errors)) == (400, [field])
    assert list(caller.get("/api/contacts", **{field: value}).errors) == [field]
    assert caller.create("+1234567890", external_id="x" * 255, bsuid="US." + "a" * 128)["external_id"] == "x" * 255


NUMBERS = "9007199254740993.0", "1.10", "1e22", "3.14159265358979323846", "0.10000000000000001", "9" * 400, "-0.0", "5"


def test_numbers_of_metadata_are_kept_as_they_are_spelled(app: Flask) -> None:
    client = app.test_client()
    spelled = ",".join(f'"{place}":{number}' for place, number in enumerate(NUMBERS))
    body = f'{{"phone_number": "+1234567890", "metadata": {{{spelled}}}}}'
    created = client.post("/api/contacts", data=body, content_type="application/json")
    assert f"{{{spelled}}}" in created.text
    path = created.headers["Location"]
    merged = client.patch(path, data='{"metadata": {"z": 2.50}}', content_type="application/json")
    assert f'{{{spelled},"z":2.50}}' in merged.text, "also those that the patch doesn't name"
    assert client.get(path).text == merged.text
