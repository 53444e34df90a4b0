"""Identity: one person is one contact, under any identifiers that WhatsApp gives."""

import re
from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.examples import ACCOUNT
from hypothesis import given
from hypothesis import strategies as st
from playhouse.test_utils import count_queries

from contacts_service.contacts.phone_variants import written_forms
from contacts_service.db.database import database

NUMBER, OTHER_NUMBER = "+1234567890", "+1234567891"
BSUID, NEW_BSUID = "US.13491208655302741918", "US.24502319766413852029"


def resolve(caller: Caller, **identity: Any) -> tuple[int, dict[str, Any]]:
    response = caller.post("/api/contacts/resolve", identity)
    return response.status, response.data


def test_resolve_creates_an_unknown_person(caller: Caller) -> None:
    response = caller.post(
        "/api/contacts/resolve",
        {"account_id": ACCOUNT, "phone_number": "1234567890", "bsuid": BSUID, "profile_name": "John", "username": "jd"},
    )
    contact = response.data
    assert response.status == 201
    assert response.headers["Location"] == f"/api/contacts/{contact['id']}"
    assert contact.pop("matched_by") is None
    assert (contact["phone_number"], contact["bsuid"], contact["account_id"]) == (NUMBER, BSUID, ACCOUNT)
    assert (contact["profile_name"], contact["username"], contact["name"]) == ("John", "jd", None)
    assert caller.get(f"/api/contacts/{contact['id']}").data == contact
    assert caller.get("/api/contacts", search="john").data["total"] == 1


def test_resolve_finds_a_contact_by_either_identifier(caller: Caller) -> None:
    _, contact = resolve(caller, phone_number=NUMBER, bsuid=BSUID)
    for identity, matched_by in (
        ({"bsuid": BSUID}, "bsuid"),
        ({"phone_number": "00 1 234 567 890"}, "phone_number"),
        ({"phone_number": NUMBER, "bsuid": BSUID}, "bsuid"),
        ({"phone_number": None, "bsuid": BSUID}, "bsuid"),
    ):
        assert resolve(caller, **identity) == (200, {**contact, "matched_by": matched_by}), identity
    assert resolve(caller, account_id=ACCOUNT, phone_number=NUMBER)[0] == 201, "another account, another contact"


def test_resolve_adds_a_missing_identifier(caller: Caller) -> None:
    _, by_number = resolve(caller, phone_number=NUMBER)
    status, filled = resolve(caller, phone_number=NUMBER, bsuid=BSUID)
    assert (status, filled["id"], filled["bsuid"]) == (200, by_number["id"], BSUID)
    _, by_bsuid = resolve(caller, bsuid=NEW_BSUID)
    status, filled = resolve(caller, phone_number=OTHER_NUMBER, bsuid=NEW_BSUID)
    assert (status, filled["id"], filled["phone_number"]) == (200, by_bsuid["id"], OTHER_NUMBER)
    assert caller.get("/api/contacts", search=OTHER_NUMBER).data["total"] == 1


def test_resolve_never_overwrites_an_identifier(caller: Caller) -> None:
    _, contact = resolve(caller, phone_number=NUMBER, bsuid=BSUID)
    for identity in ({"phone_number": OTHER_NUMBER, "bsuid": BSUID}, {"phone_number": NUMBER, "bsuid": NEW_BSUID}):
        status, found = resolve(caller, **identity)
        assert (status, found["id"]) == (200, contact["id"])
        assert (found["phone_number"], found["bsuid"]) == (NUMBER, BSUID)


def test_changed_bsuid_replaces_the_previous_one(caller: Caller) -> None:
    _, contact = resolve(caller, bsuid=BSUID)
    status, found = resolve(caller, bsuid=NEW_BSUID, previous_bsuid=BSUID)
    assert (status, found["id"], found["bsuid"]) == (200, contact["id"], NEW_BSUID)
    assert found["matched_by"] == "previous_bsuid"
    assert resolve(caller, bsuid=NEW_BSUID, previous_bsuid=BSUID)[1]["matched_by"] == "bsuid", "repeated"


