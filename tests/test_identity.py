"""Identity: one person is one contact, under any identifiers that WhatsApp gives."""

from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.examples import ACCOUNT
from helpers.messages import START, message
from helpers.queries import count_queries
from hypothesis import given
from hypothesis import strategies as st

from contacts_service.contacts.phone_variants import written_forms
from contacts_service.contacts.tables import ContactIdentifier
from contacts_service.db.database import database, reading

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
    outcome = {name: contact.pop(name) for name in ("matched_by", "replaced", "conflict_with", "merged")}
    assert outcome == {"matched_by": None, "replaced": {}, "conflict_with": [], "merged": []}
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


THIRD_NUMBER, THIRD_BSUID = "+1234567892", "US.30919239481723650918"
PARENT, NEW_PARENT = "US.ENT.11815799212886844830", "US.ENT.22815799212886844831"


def identifiers(contact: dict[str, Any]) -> tuple[str | None, str | None]:
    return contact["phone_number"], contact["bsuid"]


def show(caller: Caller, contact: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = caller.get(f"/api/contacts/{contact['id']}").data
    return shown


def receive(caller: Caller, number: int, second: int | None = None, **fields: Any) -> dict[str, Any]:
    """Record a message of a second; the fields of a contact are those that resolve takes."""
    of_message = {name: fields.pop(name) for name in ("on_conflict", "type", "direction") if name in fields}
    response = caller.post("/api/messages", message(number, second=second, contact=fields, **of_message))
    assert response.status == 201, response.body
    received: dict[str, Any] = response.data
    return received


def test_number_that_comes_with_a_known_bsuid_fills_the_gap_or_replaces(caller: Caller) -> None:
    _, contact = resolve(caller, bsuid=BSUID)
    _, filled = resolve(caller, bsuid=BSUID, phone_number=NUMBER)
    assert (filled["id"], identifiers(filled), filled["replaced"]) == (contact["id"], (NUMBER, BSUID), {})
    _, replaced = resolve(caller, bsuid=BSUID, phone_number=OTHER_NUMBER)
    assert (replaced["id"], replaced["matched_by"]) == (contact["id"], "bsuid")
    assert (identifiers(replaced), replaced["replaced"]) == ((OTHER_NUMBER, BSUID), {"phone_number": NUMBER})
    assert caller.get("/api/contacts", search=OTHER_NUMBER).data["total"] == 1
    assert caller.get("/api/contacts", search=NUMBER).data["total"] == 0
    assert resolve(caller, phone_number=NUMBER)[0] == 201, "the operator may have given the old number to somebody"


def test_number_that_comes_with_a_former_bsuid_replaces_too(caller: Caller) -> None:
    _, contact = resolve(caller, bsuid=BSUID, phone_number=NUMBER)
    resolve(caller, bsuid=NEW_BSUID, previous_bsuid=BSUID)
    _, found = resolve(caller, bsuid=BSUID, phone_number=OTHER_NUMBER)
    assert (found["id"], found["matched_by"]) == (contact["id"], "previous_bsuid")
    assert (identifiers(found), found["replaced"]) == ((OTHER_NUMBER, NEW_BSUID), {"phone_number": NUMBER})


def test_variant_of_the_number_that_comes_with_a_known_bsuid_changes_nothing(caller: Caller) -> None:
    _, contact = resolve(caller, bsuid=BSUID, phone_number="+5511987654321")
    status, found = resolve(caller, bsuid=BSUID, phone_number="+551187654321")
    assert (status, found) == (200, {**contact, "matched_by": "bsuid"})


def test_bsuid_that_comes_with_a_known_number_fills_the_gap(caller: Caller) -> None:
    _, contact = resolve(caller, phone_number=NUMBER)
    _, found = resolve(caller, phone_number=NUMBER, bsuid=BSUID)
    assert (found["id"], identifiers(found), found["replaced"]) == (contact["id"], (NUMBER, BSUID), {})
    assert found["matched_by"] == "phone_number"


def test_bsuid_that_comes_with_a_known_number_replaces_the_old_one(caller: Caller) -> None:
    """A change of number or phone gives a new bsuid, and the notice of it may have been missed."""
    _, contact = resolve(caller, phone_number=NUMBER, bsuid=BSUID)
    _, found = resolve(caller, phone_number=NUMBER, bsuid=NEW_BSUID)
    assert (found["id"], identifiers(found)) == (contact["id"], (NUMBER, NEW_BSUID))
    assert (found["matched_by"], found["replaced"]) == ("phone_number", {"bsuid": BSUID})
    _, late = resolve(caller, bsuid=BSUID)
    assert (late["id"], late["bsuid"], late["matched_by"]) == (contact["id"], NEW_BSUID, "previous_bsuid")


def test_bsuid_of_one_and_number_of_another_belong_to_the_bsuid(caller: Caller) -> None:
    _, writer = resolve(caller, bsuid=BSUID)
    _, other = resolve(caller, phone_number=NUMBER)
    before = [show(caller, writer), show(caller, other)]
    status, found = resolve(caller, bsuid=BSUID, phone_number=NUMBER)
    assert (status, found["id"], found["matched_by"]) == (200, writer["id"], "bsuid")
    assert (found["conflict_with"], found["replaced"], found["merged"]) == ([other["id"]], {}, [])
    assert [show(caller, writer), show(caller, other)] == before
    received = receive(caller, 1, bsuid=BSUID, phone_number=NUMBER)
    assert (received["contact_id"], received["conflict_with"]) == (writer["id"], [other["id"]])
    assert caller.get(f"/api/contacts/{writer['id']}/messages").data["items"][0]["id"] == received["id"]


def test_bsuid_of_one_and_previous_bsuid_of_another_belong_to_the_bsuid(caller: Caller) -> None:
    _, writer = resolve(caller, bsuid=NEW_BSUID)
    _, other = resolve(caller, bsuid=BSUID)
    before = [show(caller, writer), show(caller, other)]
    status, found = resolve(caller, bsuid=NEW_BSUID, previous_bsuid=BSUID)
    assert (status, found["id"], found["conflict_with"]) == (200, writer["id"], [other["id"]])
    assert [show(caller, writer), show(caller, other)] == before


def test_changed_bsuid_replaces_the_previous_one(caller: Caller) -> None:
    _, contact = resolve(caller, bsuid=BSUID)
    status, found = resolve(caller, bsuid=NEW_BSUID, previous_bsuid=BSUID)
    assert (status, found["id"], found["bsuid"]) == (200, contact["id"], NEW_BSUID)
    assert (found["matched_by"], found["replaced"]) == ("previous_bsuid", {"bsuid": BSUID})
    _, again = resolve(caller, bsuid=NEW_BSUID, previous_bsuid=BSUID)
    assert (again["matched_by"], again["replaced"], again["version"]) == ("bsuid", {}, found["version"])


def test_unknown_previous_bsuid_is_remembered(caller: Caller) -> None:
    for number, identity in enumerate(({"bsuid": NEW_BSUID}, {"phone_number": NUMBER}, {"bsuid": NEW_BSUID})):
        previous = f"US.previous{number}"
        _, contact = resolve(caller, **identity, previous_bsuid=previous)
        _, found = resolve(caller, bsuid=previous)
        assert (found["id"], found["matched_by"]) == (contact["id"], "previous_bsuid")
        assert identifiers(found) == identifiers(contact)


def test_identifiers_are_tried_in_their_order(caller: Caller) -> None:
    person = {
        "bsuid": BSUID,
        "previous_bsuid": NEW_BSUID,
        "parent_bsuid": PARENT,
        "external_id": "crm 1",
        "phone_number": "+5511987654321",
    }
    steps: list[tuple[str, dict[str, Any]]] = [
        ("bsuid", {"bsuid": BSUID}),
        ("previous_bsuid", {"bsuid": NEW_BSUID}),
        ("parent_bsuid", {"parent_bsuid": PARENT, "phone_number": NUMBER}),
        ("external_id", {"external_id": "crm 1", "phone_number": OTHER_NUMBER}),
        ("phone_number", {"phone_number": "+5511987654321"}),
        ("phone_variant", {"phone_number": "+551187654321"}),
    ]
    contacts = [caller.post("/api/contacts", fields).data for _, fields in steps]
    for number, (matched_by, _) in enumerate(steps):
        _, found = resolve(caller, **person)
        assert (found["matched_by"], found["id"]) == (matched_by, contacts[number]["id"])
        rest = [contact["id"] for contact in contacts[number + 1 : 5]]
        assert found["conflict_with"] == rest, "the other form of a number that is there itself is somebody else's"
        caller.delete(f"/api/contacts/{contacts[number]['id']}")
    assert resolve(caller, **person)[0] == 201


def test_parent_bsuid_and_external_id_find_and_fill_gaps(caller: Caller) -> None:
    _, contact = resolve(caller, phone_number=NUMBER)
    _, filled = resolve(caller, phone_number=NUMBER, parent_bsuid=PARENT, external_id="crm 1")
    assert (filled["id"], filled["parent_bsuid"], filled["external_id"]) == (contact["id"], PARENT, "crm 1")
    for identity, matched_by in (({"parent_bsuid": PARENT}, "parent_bsuid"), ({"external_id": "crm 1"}, "external_id")):
        status, found = resolve(caller, **identity)
        assert (status, found["id"], found["matched_by"]) == (200, contact["id"], matched_by)
    _, kept = resolve(caller, phone_number=NUMBER, external_id="crm 2", parent_bsuid=NEW_PARENT)
    assert (kept["external_id"], kept["parent_bsuid"]) == ("crm 1", NEW_PARENT)
    assert kept["replaced"] == {"parent_bsuid": PARENT}, "an external id is never replaced"
    assert resolve(caller, parent_bsuid=PARENT)[1]["id"] == contact["id"], "a former parent bsuid stays"
    assert resolve(caller, parent_bsuid=PARENT)[1]["parent_bsuid"] == NEW_PARENT


@pytest.mark.parametrize("identity", [{"parent_bsuid": PARENT}, {"external_id": "crm 1"}])
def test_person_without_number_and_bsuid_can_be_found_but_not_created(caller: Caller, identity: dict[str, str]) -> None:
    for path, body in (("contacts/resolve", identity), ("messages", message(1, contact=identity))):
        response = caller.post(f"/api/{path}", body)
        assert (response.status, response.code) == (409, "contact_unidentified")
    caller.create(NUMBER, **identity)
    assert resolve(caller, **identity)[0] == 200
    assert receive(caller, 1, **identity)["matched_by"] in identity


def test_late_message_fills_gaps_and_replaces_nothing(caller: Caller) -> None:
    first = receive(caller, 1, second=100, bsuid=BSUID, phone_number=NUMBER, parent_bsuid=PARENT, username="new")
    late = receive(
        caller, 2, second=50, bsuid=NEW_BSUID, phone_number=NUMBER, parent_bsuid=NEW_PARENT, external_id="crm 1",
        username="old", profile_name="Filled",
    )  # fmt: skip
    contact = late["contact"]
    assert (contact["id"], identifiers(contact), late["replaced"]) == (first["contact_id"], (NUMBER, BSUID), {})
    assert (contact["external_id"], contact["parent_bsuid"]) == ("crm 1", PARENT)
    assert (contact["username"], contact["profile_name"]) == ("new", "Filled")
    for identity in ({"bsuid": NEW_BSUID}, {"parent_bsuid": NEW_PARENT}):
        _, found = resolve(caller, **identity)
        assert (found["id"], found["bsuid"]) == (contact["id"], BSUID), "what is new in it is former"
    other_number = receive(caller, 3, second=60, bsuid=BSUID, phone_number=OTHER_NUMBER)
    assert (other_number["contact"]["phone_number"], other_number["replaced"]) == (NUMBER, {})
    in_order = receive(caller, 4, second=100, bsuid=THIRD_BSUID, phone_number=NUMBER)
    assert in_order["replaced"] == {"bsuid": BSUID}, "of the same second"


@pytest.mark.parametrize("how", ["system message", "status"])
def test_late_message_does_not_undo_what_a_notice_or_status_taught(caller: Caller, how: str) -> None:
    """Neither of them moves last_inbound_at."""
    receive(caller, 1, second=10, bsuid=BSUID, phone_number=NUMBER)
    person = {"bsuid": NEW_BSUID, "previous_bsuid": BSUID, "phone_number": OTHER_NUMBER}
    if how == "status":
        receive(caller, 2, second=20, direction="outgoing", bsuid=BSUID)
        status = {"wa_message_id": "wamid.0002", "status": "sent", "timestamp": "2024-01-01T00:01:40Z"}
        assert caller.put("/api/messages/status", {**status, "contact": person}).status == 200
    else:
        receive(caller, 2, second=100, type="system", **person)
    late = receive(caller, 3, second=50, bsuid=BSUID, phone_number=NUMBER)
    assert (identifiers(late["contact"]), late["replaced"]) == ((OTHER_NUMBER, NEW_BSUID), {})
    newer = receive(caller, 4, second=150, bsuid=NEW_BSUID, phone_number=NUMBER)
    assert newer["replaced"] == {"phone_number": OTHER_NUMBER}


def test_late_notice_replaces_the_bsuid_that_it_names(caller: Caller) -> None:
    """That one bsuid follows the other holds whenever it is said."""
    receive(caller, 1, second=10, bsuid=BSUID, phone_number=NUMBER)
    receive(caller, 2, second=100, phone_number=NUMBER)
    late = receive(caller, 3, second=50, type="system", bsuid=NEW_BSUID, previous_bsuid=BSUID)
    assert (late["contact"]["bsuid"], late["replaced"]) == (NEW_BSUID, {"bsuid": BSUID})


def test_status_teaches_the_identifiers_of_its_contact(caller: Caller) -> None:
    contact = receive(caller, 1, direction="outgoing", phone_number=NUMBER)["contact"]
    _, other = resolve(caller, bsuid=NEW_BSUID)
    status = {"wa_message_id": "wamid.0001", "status": "delivered"}
    for person, bsuid in (
        ({"phone_number": NUMBER, "bsuid": BSUID}, BSUID),
        ({"phone_number": NUMBER, "bsuid": NEW_BSUID}, BSUID),
        ({"bsuid": THIRD_BSUID, "previous_bsuid": BSUID}, THIRD_BSUID),
    ):
        response = caller.put("/api/messages/status", {**status, "contact": person})
        assert (response.status, response.data["contact_id"]) == (200, contact["id"])
        assert show(caller, contact)["bsuid"] == bsuid
    assert show(caller, other)["bsuid"] == NEW_BSUID, "another contact's identifiers stay with it"
    assert caller.put("/api/messages/status", {**status, "contact": {}}).status == 400


def test_status_that_comes_before_its_message_teaches_the_contact_that_is_there(caller: Caller) -> None:
    _, contact = resolve(caller, phone_number=NUMBER)
    status = {"wa_message_id": "wamid.0001", "status": "sent"}
    for person in ({"phone_number": NUMBER, "bsuid": BSUID}, {"phone_number": OTHER_NUMBER, "bsuid": NEW_BSUID}):
        assert caller.put("/api/messages/status", {**status, "contact": person}).status == 202
    assert show(caller, contact)["bsuid"] == BSUID
    assert caller.get("/api/contacts").data["total"] == 1, "a status creates no contact"


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
def test_contact_lookup_reads_only_the_identifiers(app: Flask, identity: dict[str, str], account: str | None) -> None:
    """A condition on the account alone would read all identifiers of an account for each message."""
    with count_queries() as queries:
        assert Caller(app).post("/api/contacts/resolve", {**identity, "account_id": account}).status == 201
    [lookup] = [record.msg for record in queries.get_queries() if " IN (SELECT " in record.msg[0]]
    sql, parameters = lookup
    with reading():
        plan = [row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    searched = [step for step in plan if "contact_identifier" in step or " t2 " in step]
    assert len(searched) == len(identity)
    assert all("(account=? AND kind=? AND value=?)" in step for step in searched), plan
    assert not any(step.startswith("SCAN") for step in plan), plan


def test_message_of_a_known_person_looks_identifiers_up_once_and_writes_none(app: Flask) -> None:
    caller = Caller(app)
    person = {"bsuid": BSUID, "phone_number": NUMBER}
    receive(caller, 1, **person)
    with count_queries() as queries:
        receive(caller, 2, **person)
    about = [record.msg[0] for record in queries.get_queries() if "contact_identifier" in record.msg[0]]
    assert len(about) == 1
    assert about[0].startswith("SELECT")


def test_identifiers_are_seen_first_and_last_by_the_times_of_messages(app: Flask) -> None:
    """The last time is exact to a day: a message of the same day writes nothing."""
    caller, day = Caller(app), 24 * 3600
    times = []
    for number, second in enumerate((0, 60, day + 5, day + 60, 60)):
        receive(caller, number, second=second, bsuid=BSUID)
        with reading():
            [seen] = ContactIdentifier.select().dicts()
        times.append([(seen[name] - START).total_seconds() for name in ("first_seen_at", "last_seen_at")])
    assert times == [[0, 0], [0, 0], [0, day + 5], [0, day + 5], [0, day + 5]]
