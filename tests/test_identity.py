"""Who somebody is, by what WhatsApp says: one person is one contact."""

import re
from typing import Any

import pytest
from caller import Caller
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from playhouse.test_utils import count_queries

from contacts_service.models.database import database
from contacts_service.services.phone_variants import written_forms

ACCOUNT = "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a10"
NUMBER, OTHER_NUMBER = "+1234567890", "+1234567891"
BSUID, NEW_BSUID = "US.13491208655302741918", "US.24502319766413852029"


def resolve(caller: Caller, **who: Any) -> tuple[int, dict[str, Any]]:
    answer = caller.post("/api/contacts/resolve", who)
    return answer.status, answer.data


def test_a_person_nobody_knew_is_created(caller: Caller) -> None:
    answer = caller.post(
        "/api/contacts/resolve",
        {"account_id": ACCOUNT, "phone_number": "1234567890", "bsuid": BSUID, "profile_name": "John", "username": "jd"},
    )
    contact = answer.data
    assert answer.status == 201
    assert answer.headers["Location"] == f"/api/contacts/{contact['id']}"
    assert contact.pop("matched_by") is None
    assert (contact["phone_number"], contact["bsuid"], contact["account_id"]) == (NUMBER, BSUID, ACCOUNT)
    assert (contact["profile_name"], contact["username"], contact["name"]) == ("John", "jd", None)
    assert caller.get(f"/api/contacts/{contact['id']}").data == contact
    assert caller.get("/api/contacts", search="john").data["total"] == 1


def test_a_person_who_is_known_is_found_by_either_identifier(caller: Caller) -> None:
    _, contact = resolve(caller, phone_number=NUMBER, bsuid=BSUID)
    for who, matched_by in (
        ({"bsuid": BSUID}, "bsuid"),
        ({"phone_number": "00 1 234 567 890"}, "phone_number"),
        ({"phone_number": NUMBER, "bsuid": BSUID}, "bsuid"),
        ({"phone_number": None, "bsuid": BSUID}, "bsuid"),
    ):
        assert resolve(caller, **who) == (200, {**contact, "matched_by": matched_by}), who
    assert resolve(caller, account_id=ACCOUNT, phone_number=NUMBER)[0] == 201, "another account, another contact"


def test_identifiers_that_were_missing_are_filled_in(caller: Caller) -> None:
    _, by_number = resolve(caller, phone_number=NUMBER)
    status, filled = resolve(caller, phone_number=NUMBER, bsuid=BSUID)
    assert (status, filled["id"], filled["bsuid"]) == (200, by_number["id"], BSUID)
    _, by_bsuid = resolve(caller, bsuid=NEW_BSUID)
    status, filled = resolve(caller, phone_number=OTHER_NUMBER, bsuid=NEW_BSUID)
    assert (status, filled["id"], filled["phone_number"]) == (200, by_bsuid["id"], OTHER_NUMBER)
    assert caller.get("/api/contacts", search=OTHER_NUMBER).data["total"] == 1


def test_an_identifier_that_is_there_is_never_overwritten(caller: Caller) -> None:
    _, contact = resolve(caller, phone_number=NUMBER, bsuid=BSUID)
    for who in ({"phone_number": OTHER_NUMBER, "bsuid": BSUID}, {"phone_number": NUMBER, "bsuid": NEW_BSUID}):
        status, found = resolve(caller, **who)
        assert (status, found["id"]) == (200, contact["id"])
        assert (found["phone_number"], found["bsuid"]) == (NUMBER, BSUID)


def test_a_changed_bsuid_takes_the_place_of_the_previous_one(caller: Caller) -> None:
    _, contact = resolve(caller, bsuid=BSUID)
    status, found = resolve(caller, bsuid=NEW_BSUID, previous_bsuid=BSUID)
    assert (status, found["id"], found["bsuid"]) == (200, contact["id"], NEW_BSUID)
    assert found["matched_by"] == "previous_bsuid"
    assert resolve(caller, bsuid=NEW_BSUID, previous_bsuid=BSUID)[1]["matched_by"] == "bsuid", "said again"


def test_a_late_message_under_a_former_bsuid_finds_its_contact(caller: Caller) -> None:
    said = [{"bsuid": BSUID}, {"bsuid": NEW_BSUID, "previous_bsuid": BSUID}, {"bsuid": NEW_BSUID}]
    for order in ([0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 1, 0], [0, 1, 0, 1, 2, 0]):
        ids = {resolve(caller, **said[step])[1]["id"] for step in order}
        assert len(ids) == 1, order
        after = caller.get(f"/api/contacts/{ids.pop()}").data
        assert after["bsuid"] == NEW_BSUID
        caller.delete(f"/api/contacts/{after['id']}")
    assert resolve(caller, bsuid=BSUID)[0] == 201, "forgotten with its contact"
    # Another account's bsuid is another's.
    resolve(caller, account_id=ACCOUNT, **said[1])
    assert resolve(caller, bsuid="US.other", previous_bsuid="US.unknown")[0] == 201
    assert resolve(caller, bsuid="US.unknown", account_id=ACCOUNT)[0] == 201


def test_what_whatsapp_says_is_renewed_and_a_typed_name_is_left_alone(caller: Caller) -> None:
    _, contact = resolve(caller, phone_number=NUMBER, profile_name="Old", username="old")
    caller.put(f"/api/contacts/{contact['id']}", {"name": "Typed"})
    said = {"profile_name": "New", "username": "new", "avatar_url": "https://example.com/n.jpg"}
    _, renewed = resolve(caller, phone_number=NUMBER, **said)
    assert {name: renewed[name] for name in said} == said
    assert renewed["name"] == "Typed"
    assert caller.names(search="typed new") == ["Typed"]
    _, unsaid = resolve(caller, phone_number=NUMBER, profile_name=None)
    assert unsaid == renewed, "what is not said stays, and no version is spent"


