"""Undoing a merge: both contacts are as they were, and what happened since stays where it belongs."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from helpers.caller import Caller
from helpers.examples import FLOW_ID, OTHER_USER, UNKNOWN_ID, USER
from helpers.messages import message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_merging import BSUID, NUMBER, OTHER_BSUID, OTHER_NUMBER, history, merge, record, two_contacts, without_times

from contacts_service.contacts import queries
from contacts_service.contacts.merging import UNDO_WINDOW
from contacts_service.contacts.tables import Contact, ContactIdentifier, ContactMerge
from contacts_service.db.database import reading

numbers = itertools.count(1)
"""Examples of a property share a database, where an identifier may be taken once."""


def undo(caller: Caller, survivor: str, source: str) -> Any:
    return caller.delete(f"/api/contacts/{survivor}/merges/{source}")


def shown(caller: Caller, *contacts: str) -> list[Any]:
    """Everything that callers see of contacts, and the identifiers that they are found by."""
    found: list[Any] = []
    for contact in contacts:
        path = f"/api/contacts/{contact}"
        found.append(without_times(caller.get(path).data))
        found += [caller.get(f"{path}{part}").data for part in ("/messages", "/sessions", "/session-data", "/merges")]
        with reading():
            columns = (ContactIdentifier.kind, ContactIdentifier.value, ContactIdentifier.current)
            columns += (ContactIdentifier.said_at, ContactIdentifier.replaced_in)
            identifiers = ContactIdentifier.select(*columns).join(Contact).where(Contact.id == contact)
            found.append(sorted(identifiers.tuples()))
    return found


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aé ", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=4,
)
people = st.fixed_dictionaries(
    {
        "kinds": st.sets(st.sampled_from(["phone_number", "bsuid", "parent_bsuid", "external_id"]), min_size=1),
        "former": st.booleans(),
        "fields": st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["Ann", "Zoë", ""]),
                "profile_name": st.sampled_from(["Ann 🌷", "Bob"]),
                "username": st.sampled_from(["ann", "bob"]),
                "avatar_url": st.sampled_from(["https://example.com/a.jpg"]),
                "tags": st.lists(st.sampled_from(["vip", "new", "Ö l d"]), max_size=3, unique=True),
                "marketing_opt_out": st.booleans(),
                "metadata": st.dictionaries(st.sampled_from(["plan", "a", "b", ""]), json_values, max_size=3),
            },
        ),
        "assigned_to": st.sampled_from([None, USER, OTHER_USER]),
        "messages": st.lists(
            st.fixed_dictionaries(
                {
                    "second": st.integers(0, 3),
                    "direction": st.sampled_from(["incoming", "outgoing"]),
                    "type": st.sampled_from(["text", "image", "reaction", "system"]),
                    "history": st.booleans(),
                }
            ),
            max_size=4,
        ),
        "read": st.booleans(),
        "sessions": st.lists(st.sampled_from([FLOW_ID, UNKNOWN_ID]), max_size=2, unique=True),
    }
)


def create(caller: Caller, person: dict[str, Any]) -> str:
    """Make a contact by requests."""
    number = next(numbers)
    values = {
        "phone_number": f"+1{number:010}",
        "bsuid": f"US.{number}",
        "parent_bsuid": f"US.ENT.{number}",
        "external_id": f"crm {number}",
    }
    given_values = {kind: value for kind, value in values.items() if kind in person["kinds"]}
    if not given_values.keys() & {"phone_number", "bsuid"}:
        given_values["bsuid"] = values["bsuid"]
    contact: str = caller.post("/api/contacts", {**given_values, **person["fields"]}).data["id"]
    if person["former"] and "bsuid" in given_values:
        follows = {"bsuid": f"US.{number}b", "previous_bsuid": f"US.{number}"}
        assert caller.post("/api/contacts/resolve", follows).data["id"] == contact
    if person["assigned_to"]:
        caller.put(f"/api/contacts/{contact}/assign", {"user_id": person["assigned_to"]})
    for each in person["messages"]:
        caller.post(f"/api/contacts/{contact}/messages", message(next(numbers), **each))
    if person["read"]:
        caller.post(f"/api/contacts/{contact}/mark-read", None)
    for session in person["sessions"]:
        caller.put(f"/api/contacts/{contact}/session-data", {"session_id": session, "session_data": {"of": contact}})
    return contact


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=people, second=people, third=people)
def test_merge_undone_at_once_leaves_everything_as_it_was(
    caller: Caller, first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]
) -> None:
    """Also of a chain: the second is merged into the first while the third is part of it."""
    survivor, source, earlier = (create(caller, person) for person in (first, second, third))
    alone = shown(caller, source, earlier)
    assert merge(caller, source, earlier).status == 200
    before, totals = shown(caller, survivor, source), totals_of(caller)
    assert merge(caller, survivor, source).status == 200
    assert caller.get(f"/api/contacts/{earlier}").errors == {"id": [survivor]}
    restored = undo(caller, survivor, source).data
    assert restored == caller.get(f"/api/contacts/{source}").data
    assert (shown(caller, survivor, source), totals_of(caller)) == (before, totals)
    assert caller.get(f"/api/contacts/{earlier}").errors == {"id": [source]}
    assert undo(caller, source, earlier).status == 200
    assert shown(caller, source, earlier) == alone


def totals_of(caller: Caller) -> list[int]:
    queries = [{}, {"search": "ann"}, {"search": "bob"}, {"tags": "vip"}, {"tags": "Ö l d"}, {"assigned_to": USER}]
    return [caller.get("/api/contacts", **query).data["total"] for query in [*queries, {"assigned_to": "none"}]]


def test_merge_by_what_whatsapp_says_is_undone_too(caller: Caller) -> None:
    """There the source's bsuid may become current, and the survivor's former."""
    survivor = caller.create(NUMBER, bsuid=BSUID)["id"]
    source = caller.create(OTHER_NUMBER, bsuid=OTHER_BSUID)["id"]
    before = shown(caller, survivor, source)
    said = {"bsuid": OTHER_BSUID, "previous_bsuid": BSUID, "on_conflict": "merge"}
    merged = caller.post("/api/contacts/resolve", said).data
    assert (merged["id"], merged["merged"], merged["bsuid"]) == (survivor, [source], OTHER_BSUID)
    assert undo(caller, survivor, source).status == 200
    assert shown(caller, survivor, source) == before


def test_what_was_recorded_since_stays_with_the_survivor(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    record(caller, survivor, 1)
    record(caller, source, 8)
    merge(caller, survivor, source)
    record(caller, survivor, 5)  # Newer than the survivor's own, older than the source's.
    record(caller, survivor, 9, direction="outgoing")
    caller.put(f"/api/contacts/{survivor}/session-data", {"session_data": {"since": True}})
    back = undo(caller, survivor, source).data
    contact = caller.get(f"/api/contacts/{survivor}").data
    assert (history(caller, survivor), history(caller, source)) == (
        ["wamid.0001", "wamid.0005", "wamid.0009"],
        ["wamid.0008"],
    )
    assert (contact["unread_count"], back["unread_count"]) == (2, 1)
    assert (contact["last_message_preview"], back["last_message_preview"]) == ("text 9", "text 8")
    assert contact["last_inbound_at"] == "2024-01-01T00:00:05Z"
    assert back["last_inbound_at"] == "2024-01-01T00:00:08Z"
    assert len(caller.get(f"/api/contacts/{survivor}/sessions").data["items"]) == 1


def test_what_was_read_meanwhile_stays_read(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    record(caller, survivor, 1)
    record(caller, source, 2)
    merge(caller, survivor, source)
    caller.post(f"/api/contacts/{survivor}/mark-read", None)
    for number in (3, 4, 5):
        record(caller, survivor, number)
    assert undo(caller, survivor, source).data["unread_count"] == 0
    assert caller.get(f"/api/contacts/{survivor}").data["unread_count"] == 3


def test_values_changed_since_stay_and_the_others_go_back(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    given_values = {"username": "bob", "profile_name": "Bob", "tags": ["old", "x"], "marketing_opt_out": True}
    caller.put(f"/api/contacts/{source}", {**given_values, "metadata": {"a": 1, "b": 2, "c": 3}})
    caller.put(f"/api/contacts/{survivor}", {"tags": ["vip"], "metadata": {"z": 0}})
    merge(caller, survivor, source)
    changes = {"profile_name": "Robert", "metadata": {"a": True, "c": None, "d": 4}, "tags": ["x", "new", "vip"]}
    caller.patch(f"/api/contacts/{survivor}", changes)
    back = undo(caller, survivor, source).data
    contact = caller.get(f"/api/contacts/{survivor}").data
    assert {name: back[name] for name in given_values} == given_values
    assert back["metadata"] == {"a": 1, "b": 2, "c": 3}
    assert (contact["profile_name"], contact["username"]) == ("Robert", None)
    assert contact["metadata"] == {"z": 0, "a": True, "d": 4}
    assert (contact["tags"], contact["marketing_opt_out"]) == (["new", "vip"], False)
    assert caller.get("/api/contacts", tags="x").data["total"] == 1


def test_identifiers_that_the_survivor_got_since_stay_with_it(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    merge(caller, survivor, source)
    said = {"bsuid": OTHER_BSUID, "previous_bsuid": BSUID, "phone_number": OTHER_NUMBER}
    assert caller.post("/api/contacts/resolve", said).data["id"] == survivor
    back = undo(caller, survivor, source).data
    contact = caller.get(f"/api/contacts/{survivor}").data
    assert (back["bsuid"], back["phone_number"]) == (BSUID, None)
    assert (contact["bsuid"], contact["phone_number"]) == (OTHER_BSUID, OTHER_NUMBER)


def test_number_that_another_contact_got_stays_there(caller: Caller) -> None:
    survivor = caller.create(NUMBER)["id"]
    source = caller.create(OTHER_NUMBER, bsuid=BSUID)["id"]
    merge(caller, survivor, source)
    other = caller.create(OTHER_NUMBER)["id"]
    back = undo(caller, survivor, source).data
    assert (back["phone_number"], back["bsuid"]) == (None, BSUID)
    assert caller.get(f"/api/contacts/{other}").data["phone_number"] == OTHER_NUMBER
    assert caller.get("/api/contacts", search=OTHER_NUMBER).data["total"] == 1


def test_survivor_that_would_be_left_without_identifier_keeps_the_source(caller: Caller) -> None:
    survivor, source = two_contacts(caller)
    merge(caller, survivor, source)
    caller.put(f"/api/contacts/{survivor}", {"phone_number": None})
    refused = undo(caller, survivor, source)
    assert (refused.status, refused.code) == (409, "contact_unidentified")
    assert caller.get(f"/api/contacts/{source}").status == 410


def test_merges_into_one_contact_are_undone_in_any_order(caller: Caller) -> None:
    survivor = caller.create(NUMBER)["id"]
    sources = [
        caller.post("/api/contacts", {"bsuid": f"US.{number}", "name": f"{number}"}).data["id"] for number in range(3)
    ]
    for number, source in enumerate(sources):
        record(caller, source, number)
    before = shown(caller, survivor, *sources)
    for source in sources:
        merge(caller, survivor, source)
    for source in (sources[1], sources[0], sources[2]):
        assert undo(caller, survivor, source).status == 200
    assert shown(caller, survivor, *sources) == before


@pytest.mark.parametrize("headers", [{}, {"If-Match": '"1"'}])
def test_write_that_meets_an_undone_merge_is_tried_again(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    """The contact was away when it would have been written, and is there when the service looks why it wasn't."""
    contact = caller.create(NUMBER)
    results = iter([None])
    written = queries.update_contact
    monkeypatch.setattr(queries, "update_contact", lambda *given: next(results, ...) and written(*given))
    response = caller.put(f"/api/contacts/{contact['id']}/assign", {"user_id": USER}, headers=headers)
    assert (response.status, response.data["assigned_to"]) == (200, USER)


