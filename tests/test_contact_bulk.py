"""Bulk changes, and adding and removing one tag, alone and by many writers at once."""

import threading
import time
from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller, in_path
from helpers.concurrency import run_concurrently
from helpers.examples import ACCOUNT, OTHER_ACCOUNT, UNKNOWN_ID, USER
from helpers.keys import make_key

from contacts_service.contacts import bulk
from contacts_service.contacts.tables import Contact
from contacts_service.db import sqlite
from contacts_service.db.database import close_connection, database, reading

BULK = "/api/contacts/bulk"


@pytest.fixture
def crowd(caller: Caller) -> list[dict[str, Any]]:
    """Twelve contacts, half of them of an account; some are leads."""
    return [
        caller.create(
            f"+12345678{number:02}",
            name=f"{number:02} Smith",
            tags=["lead", "b", "a"] if number % 3 == 0 else [],
            metadata={"plan": "gold" if number % 2 else "free"},
            **({"account_id": ACCOUNT} if number % 2 else {}),
        )
        for number in range(12)
    ]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose and change a few contacts at a time, as if there were very many."""
    monkeypatch.setattr(bulk, "_MAX_FIXED", 5)
    monkeypatch.setattr(bulk, "_BATCH", 2)


def all_contacts(caller: Caller) -> list[dict[str, Any]]:
    listed = caller.get("/api/contacts", sort="created", limit=100).data["items"]
    return [caller.get(f"/api/contacts/{contact['id']}").data for contact in listed]


@pytest.mark.usefixtures("small_batches")
def test_bulk_changes_what_the_filter_chooses_and_nothing_else(caller: Caller, crowd: list[dict[str, Any]]) -> None:
    body = {
        "filter": {"metadata.plan": "free", "search": "smith"},
        "expected_total": 6,
        "set": {"assigned_to": USER, "marketing_opt_out": True},
        "add_tags": ["new", "a"],
        "remove_tags": ["lead"],
    }
    assert caller.post(BULK, body).data == {"matched": 6, "changed": 6}
    for number, (before, after) in enumerate(zip(crowd, all_contacts(caller), strict=True)):
        if number % 2:
            assert after == caller.get(f"/api/contacts/{before['id']}").data
            assert (after["version"], after["assigned_to"], after["tags"]) == (1, None, before["tags"])
        else:
            assert after["tags"] == (["b", "a", "new"] if number % 3 == 0 else ["new", "a"])
            assert (after["version"], after["assigned_to"], after["marketing_opt_out"]) == (2, USER, True)
            assert after["updated_at"] > before["updated_at"]
    assert caller.get("/api/contacts", tags="new").data["total"] == 6, "found by the tag that was added"
    assert caller.get("/api/contacts", tags="lead").data["total"] == 2, "and not by the one that was removed"
    assert caller.get("/api/contacts", assigned_to="none").data["total"] == 6
    assert caller.get("/api/contacts", marketing_opt_out="true").data["total"] == 6


@pytest.mark.usefixtures("crowd", "small_batches")
def test_bulk_writes_only_contacts_that_are_not_so_already(caller: Caller) -> None:
    body = {"filter": {}, "expected_total": 12, "add_tags": ["lead"]}
    assert caller.post(BULK, body).data == {"matched": 12, "changed": 8}
    before = all_contacts(caller)
    assert caller.post(BULK, body).data == {"matched": 12, "changed": 0}
    assert all_contacts(caller) == before
    assert caller.post(BULK, {**body, "set": {"assigned_to": None}}).data["changed"] == 0


@pytest.mark.usefixtures("crowd")
def test_bulk_with_another_total_is_409_with_the_number_and_writes_nothing(caller: Caller) -> None:
    before = all_contacts(caller)
    for filters, total in (({}, 12), ({"tags": "lead"}, 4), ({"unread": "true"}, 0), ({"account_id": ACCOUNT}, 6)):
        for wrong in {total - 1, total + 1} - {-1}:
            body = {"filter": filters, "expected_total": wrong, "add_tags": ["new"]}
            response = caller.post(BULK, body)
            assert (response.status, response.code, response.errors) == (409, "total_changed", {"total": [str(total)]})
    assert all_contacts(caller) == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"filter": None}, "filter"),
        ({"filter": []}, "filter"),
        ({"filter": {"page": "1"}}, "filter.page"),
        ({"filter": {"sort": "created"}}, "filter.sort"),
        ({"filter": {"unread": True}}, "filter.unread"),
        ({"filter": {"unread": ["true"]}}, "filter.unread"),
        ({"filter": {"tags": ["a"]}}, "filter.tags"),
        ({"filter": {"metadata": {"plan": "gold"}}}, "filter.metadata"),
        ({"filter": {"metadata.plan": 5}}, "filter.metadata.plan"),
        ({"filter": {f"metadata.{number}": "x" for number in range(6)}}, "filter.metadata"),
        ({"filter": {"created_after": "yesterday"}}, "filter.created_after"),
        ({"expected_total": -1}, "expected_total"),
        ({"expected_total": None}, "expected_total"),
        ({"set": {"name": "x"}}, "set.name"),
        ({"set": {"marketing_opt_out": None}}, "set.marketing_opt_out"),
        ({"add_tags": ["a,b"]}, "add_tags.0"),
        ({"add_tags": ["a"] * 51}, "add_tags"),
        ({"remove_tags": ["new"]}, "remove_tags"),
        ({"add_tags": []}, "body"),
    ],
)
def test_invalid_bulk_change_is_400(caller: Caller, change: dict[str, Any], field: str) -> None:
    response = caller.post(BULK, {"filter": {}, "expected_total": 0, "add_tags": ["new"], **change})
    assert (response.status, list(response.errors)) == (400, [field])


def test_bulk_without_a_filter_is_400(caller: Caller) -> None:
    """All contacts have to be asked for."""
    response = caller.post(BULK, {"expected_total": 0, "add_tags": ["new"]})
    assert (response.status, list(response.errors)) == (400, ["filter"])


@pytest.mark.usefixtures("small_batches")
def test_bulk_that_would_give_a_contact_too_many_tags_is_400_and_writes_nothing(
    caller: Caller, crowd: list[dict[str, Any]]
) -> None:
    caller.put(f"/api/contacts/{crowd[3]['id']}", {"tags": [f"tag {number}" for number in range(49)]})
    before = all_contacts(caller)
    body = {"filter": {}, "expected_total": 12, "add_tags": ["new", "newer"]}
    response = caller.post(BULK, body)
    assert (response.status, list(response.errors)) == (400, ["add_tags"])
    assert crowd[3]["id"] in response.errors["add_tags"][0]
    assert all_contacts(caller) == before
    assert caller.post(BULK, {**body, "remove_tags": ["tag 7"]}).data["changed"] == 12


@pytest.mark.usefixtures("crowd")
def test_bulk_of_a_limited_key_neither_counts_nor_changes_other_accounts(app: Flask, caller: Caller) -> None:
    limited = Caller(app, make_key(app, accounts=[ACCOUNT]))
    caller.key = make_key(app)
    body = {"filter": {}, "expected_total": 12, "add_tags": ["new"]}
    assert limited.post(BULK, body).errors == {"total": ["6"]}
    assert limited.post(BULK, {**body, "expected_total": 6}).data == {"matched": 6, "changed": 6}
    assert {contact["account_id"] for contact in all_contacts(caller) if "new" in contact["tags"]} == {ACCOUNT}
    for foreign in (OTHER_ACCOUNT, "none"):
        assert limited.post(BULK, {**body, "filter": {"account_id": foreign}}).code == "account_forbidden"


@pytest.mark.usefixtures("crowd")
def test_repeated_bulk_change_answers_the_first_answer(caller: Caller) -> None:
    headers = {"Idempotency-Key": "bulk-1"}
    body = {"filter": {"tags": "lead"}, "expected_total": 4, "remove_tags": ["lead"]}
    for _ in range(2):
        assert caller.post(BULK, body, headers).data == {"matched": 4, "changed": 4}
    assert caller.post(BULK, body).code == "total_changed"


@pytest.mark.usefixtures("crowd", "small_batches")
def test_repeatable_bulk_change_may_take_longer_than_the_timeout(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit is that of each batch: a change of many contacts in one transaction can succeed."""
    monkeypatch.setattr(bulk, "_MAX_FIXED", 12)
    monkeypatch.setattr(sqlite, "_STEPS", 1)  # Each statement looks at the clock.
    close_connection()
    clock, change_batch, late = time.perf_counter, bulk._change_batch, [0.0]  # noqa: SLF001 - Each takes long.

    def take_long(*arguments: Any) -> int:
        late[0] += database.obj._timeout * 0.6  # noqa: SLF001 - Two of them are too long.
        return change_batch(*arguments)

    monkeypatch.setattr(time, "perf_counter", lambda: clock() + late[0])
    monkeypatch.setattr(bulk, "_change_batch", take_long)
    body = {"filter": {}, "expected_total": 12, "add_tags": ["new"]}
    response = caller.post(BULK, body, {"Idempotency-Key": "long"})
    close_connection()
    assert response.data == {"matched": 12, "changed": 12}


