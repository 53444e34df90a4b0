"""Consent: the newest word on marketing counts, whatever arrives when, and whichever way it came."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.concurrency import run_concurrently
from helpers.examples import ACCOUNT, UNKNOWN_ID, USER
from helpers.messages import message
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_changes import changes
from test_undo_merge import undo

from contacts_service.contacts.consent import CONSENT, NOT_SAID, rank, with_consent

NUMBER = "+1234567890"
START = datetime(2024, 1, 1, tzinfo=UTC)
numbers = itertools.count(1)
"""Examples of a property share a database, where an identifier may be taken once."""


def at(second: int) -> str:
    return (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")


def consent_of(caller: Caller, contact: str) -> tuple[Any, ...]:
    shown = caller.get(f"/api/contacts/{contact}").data
    return tuple(shown[name] for name in CONSENT)


def said(opt_out: bool, second: int) -> dict[str, Any]:
    return {"marketing_opt_out": opt_out, "marketing_opt_out_at": at(second)}


def update(method: str, caller: Caller, contact: dict[str, Any], word: dict[str, Any]) -> Any:
    return getattr(caller, method)(f"/api/contacts/{contact['id']}", word)


def bulk(caller: Caller, contact: dict[str, Any], word: dict[str, Any]) -> Any:
    return caller.post("/api/contacts/bulk", {"filter": {"ids": contact["id"]}, "expected_total": 1, "set": word})


def resolve(caller: Caller, contact: dict[str, Any], word: dict[str, Any]) -> Any:
    return caller.post("/api/contacts/resolve", {"phone_number": contact["phone_number"], **word})


def receive(caller: Caller, contact: dict[str, Any], word: dict[str, Any]) -> Any:
    who = {"phone_number": contact["phone_number"], **word}
    return caller.post("/api/messages", {**message(next(numbers)), "contact": who})


SAYING: dict[str, Any] = {
    "PUT": (lambda *arguments: update("put", *arguments), "person"),
    "PATCH": (lambda *arguments: update("patch", *arguments), "person"),
    "bulk": (bulk, "person"),
    "resolve": (resolve, "whatsapp"),
    "message": (receive, "whatsapp"),
}


@pytest.mark.parametrize("way", SAYING)
def test_every_way_takes_a_word_with_its_time_and_names_its_source(caller: Caller, way: str) -> None:
    say, source = SAYING[way]
    contact = caller.create(NUMBER)
    assert [contact[name] for name in CONSENT] == [False, None, None], "no word was said yet"
    for word in (said(True, 5), said(False, 6), said(True, 7)):
        assert say(caller, contact, word).status < 300
        assert consent_of(caller, contact["id"]) == (*word.values(), source)
    [listed] = caller.get("/api/contacts", marketing_opt_out="true").data["items"]
    assert [listed[name] for name in CONSENT] == [True, at(7), source]
    [item] = changes(caller)["items"]
    assert [item["contact"][name] for name in CONSENT] == [True, at(7), source]


@pytest.mark.parametrize("way", SAYING)
def test_older_word_changes_nothing_and_is_answered_with_what_counts(caller: Caller, way: str) -> None:
    say, _ = SAYING[way]
    contact = caller.create(NUMBER, **said(True, 5))
    before = caller.get(f"/api/contacts/{contact['id']}").data
    answer = say(caller, contact, said(False, 4))
    assert answer.status == (201 if way == "message" else 200)
    after = caller.get(f"/api/contacts/{contact['id']}").data
    assert [after[name] for name in CONSENT] == [True, at(5), "person"]
    if way != "message":  # That is a change of its own.
        assert after == before
    if way == "bulk":
        assert answer.data == {"matched": 1, "changed": 0}
    events = caller.get(f"/api/contacts/{contact['id']}/events").data["items"]
    assert [event["kind"] for event in events] == ["created"]


@pytest.mark.parametrize("way", SAYING)
def test_word_without_time_counts_when_it_arrives(caller: Caller, way: str) -> None:
    say, source = SAYING[way]
    contact = caller.create(NUMBER, **said(False, 5))
    began = datetime.now(UTC)
    say(caller, contact, {"marketing_opt_out": True})
    opt_out, said_at, told = consent_of(caller, contact["id"])
    assert (opt_out, told) == (True, source)
    assert began <= datetime.fromisoformat(said_at) <= datetime.now(UTC)
    say(caller, contact, said(False, 6))
    assert consent_of(caller, contact["id"]) == (True, said_at, source), "what was said before is late"


@pytest.mark.parametrize("way", SAYING)
def test_time_in_the_future_counts_as_now(caller: Caller, way: str) -> None:
    """Else a time in milliseconds would be the last word for good."""
    say, _ = SAYING[way]
    contact = caller.create(NUMBER)
    say(caller, contact, {"marketing_opt_out": True, "marketing_opt_out_at": "9999-01-01T00:00:00Z"})
    opt_out, said_at, _ = consent_of(caller, contact["id"])
    assert opt_out
    assert datetime.fromisoformat(said_at) <= datetime.now(UTC)
    say(caller, contact, {"marketing_opt_out": False})
    assert consent_of(caller, contact["id"])[0] is False


def test_created_contact_has_the_word_and_its_source(caller: Caller) -> None:
    created = caller.create(NUMBER, **said(True, 5))
    assert [created[name] for name in CONSENT] == [True, at(5), "person"]
    resolved = caller.post("/api/contacts/resolve", {"bsuid": "US.1", **said(False, 5)})
    assert resolved.status == 201
    assert [resolved.data[name] for name in CONSENT] == [False, at(5), "whatsapp"]


@pytest.mark.parametrize(
    "word", [{"marketing_opt_out_at": at(1)}, {"marketing_opt_out": True, "marketing_opt_out_at": 5}]
)
def test_time_without_word_or_of_no_known_form_is_400_and_nothing_is_written(
    caller: Caller, word: dict[str, Any]
) -> None:
    contact = caller.create(NUMBER)
    path = f"/api/contacts/{contact['id']}"
    for prefix, answer in [
        ("", caller.put(path, word)),
        ("", caller.patch(path, word)),
        ("", caller.post("/api/contacts", {"bsuid": "US.1", **word})),
        ("", resolve(caller, contact, word)),
        ("contact.", receive(caller, contact, word)),
        ("set.", bulk(caller, contact, word)),
        ("", caller.put(path, {"name": "x", **word})),
    ]:
        assert (answer.status, [*answer.errors]) == (400, [f"{prefix}marketing_opt_out_at"])
    assert caller.put(path, {"marketing_opt_out": True, "marketing_opt_out_source": "import"}).status == 400
    assert caller.get(path).data == contact
    assert caller.get("/api/contacts").data["total"] == 1


def test_older_word_is_left_out_of_an_update_and_the_rest_is_written(caller: Caller) -> None:
    contact = caller.create(NUMBER, **said(True, 5))
    changed = caller.put(f"/api/contacts/{contact['id']}", {"name": "Ann", **said(False, 4)}).data
    assert (changed["name"], changed["version"]) == ("Ann", 2)
    assert [changed[name] for name in CONSENT] == [True, at(5), "person"]


def test_late_message_and_repeated_message_say_what_they_said_then(caller: Caller) -> None:
    """A message older than the newest replaces no profile; its word on marketing has a time of its own."""
    contact = caller.create(NUMBER)
    who = {"phone_number": NUMBER, "profile_name": "New"}
    caller.post("/api/messages", {**message(9), "contact": who})
    late = {**message(1), "contact": {**who, "profile_name": "Old", **said(True, 3)}}
    first = caller.post("/api/messages", late).data["contact"]
    assert (first["profile_name"], first["marketing_opt_out"]) == ("New", True)
    caller.put(f"/api/contacts/{contact['id']}", said(False, 4))
    again = caller.post("/api/messages", late)
    assert (again.status, again.data["contact"]["marketing_opt_out"]) == (200, False)


def test_bulk_leaves_newer_words_and_changes_the_rest_of_the_contact(caller: Caller) -> None:
    contacts = [caller.create(f"+123456789{number}", **said(True, number)) for number in range(4)]
    body = {"filter": {"marketing_opt_out": "true"}, "expected_total": 4, "set": {**said(True, 2), "assigned_to": USER}}
    assert caller.post("/api/contacts/bulk", body).data == {"matched": 4, "changed": 4}
    words = [consent_of(caller, contact["id"])[1] for contact in contacts]
    assert words == [at(2), at(2), at(2), at(3)]
    assert caller.get("/api/contacts", assigned_to=USER).data["total"] == 4
    assert caller.post("/api/contacts/bulk", body).data["changed"] == 0
    tagged = {**body, "add_tags": ["spring"], "set": said(False, 3)}
    assert caller.post("/api/contacts/bulk", tagged).data["changed"] == 4
    assert [consent_of(caller, contact["id"])[0] for contact in contacts] == [False, False, False, True]
    assert caller.get("/api/contacts", tags="spring").data["total"] == 4


def test_bulk_without_time_sent_again_changes_nothing(caller: Caller) -> None:
    caller.create(NUMBER)
    caller.create("+1234567891", **said(True, 5))
    body = {"filter": {}, "expected_total": 2, "set": {"marketing_opt_out": True}}
    assert [caller.post("/api/contacts/bulk", body).data["changed"] for _ in range(2)] == [1, 0]


words = st.tuples(st.booleans(), st.integers(0, 3), st.sampled_from(["import", "person", "whatsapp"]))
"""Few times, so that many are equal."""


def heard(contact: dict[str, Any], word: tuple[bool, int, str]) -> dict[str, Any]:
    opt_out, second, source = word
    fields = {"marketing_opt_out": opt_out, "marketing_opt_out_at": START + timedelta(seconds=second)}
    return {**contact, **with_consent(contact, fields, source)}


@settings(deadline=None)
@given(steps=st.lists(words, max_size=6), data=st.data())
def test_words_in_any_order_and_on_any_of_merged_contacts_end_the_same(
    steps: list[tuple[bool, int, str]], data: st.DataObject
) -> None:
    ends = []
    for _ in range(2):
        contacts = [dict(NOT_SAID) for _ in range(3)]
        for word in data.draw(st.permutations(steps)):
            number = data.draw(st.integers(0, len(contacts) - 1))
            contacts[number] = heard(contacts[number], word)
            if len(contacts) > 1 and data.draw(st.booleans()):
                contacts[0] = max(contacts[0], contacts.pop(), key=rank)
        ends.append(max(contacts, key=rank))
    assert ends[0] == ends[1]


@settings(deadline=None)
@given(steps=st.lists(words, max_size=6))
def test_opt_out_is_taken_back_only_by_a_newer_word_of_the_person_or_the_staff(
    steps: list[tuple[bool, int, str]],
) -> None:
    contact = dict(NOT_SAID)
    for word in steps:
        contact = heard(contact, word)
    stops = [second for opt_out, second, _ in steps if opt_out]
    resumes = [second for opt_out, second, source in steps if not opt_out and source != "import"]
    assert contact["marketing_opt_out"] == (bool(stops) and (not resumes or max(stops) >= max(resumes)))


def test_import_without_time_allows_nothing_and_sent_again_changes_nothing() -> None:
    resume, stop = {"marketing_opt_out": False}, {"marketing_opt_out": True}
    assert with_consent(NOT_SAID, resume, "import", is_batch=True) == {}
    contact = {**NOT_SAID, **with_consent(NOT_SAID, stop, "import", is_batch=True)}
    assert contact["marketing_opt_out_source"] == "import"
    for word in (resume, stop):
        assert with_consent(contact, {"name": "Ann", **word}, "import", is_batch=True) == {"name": "Ann"}


requests = st.tuples(st.sampled_from([*SAYING]), st.booleans(), st.integers(0, 3))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(requests, min_size=1, max_size=4), data=st.data())
def test_requests_in_any_order_before_and_after_merges_end_the_same(
    caller: Caller, steps: list[tuple[str, bool, int]], data: st.DataObject
) -> None:
    ends = []
    for _ in range(2):
        people = [caller.create(f"+1{next(numbers):010}") for _ in range(3)]
        for way, opt_out, second in data.draw(st.permutations(steps)):
            person = data.draw(st.sampled_from(people))
            assert SAYING[way][0](caller, person, said(opt_out, second)).status < 300
            if len(people) > 1 and data.draw(st.booleans()):
                merge(caller, people[0], people.pop())
        while len(people) > 1:
            merge(caller, people[0], people.pop())
        ends.append(consent_of(caller, people[0]["id"]))
    assert ends[0] == ends[1]


def merge(caller: Caller, survivor: dict[str, Any], source: dict[str, Any], **body: Any) -> Any:
    answer = caller.post(f"/api/contacts/{survivor['id']}/merge", {"source_id": source["id"], **body})
    assert answer.status == 200
    return answer.data


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.lists(st.none() | st.tuples(st.booleans(), st.integers(0, 3)), min_size=4, max_size=4),
    order=st.permutations([1, 2, 3]),
    since=st.none() | st.tuples(st.booleans(), st.integers(4, 5)),
)
@example(first=[(True, 1), (False, 3), (True, 2), None], order=[1, 2, 3], since=None)
@example(first=[(True, 1), (False, 2), (True, 3), (False, 0)], order=[1, 3, 2], since=None)
def test_merges_undone_in_any_order_give_each_contact_its_own_word(
    caller: Caller, first: list[tuple[bool, int] | None], order: list[int], since: tuple[bool, int] | None
) -> None:
    people = [caller.create(f"+1{next(numbers):010}", **(said(*word) if word else {})) for word in first]
    for source in people[1:]:
        merge(caller, people[0], source)
    if since:
        caller.put(f"/api/contacts/{people[0]['id']}", said(*since))
    for number in order:
        assert undo(caller, people[0]["id"], people[number]["id"]).status == 200
        left = [people[0], *[people[other] for other in order[order.index(number) + 1 :]]]
        expected = max([*[(row["marketing_opt_out_at"] or "", row["marketing_opt_out"]) for row in left]])
        if since:
            expected = max(expected, (at(since[1]), since[0]))
        opt_out, said_at, _ = consent_of(caller, people[0]["id"])
        assert (said_at or "", opt_out) == expected
    for person in people[1:]:
        assert consent_of(caller, person["id"]) == tuple(person[name] for name in CONSENT)


def test_merge_keeps_the_newest_word_and_an_opt_out_that_no_newer_word_takes_back(caller: Caller) -> None:
    cases = [
        (said(True, 5), {}, True),
        ({}, said(True, 5), True),
        (said(False, 5), said(True, 5), True),
        (said(True, 5), said(False, 5), True),
        (said(False, 5), said(True, 6), True),
        (said(False, 6), said(True, 5), False),
        ({}, said(False, 5), False),
    ]
    for survivors, sources, opt_out in cases:
        survivor, source = (caller.create(f"+1{next(numbers):010}", **word) for word in (survivors, sources))
        planned = merge(caller, survivor, source, dry_run=True)
        merged = merge(caller, survivor, source)
        assert merged["marketing_opt_out"] == planned["marketing_opt_out"] == opt_out
        newest = max(word["marketing_opt_out_at"] for word in (survivors, sources) if word)
        assert merged["marketing_opt_out_at"] == planned["marketing_opt_out_at"] == newest
        changed = ["marketing_opt_out"] if opt_out != survivor["marketing_opt_out"] else []
        assert merged["merge"]["fields"] == planned["merge"]["fields"] == changed


def test_merge_by_what_whatsapp_says_respects_the_word_of_both_and_of_the_message(caller: Caller) -> None:
    number, bsuid = caller.create(NUMBER, **said(True, 5)), caller.post("/api/contacts", {"bsuid": "US.1"}).data
    together = {"phone_number": NUMBER, "bsuid": "US.1", "on_conflict": "merge", **said(False, 4)}
    merged = caller.post("/api/contacts/resolve", together).data
    assert (merged["id"], merged["merged"]) == (number["id"], [bsuid["id"]])
    assert [merged[name] for name in CONSENT] == [True, at(5), "person"]


def test_events_name_what_changed_of_the_word_and_by_whom(caller: Caller) -> None:
    contact = caller.create(NUMBER, account_id=ACCOUNT)
    path = f"/api/contacts/{contact['id']}"
    caller.put(path, said(True, 5), {"X-Actor": "agent 7"})
    caller.put(path, said(True, 6))
    caller.put(path, said(True, 6))
    events = caller.get(f"{path}/events").data["items"][:-1]
    assert [(event["fields"], event["on_behalf_of"]) for event in events] == [
        (["marketing_opt_out_at"], None),
        ([*CONSENT], "agent 7"),
    ]
    assert caller.get(path).data["version"] == 3, "the same word again is no change"


def test_if_match_holds_for_a_word_that_changes_nothing(caller: Caller) -> None:
    contact = caller.create(NUMBER, **said(True, 5))
    path = f"/api/contacts/{contact['id']}"
    assert caller.put(path, said(False, 4), {"If-Match": '"7"'}).status == 412
    assert caller.put(path, said(False, 4), {"If-Match": '"1"'}).headers["ETag"] == '"1"'
    assert caller.put(f"/api/contacts/{UNKNOWN_ID}", said(False, 4)).code == "contact_not_found"


def test_newest_of_words_said_at_once_wins(app: Flask) -> None:
    caller = Caller(app)
    contact = caller.create(NUMBER)
    ways = [*SAYING.values()] * 4

    def say(number: int) -> int:
        return ways[number][0](Caller(app), contact, said(number % 2 == 0, number + 1)).status

    assert {status // 100 for status in run_concurrently(say, len(ways))} == {2}
    assert consent_of(caller, contact["id"])[:2] == (False, at(len(ways)))