def test_a_late_message_does_not_bring_back_an_old_profile(caller: Caller) -> None:
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
    assert resolve(caller, phone_number=NUMBER, profile_name="")[1]["profile_name"] == "New", "a blank says nothing"


def test_identifiers_of_two_contacts_are_a_conflict_and_nothing_is_written(caller: Caller) -> None:
    _, one = resolve(caller, phone_number=NUMBER)
    _, two = resolve(caller, bsuid=BSUID)
    _, three = resolve(caller, bsuid=NEW_BSUID)
    before = caller.get("/api/contacts").data
    for who, ids in (
        ({"phone_number": NUMBER, "bsuid": BSUID, "profile_name": "X"}, [one, two]),
        ({"bsuid": BSUID, "previous_bsuid": NEW_BSUID}, [two, three]),
        ({"phone_number": NUMBER, "bsuid": "US.unknown", "previous_bsuid": BSUID}, [one, two]),
    ):
        answer = caller.post("/api/contacts/resolve", who)
        assert (answer.status, answer.code) == (409, "identity_conflict")
        assert sorted(answer.errors["id"]) == sorted(contact["id"] for contact in ids)
        message = {"direction": "incoming", "type": "text", "content": {}, "contact": who}
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
def test_numbers_that_whatsapp_writes_in_two_ways_are_one_person(caller: Caller, short: str, long: str) -> None:
    for first, second, account in ((short, long, None), (long, short, ACCOUNT)):
        _, contact = resolve(caller, phone_number=first, account_id=account)
        status, found = resolve(caller, phone_number=second, account_id=account)
        assert (status, found["id"], found["matched_by"]) == (200, contact["id"], "phone_variant")
        assert found["phone_number"] == first, "never rewritten"
        # Who has the number itself is meant, when somebody typed both in.
        other = caller.create(second, account_id=account)
        assert resolve(caller, phone_number=second, account_id=account)[1]["id"] == other["id"]
        assert resolve(caller, phone_number=first, account_id=account)[1]["id"] == contact["id"]


@pytest.mark.parametrize(("one", "other"), NO_VARIANTS)
def test_other_numbers_are_never_taken_for_each_other(caller: Caller, one: str, other: str) -> None:
    resolve(caller, phone_number=one)
    assert resolve(caller, phone_number=other)[0] == 201


@given(st.from_regex(r"\+(52|521|54|549|55|1|49)[0-9]{6,11}", fullmatch=True))
def test_every_written_form_of_a_number_has_the_same_forms(number: str) -> None:
    forms = written_forms(number)
    assert number in forms
    assert len(set(forms)) == len(forms) <= 2
    for form in forms:
        assert written_forms(form) == forms


@pytest.mark.parametrize(
    ("who", "field"),
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
def test_bad_identities_name_the_field(caller: Caller, who: dict[str, Any], field: str) -> None:
    answer = caller.post("/api/contacts/resolve", who)
    assert (answer.status, list(answer.errors)) == (400, [field])
    message = {"direction": "incoming", "type": "text", "content": {}, "contact": who}
    answer = caller.post("/api/messages", message)
    assert (answer.status, list(answer.errors)) == (400, [f"contact.{field}"])
    assert caller.get("/api/contacts").data["total"] == 0


def test_one_call_finds_the_contact_and_records_the_message(caller: Caller) -> None:
    body = {
        "account_id": ACCOUNT,
        "contact": {"phone_number": "1234567890", "bsuid": BSUID, "profile_name": "John"},
        "wa_message_id": "wamid.1",
        "direction": "incoming",
        "type": "text",
        "content": {"body": "Hello"},
        "timestamp": "2024-01-01T12:00:00Z",
    }
    answer = caller.post("/api/messages", body)
    assert answer.status == 201
    received = answer.data
    assert (received["matched_by"], received["contact_id"]) == (None, received["contact"]["id"])
    assert (received["contact"]["unread_count"], received["contact"]["last_message_preview"]) == (1, "Hello")
    path = f"/api/contacts/{received['contact_id']}"
    assert caller.get(path).data == received["contact"]
    body["contact"]["profile_name"] = "Renamed"
    again = caller.post("/api/messages", body)
    assert (again.status, again.data["id"], again.data["contact"]) == (200, received["id"], received["contact"])
    assert caller.get(path).data == received["contact"], "the same message again changes nothing"
    second = caller.post("/api/messages", {**body, "wa_message_id": "wamid.2"}).data
    assert (second["matched_by"], second["contact_id"]) == ("bsuid", received["contact_id"])
    assert (second["contact"]["unread_count"], second["contact"]["profile_name"]) == (2, "Renamed")


@pytest.mark.parametrize("account", [None, "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a10"])
@pytest.mark.parametrize(
    "who", [{"phone_number": "+5511987654321"}, {"bsuid": "BR.1"}, {"phone_number": "+1234567", "bsuid": "BR.1"}]
)
@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)  # PostgreSQL goes by statistics, which a test hasn't.
def test_a_contact_is_found_by_an_index_of_each_identifier(
    app: Flask, who: dict[str, str], account: str | None
) -> None:
    """An index of the account alone would have every message read all the contacts of its account."""
    with count_queries() as queries:
        assert Caller(app).post("/api/contacts/resolve", {**who, "account_id": account}).status == 201
    [lookup] = [record.msg for record in queries.get_queries() if " IN (" in record.msg[0]]
    sql, parameters = lookup
    with database.connection_context():
        plan = "\n".join(row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters))
    assert set(re.findall(r"(phone_number|bsuid)=\?\)", plan)) == who.keys(), plan
    assert "SCAN t1" not in plan