@pytest.mark.usefixtures("crowd", "small_batches")
def test_bulk_change_that_others_would_wait_for_too_long_is_refused(caller: Caller) -> None:
    """Those with a key are one transaction, so they have a limit, here of five."""
    body = {"filter": {}, "expected_total": 12, "add_tags": ["new"]}
    response = caller.post(BULK, body, {"Idempotency-Key": "large"})
    assert (response.status, response.errors) == (400, {"expected_total": ["At most 5 with an Idempotency-Key."]})
    assert caller.get("/api/contacts", tags="new").data["total"] == 0
    assert caller.post(BULK, body).data == {"matched": 12, "changed": 12}


@pytest.mark.usefixtures("small_batches")
def test_writers_get_their_turn_between_the_batches_of_a_bulk_change(
    app: Flask, caller: Caller, crowd: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread writes while the first batch is done and the last isn't; neither loses what the other wrote."""
    waiting, written = threading.Event(), threading.Event()
    change_batch, batches = bulk._change_batch, []  # noqa: SLF001 - To stop between two batches.

    def stop_after_the_first(*arguments: Any) -> int:
        if batches:
            waiting.set()
        batches.append(arguments)
        return change_batch(*arguments)

    def pause(_: float) -> None:
        if len(batches) == 1:
            waiting.set()
            assert written.wait(30)

    monkeypatch.setattr(bulk, "_change_batch", stop_after_the_first)
    monkeypatch.setattr(bulk.time, "sleep", pause)
    answers: list[Any] = []
    body = {"filter": {}, "expected_total": 12, "add_tags": ["new"]}
    thread = threading.Thread(target=lambda: answers.append(Caller(app).post(BULK, body).data))
    thread.start()
    assert waiting.wait(30)
    last, fresh = crowd[-1], caller.create("+1999999999", name="fresh")
    caller.put(f"/api/contacts/{last['id']}/tags/other", None)
    written.set()
    thread.join()
    assert answers == [{"matched": 12, "changed": 12}]
    assert caller.get(f"/api/contacts/{last['id']}").data["tags"] == [*last["tags"], "other", "new"]
    assert caller.get(f"/api/contacts/{fresh['id']}").data["tags"] == [], "it came after the contacts were chosen"


def test_bulk_changes_and_single_writers_at_once_lose_nothing(
    app: Flask, caller: Caller, crowd: list[dict[str, Any]]
) -> None:
    def write(number: int) -> int:
        own = Caller(app)
        if number % 2:
            return own.post(BULK, {"filter": {}, "expected_total": 12, "add_tags": [f"bulk {number}"]}).status
        path = f"/api/contacts/{crowd[number % 12]['id']}"
        return own.put(f"{path}/tags/{in_path(f'single {number}')}", None).status

    assert set(run_concurrently(write, 16)) == {200}
    for number, contact in enumerate(all_contacts(caller)):
        expected = {f"bulk {each}" for each in range(1, 16, 2)}
        expected |= {f"single {each}" for each in range(0, 16, 2) if each % 12 == number}
        assert set(contact["tags"]) - {"lead", "a", "b"} == expected
        assert contact["version"] == 1 + len(expected)
        for tag in expected:
            assert contact["id"] in [item["id"] for item in caller.get("/api/contacts", tags=tag).data["items"]]


def test_totals_are_checked_also_when_many_bulk_changes_race(app: Flask, crowd: list[dict[str, Any]]) -> None:
    """Each gives the leads to another user: one finds them, the others find another number."""
    assert crowd
    body = {"filter": {"tags": "lead"}, "expected_total": 4, "remove_tags": ["lead"]}
    responses = run_concurrently(lambda _: Caller(app).post(BULK, body), 8)
    changed = [response.data["changed"] for response in responses if response.status == 200]
    assert sum(changed) == 4
    assert {response.code for response in responses if response.status != 200} <= {"total_changed"}


def test_adding_and_removing_a_tag_answers_the_contact_also_when_nothing_changes(caller: Caller) -> None:
    contact = caller.create(tags=["b"])
    path = f"/api/contacts/{contact['id']}/tags"
    for tag in ("a", "a", "b"):
        response = caller.put(f"{path}/{tag}", None)
        assert (response.data["tags"], response.data["version"]) == (["b", "a"], 2)
        assert response.headers["ETag"] == '"2"'
    assert caller.get("/api/contacts", tags="a").data["total"] == 1
    for tag in ("b", "b", "missing"):
        assert (caller.delete(f"{path}/{tag}").data["tags"], response.data["version"]) == (["a"], 2)
    assert caller.get("/api/contacts", tags="b").data["total"] == 0
    assert caller.put(f"{path}/c", None, {"If-Match": '"2"'}).code == "version_mismatch"
    assert caller.put(f"{path}/c", None, {"If-Match": '"3"'}).data["tags"] == ["a", "c"]
    assert caller.delete(f"/api/contacts/{UNKNOWN_ID}/tags/a").code == "contact_not_found"


@pytest.mark.parametrize(
    "tag", ["a/b", "/b", "a//", "ünï 日本", "😀", "line\nbreak", "50%", "a?b=1", "#x", "..", " a ", "a+b", "x" * 50]
)
def test_any_tag_can_be_added_and_removed_by_its_path(caller: Caller, tag: str) -> None:
    path = f"/api/contacts/{caller.create()['id']}/tags/{in_path(tag)}"
    assert caller.put(path, None).data["tags"] == [tag]
    assert caller.delete(path).data["tags"] == []


def test_invalid_tag_is_400(app: Flask, caller: Caller) -> None:
    path = f"/api/contacts/{caller.create(tags=[str(number) for number in range(50)])['id']}/tags"
    for tag in ("a,b", "x" * 51, "a\0"):
        response = caller.put(f"{path}/{in_path(tag)}", None)
        assert (response.status, list(response.errors)) == (400, ["tag"])
    response = caller.put(f"{path}/fifty-first", None)
    assert (response.status, response.errors) == (400, {"tags": ["A contact has at most 50 tags."]})
    assert caller.put(f"{path}/7", None).status == 200, "it has that one"
    received = app.test_client().put(path, environ_overrides={"PATH_INFO": f"{path}/a\xff"})
    assert (received.status_code, received.json["errors"]) == (400, {"tag": ["Not valid UTF-8."]})


def test_many_writers_of_tags_lose_none(app: Flask, caller: Caller) -> None:
    contact = caller.create(tags=[f"old {number}" for number in range(16)])
    path = f"/api/contacts/{contact['id']}/tags"

    def write(number: int) -> int:
        own = Caller(app)
        if number % 2:
            return own.put(f"{path}/{in_path(f'new {number}')}", None).status
        return own.delete(f"{path}/{in_path(f'old {number // 2}')}").status

    assert set(run_concurrently(write, 32)) == {200}
    after = caller.get(f"/api/contacts/{contact['id']}").data
    assert set(after["tags"]) == {f"new {number}" for number in range(1, 32, 2)}
    assert after["version"] == 33


def test_metadata_finds_a_contact_by_what_it_has_now(caller: Caller) -> None:
    """After create, PUT, PATCH and delete, and only in its own account."""
    contact = caller.create(metadata={"plan": "gold", "seats": 5}, account_id=ACCOUNT)
    path = f"/api/contacts/{contact['id']}"

    def found(**query: str) -> int:
        return caller.get("/api/contacts", **query).data["total"]

    assert found(**{"metadata.plan": "gold", "metadata.seats": "5"}) == 1
    assert found(**{"metadata.plan": "gold", "account_id": ACCOUNT}) == 1
    assert found(**{"metadata.plan": "gold", "account_id": "none"}) == 0
    caller.patch(path, {"metadata": {"plan": "free", "seats": None, "more": {"a": 1}}})
    assert [found(**{"metadata.plan": plan}) for plan in ("gold", "free")] == [0, 1]
    assert [found(**{"metadata.seats": "5"}), found(**{"metadata.seats": "null"}), found(**{"metadata.more": ""})] == [
        0
    ] * 3
    caller.put(path, {"metadata": {str(number): number for number in range(2500)}})
    assert [found(**{"metadata.plan": "free"}), found(**{"metadata.2499": "2499"})] == [0, 1]
    caller.delete(path)
    assert found(**{"metadata.2499": "2499"}) == 0
    with reading():
        assert Contact.select().count() == 0