def test_former_bsuid_still_finds_its_contact(caller: Caller) -> None:
    steps = [{"bsuid": BSUID}, {"bsuid": NEW_BSUID, "previous_bsuid": BSUID}, {"bsuid": NEW_BSUID}]
    for order in ([0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 1, 0], [0, 1, 0, 1, 2, 0]):
        ids = {resolve(caller, **steps[step])[1]["id"] for step in order}
        assert len(ids) == 1, order
        after = caller.get(f"/api/contacts/{ids.pop()}").data
        assert after["bsuid"] == NEW_BSUID
        caller.delete(f"/api/contacts/{after['id']}")
    assert resolve(caller, bsuid=BSUID)[0] == 201, "former bsuids are deleted with their contact"
    # A bsuid is looked up within its account.
    resolve(caller, account_id=ACCOUNT, **steps[1])
    assert resolve(caller, bsuid="US.other", previous_bsuid="US.unknown")[0] == 201
    assert resolve(caller, bsuid="US.unknown", account_id=ACCOUNT)[0] == 201


def test_resolve_updates_the_profile_but_not_the_name(caller: Caller) -> None:
    _, contact = resolve(caller, phone_number=NUMBER, profile_name="Old", username="old")
    caller.put(f"/api/contacts/{contact['id']}", {"name": "Typed"})
    profile = {"profile_name": "New", "username": "new", "avatar_url": "https://example.com/n.jpg"}
    _, renewed = resolve(caller, phone_number=NUMBER, **profile)
    assert {name: renewed[name] for name in profile} == profile
    assert renewed["name"] == "Typed"
    assert caller.names(search="typed new") == ["Typed"]
    _, unchanged = resolve(caller, phone_number=NUMBER, profile_name=None)
    assert unchanged == renewed, "missing values change nothing, not even the version"


def test_late_message_does_not_restore_an_old_profile(caller: Caller) -> None:
    for day, name in ((2, "New"), (1, "Old")):
        body = {
            "contact": {"phone_number": NUMBER, "profile_name": name, "username": name},
            "direction": "incoming",
            "type": "text",
            "content": {},
            "timestamp": f"2024-02-0{day}T00:00:00Z",
        }
        received = caller.post("/api/messages", body).data["contact"]
    assert (received["profile_name"], received["username"], received["unread_count"]) == ("New", "New", 2)
    assert resolve(caller, phone_number=NUMBER, profile_name="")[1]["profile_name"] == "New", "an empty name is ignored"


def test_identifiers_of_two_contacts_are_409_and_change_nothing(caller: Caller) -> None:
    _, one = resolve(caller, phone_number=NUMBER)
    _, two = resolve(caller, bsuid=BSUID)
    _, three = resolve(caller, bsuid=NEW_BSUID)
    before = caller.get("/api/contacts").data
    for identity, ids in (
        ({"phone_number": NUMBER, "bsuid": BSUID, "profile_name": "X"}, [one, two]),
        ({"bsuid": BSUID, "previous_bsuid": NEW_BSUID}, [two, three]),
        ({"phone_number": NUMBER, "bsuid": "US.unknown", "previous_bsuid": BSUID}, [one, two]),
    ):
        response = caller.post("/api/contacts/resolve", identity)
        assert (response.status, response.code) == (409, "identity_conflict")
        assert sorted(response.errors["id"]) == sorted(contact["id"] for contact in ids)
        message = {"direction": "incoming", "type": "text", "content": {}, "contact": identity}
        assert caller.post("/api/messages", message).code == "identity_conflict"
    assert caller.get("/api/contacts").data == before


VARIANTS = [
    ("+525512345678", "+5215512345678"),
    ("+541112345678", "+5491112345678"),
    ("+551187654321", "+5511987654321"),
    ("+551160000000", "+5511960000000"),
]
NO_VARIANTS = [
    ("+551132123456", "+5511932123456"),  # A fixed line begins with 2 to 5.
    ("+52551234567", "+521551234567"),
    ("+14155550100", "+114155550100"),
]


@pytest.mark.parametrize(("short", "long"), VARIANTS)
def test_variants_of_a_phone_number_are_one_contact(caller: Caller, short: str, long: str) -> None:
    for first, second, account in ((short, long, None), (long, short, ACCOUNT)):
        _, contact = resolve(caller, phone_number=first, account_id=account)
        status, found = resolve(caller, phone_number=second, account_id=account)
        assert (status, found["id"], found["matched_by"]) == (200, contact["id"], "phone_variant")
        assert found["phone_number"] == first, "the stored number stays"
        # If both variants exist, the exact number wins.
        other = caller.create(second, account_id=account)
        assert resolve(caller, phone_number=second, account_id=account)[1]["id"] == other["id"]
        assert resolve(caller, phone_number=first, account_id=account)[1]["id"] == contact["id"]