def test_only_merges_that_are_there_can_be_undone(caller: Caller) -> None:
    first, second, third = (caller.create(f"+123456789{number}")["id"] for number in range(3))
    for pair in ((first, UNKNOWN_ID), (first, second), (first, first)):
        assert (undo(caller, *pair).status, undo(caller, *pair).code) == (404, "merge_not_found")
    assert undo(caller, UNKNOWN_ID, first).code == "contact_not_found"
    merge(caller, second, first)
    merge(caller, third, second)
    blocked = undo(caller, third, first)
    assert (blocked.status, blocked.code, blocked.errors) == (409, "merge_final", {"id": [second]})
    assert undo(caller, third, second).status == 200
    assert undo(caller, third, second).code == "merge_not_found"
    assert undo(caller, second, first).status == 200


@pytest.mark.parametrize("is_forgotten", [True, False])
def test_merge_is_final_after_thirty_days(caller: Caller, *, is_forgotten: bool) -> None:
    """The snapshot goes with the next merge of any contacts."""
    survivor, source = two_contacts(caller)
    merge(caller, survivor, source)
    with reading():
        [made] = ContactMerge.select()
        ContactMerge.update(at=made.at - UNDO_WINDOW - timedelta(seconds=1)).execute()
    if is_forgotten:
        others = [caller.create(f"+123456789{number}")["id"] for number in (8, 9)]
        assert merge(caller, *others).status == 200
    with reading():
        assert (ContactMerge.get(ContactMerge.source_id == source).snapshot is None) == is_forgotten
    refused = undo(caller, survivor, source)
    assert (refused.status, refused.code) == (409, "merge_final")
    assert caller.get(f"/api/contacts/{source}").status == 410
    assert len(caller.get(f"/api/contacts/{survivor}/merges").data["items"]) == 1