@pytest.mark.parametrize(("one", "other"), NO_VARIANTS)
def test_similar_phone_numbers_are_separate_contacts(caller: Caller, one: str, other: str) -> None:
    resolve(caller, phone_number=one)
    assert resolve(caller, phone_number=other)[0] == 201


@given(st.from_regex(r"\+(52|521|54|549|55|1|49)[0-9]{6,11}", fullmatch=True))
def test_every_variant_of_a_number_has_the_same_variants(number: str) -> None:
    forms = written_forms(number)
    assert number in forms
    assert len(set(forms)) == len(forms) <= 2
    for form in forms:
        assert written_forms(form) == forms


@pytest.mark.parametrize(
    ("identity", "field"),
    [
        ({}, "phone_number"),
        ({"phone_number": None, "bsuid": None}, "phone_number"),
        ({"previous_bsuid": BSUID}, "phone_number"),
        ({"phone_number": "12"}, "phone_number"),
        ({"bsuid": "13491208655302741918"}, "bsuid"),
        ({"bsuid": "US."}, "bsuid"),
        ({"bsuid": BSUID, "name": "x"}, "name"),
    ],
)
def test_invalid_identity_is_400(caller: Caller, identity: dict[str, Any], field: str) -> None:
    response = caller.post("/api/contacts/resolve", identity)
    assert (response.status, list(response.errors)) == (400, [field])
    message = {"direction": "incoming", "type": "text", "content": {}, "contact": identity}
    response = caller.post("/api/messages", message)
    assert (response.status, list(response.errors)) == (400, [f"contact.{field}"])
    assert caller.get("/api/contacts").data["total"] == 0


def test_one_request_resolves_the_contact_and_records_the_message(caller: Caller) -> None:
    body = {
        "account_id": ACCOUNT,
        "contact": {"phone_number": "1234567890", "bsuid": BSUID, "profile_name": "John"},
        "wa_message_id": "wamid.1",
        "direction": "incoming",
        "type": "text",
        "content": {"body": "Hello"},
        "timestamp": "2024-01-01T12:00:00Z",
    }
    response = caller.post("/api/messages", body)
    assert response.status == 201
    received = response.data
    assert (received["matched_by"], received["contact_id"]) == (None, received["contact"]["id"])
    assert (received["contact"]["unread_count"], received["contact"]["last_message_preview"]) == (1, "Hello")
    path = f"/api/contacts/{received['contact_id']}"
    assert caller.get(path).data == received["contact"]
    body["contact"]["profile_name"] = "Renamed"
    again = caller.post("/api/messages", body)
    assert (again.status, again.data["id"], again.data["contact"]) == (200, received["id"], received["contact"])
    assert caller.get(path).data == received["contact"], "the repeated message changes nothing"
    second = caller.post("/api/messages", {**body, "wa_message_id": "wamid.2"}).data
    assert (second["matched_by"], second["contact_id"]) == ("bsuid", received["contact_id"])
    assert (second["contact"]["unread_count"], second["contact"]["profile_name"]) == (2, "Renamed")


@pytest.mark.parametrize("account", [None, ACCOUNT])
@pytest.mark.parametrize(
    "identity", [{"phone_number": "+5511987654321"}, {"bsuid": "BR.1"}, {"phone_number": "+1234567", "bsuid": "BR.1"}]
)
@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)  # PostgreSQL plans by statistics.
def test_contact_lookup_uses_an_index_of_each_identifier(
    app: Flask, identity: dict[str, str], account: str | None
) -> None:
    """An index of the account alone would read all contacts of an account for each message."""
    with count_queries() as queries:
        assert Caller(app).post("/api/contacts/resolve", {**identity, "account_id": account}).status == 201
    [lookup] = [record.msg for record in queries.get_queries() if " IN (" in record.msg[0]]
    sql, parameters = lookup
    with database.connection_context():
        plan = "\n".join(row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters))
    assert set(re.findall(r"(phone_number|bsuid)=\?\)", plan)) == identity.keys(), plan
    assert "SCAN t1" not in plan
