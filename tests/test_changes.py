"""The change feed: a reader that applies every item and keeps its token misses nothing."""

import itertools
import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.concurrency import run_concurrently
from helpers.databases import wait_for_open_transactions
from helpers.examples import ACCOUNT, FLOW_ID, OTHER_ACCOUNT, USER
from helpers.keys import make_key
from helpers.messages import message
from prometheus_client import REGISTRY

from contacts_service.changes.use_cases import renew_feed
from contacts_service.contacts import events
from contacts_service.contacts.events import TOMBSTONE_AGE
from contacts_service.contacts.tables import ChangeFeed, Contact, ContactTombstone
from contacts_service.db import pages
from contacts_service.db.database import database, reading, writing


def changes(caller: Caller, *, waits: bool = True, **query: object) -> dict[str, Any]:
    """Read a page, by default once other tests' transactions can't hold up the feed."""
    if waits and database.kind == "postgresql":
        wait_for_open_transactions(database.database)
    return caller.get("/api/changes", **query).data


class Reader:
    """Keeps a copy of all contacts as a consumer does."""

    def __init__(self, caller: Caller, **query: object) -> None:
        self.caller, self.query = caller, query
        self.copy: dict[str, Any] = {}

    def page(self, *, waits: bool = True) -> dict[str, Any]:
        """Read the next page, apply it and keep its token."""
        page = changes(self.caller, waits=waits, **self.query)
        for item in page["items"]:
            if item["deleted"]:
                assert item["contact"] is None
                self.copy.pop(item["id"], None)
            else:
                assert item["contact"]["id"] == item["id"]
                self.copy[item["id"]] = item["contact"]
        self.query["after"] = page["next"]
        return page

    def catch_up(self, *, waits: bool = True) -> list[dict[str, Any]]:
        """Read until there is no more, and return the items."""
        items: list[dict[str, Any]] = []
        while True:
            page = self.page(waits=waits)
            items += page["items"]
            if not page["has_more"]:
                return items


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


def test_walk_from_the_beginning_shows_everything_that_exists_in_pages(caller: Caller) -> None:
    created = [caller.create(f"+12345678{number:02}", metadata={"n": number}) for number in range(7)]
    caller.delete(f"/api/contacts/{created.pop(3)['id']}")
    reader = Reader(caller, limit=2)
    items = reader.catch_up()
    assert ids(items) == [contact["id"] for contact in created], "neither deleted before the walk nor twice"
    assert [item["contact"] for item in items] == [caller.get(f"/api/contacts/{each}").data for each in ids(items)]
    assert reader.page()["items"] == []


def test_changed_contacts_are_shown_once_in_the_order_of_their_last_change(caller: Caller) -> None:
    first, second, third = (caller.create(f"+123456780{number}")["id"] for number in range(3))
    reader = Reader(caller, after="now")
    assert reader.page()["items"] == []
    caller.put(f"/api/contacts/{third}", {"name": "Third"})
    caller.put(f"/api/contacts/{first}/assign", {"user_id": USER})
    caller.post(f"/api/contacts/{second}/messages", message(1))
    caller.post(f"/api/contacts/{first}/mark-read", None)
    caller.post(f"/api/contacts/{third}/messages", message(2))
    items = reader.catch_up()
    assert ids(items) == [second, first, third]
    assert [item["contact"] for item in items] == [caller.get(f"/api/contacts/{each}").data for each in ids(items)]


def test_what_a_contact_does_not_show_is_no_change(caller: Caller) -> None:
    contact = caller.create()["id"]
    recorded = caller.post(f"/api/contacts/{contact}/messages", message(1, direction="outgoing")).data["id"]
    reader = Reader(caller, after="now")
    reader.page()
    caller.put(f"/api/contacts/{contact}/session-data", {"session_data": {"a": 1}})
    caller.patch(f"/api/contacts/{contact}/session-data", {"session_data": {"b": 1}})
    caller.put(f"/api/messages/{recorded}/status", {"status": "read"})
    caller.put("/api/messages/status", {"wa_message_id": "wamid.unknown", "status": "read"})
    caller.put(f"/api/flows/{FLOW_ID}", {"name": "Flow", "panel_config": {"sections": []}})
    assert reader.catch_up() == []


def test_deleted_contact_is_shown_as_deleted(caller: Caller) -> None:
    kept, deleted = (caller.create(f"+123456780{number}")["id"] for number in range(2))
    reader = Reader(caller)
    reader.catch_up()
    caller.delete(f"/api/contacts/{deleted}")
    [item] = reader.catch_up()
    assert item == {"id": deleted, "deleted": True, "merged_into": None, "contact": None}
    assert list(reader.copy) == [kept]


def test_contact_deleted_during_the_first_walk_leaves_the_copy(caller: Caller) -> None:
    created = [caller.create(f"+123456780{number}")["id"] for number in range(4)]
    reader = Reader(caller, limit=2)
    reader.page()
    caller.delete(f"/api/contacts/{created[0]}")
    reader.catch_up()
    assert set(reader.copy) == set(created[1:])


def merge(caller: Caller, survivor: str, source: str) -> None:
    assert caller.post(f"/api/contacts/{survivor}/merge", {"source_id": source}).status == 200


def test_merged_contact_names_the_last_survivor_and_none_once_that_is_deleted(caller: Caller) -> None:
    first, second, third = (caller.create(f"+123456780{number}")["id"] for number in range(3))
    reader = Reader(caller, after="now")
    reader.page()
    start = reader.query["after"]
    merge(caller, second, first)
    merge(caller, third, second)
    items = [(item["id"], item["deleted"], item["merged_into"]) for item in reader.catch_up()]
    assert items == [(first, True, third), (second, True, third), (third, False, None)]
    caller.delete(f"/api/contacts/{third}")
    items = changes(caller, after=start)["items"]
    assert [(item["id"], item["merged_into"]) for item in items] == [(first, None), (second, None), (third, None)]


def test_contact_of_an_undone_merge_is_back(caller: Caller) -> None:
    survivor, source = (caller.create(f"+123456780{number}")["id"] for number in range(2))
    reader = Reader(caller)
    reader.catch_up()
    merge(caller, survivor, source)
    assert {item["id"]: item["deleted"] for item in reader.catch_up()} == {survivor: False, source: True}
    caller.delete(f"/api/contacts/{survivor}/merges/{source}")
    assert {item["id"]: item["deleted"] for item in reader.catch_up()} == {survivor: False, source: False}
    assert reader.copy == {each: caller.get(f"/api/contacts/{each}").data for each in (survivor, source)}


def test_contact_that_comes_back_has_no_tombstone(caller: Caller) -> None:
    """The transaction that undoes a merge may have a smaller number than the one of the merge."""
    contact = caller.create()["id"]
    reader = Reader(caller)
    reader.catch_up()
    with writing():
        row = Contact.select().where(Contact.id == contact).dicts().get()
        Contact.delete().where(Contact.id == contact).execute()
        del row["recency"]
        Contact.insert(row).execute()
    assert [item["deleted"] for item in reader.catch_up()] == [False]
    assert list(reader.copy) == [contact]


def test_page_ends_when_its_metadata_is_large_and_leads_on(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES", 3000)
    created = [caller.create(f"+123456780{number}", metadata={"text": "x" * 1400})["id"] for number in range(8)]
    reader = Reader(caller, limit=8)
    sizes = []
    while (page := reader.page())["has_more"]:
        sizes.append(len(page["items"]))
    assert set(reader.copy) == set(created)
    assert set(sizes) == {2}, "halved until it fits"


def test_account_filter_shows_that_account_alone(caller: Caller) -> None:
    of_account = [caller.create(f"+123456780{number}", account_id=ACCOUNT)["id"] for number in range(3)]
    of_none = caller.create("+1234567890")["id"]
    caller.create("+1234567890", account_id=OTHER_ACCOUNT)
    reader, without = Reader(caller, account_id=ACCOUNT, limit=2), Reader(caller, account_id="none")
    assert ids(reader.catch_up()) == of_account
    assert ids(without.catch_up()) == [of_none]
    caller.delete(f"/api/contacts/{of_none}")
    caller.delete(f"/api/contacts/{of_account[1]}")
    assert ids(reader.catch_up()) == [of_account[1]]
    assert ids(without.catch_up()) == [of_none]


@pytest.mark.parametrize("accounts", [[ACCOUNT], [ACCOUNT, OTHER_ACCOUNT]], ids=["one account", "two accounts"])
def test_limited_key_sees_its_accounts_alone(app: Flask, accounts: list[str]) -> None:
    everything = Caller(app, make_key(app))
    created = {
        account: [
            everything.create(f"+12345678{number}{len(account or '') % 7}", account_id=account)["id"]
            for number in range(3)
        ]
        for account in (OTHER_ACCOUNT, ACCOUNT, None)
    }
    everything.put(f"/api/contacts/{created[OTHER_ACCOUNT][0]}", {"name": "Last"})
    reader = Reader(Caller(app, make_key(app, accounts=accounts)), limit=2)
    items = reader.catch_up()
    allowed = [contact for account in accounts for contact in created[account]]
    assert sorted(ids(items)) == sorted(allowed)
    assert [item["contact"]["version"] for item in items] == sorted(item["contact"]["version"] for item in items)
    for account in created:
        everything.delete(f"/api/contacts/{created[account][1]}")
    assert sorted(ids(reader.catch_up())) == sorted(created[account][1] for account in accounts)


def expired(caller: Caller, **query: object) -> bool:
    response = caller.get("/api/changes", **query)
    if response.status == 200:
        return False
    assert (response.status, response.code) == (410, "token_expired")
    return True


def test_token_of_another_filter_or_of_other_accounts_is_410(app: Flask) -> None:
    caller = Caller(app, make_key(app))
    limited = Caller(app, make_key(app, accounts=[ACCOUNT]))
    same = Caller(app, make_key(app, accounts=[ACCOUNT]))
    token = changes(caller, after="now")["next"]
    assert not expired(caller, after=token)
    assert expired(caller, after=token, account_id=ACCOUNT)
    assert expired(caller, after=token, account_id="none")
    assert expired(limited, after=token)
    token = changes(limited, after="now")["next"]
    assert not expired(same, after=token)
    assert expired(caller, after=token)
    assert expired(Caller(app, make_key(app, accounts=[ACCOUNT, OTHER_ACCOUNT])), after=token)


@pytest.mark.parametrize("token", ["x", "now ", "AAAA", "é", "%", "a" * 68, "a" * 201, ""])
def test_undecodable_token_is_400(caller: Caller, token: str) -> None:
    response = caller.get("/api/changes", after=token)
    assert (response.status, [*response.errors]) == (400, ["after"])


def test_token_is_410_once_a_deletion_that_it_needs_is_no_longer_kept(caller: Caller) -> None:
    ended, other, third = (caller.create(f"+123456780{number}")["id"] for number in range(3))
    before = changes(caller, after="now")["next"]
    first_page = changes(caller, limit=1)["next"]
    caller.delete(f"/api/contacts/{ended}")
    after = changes(caller, after="now")["next"]
    with writing():
        ContactTombstone.update(ended_at=ContactTombstone.get_by_id(ended).ended_at - TOMBSTONE_AGE).execute()
    assert ids(changes(caller, after=before)["items"]) == [ended], "kept until another deletion"
    caller.delete(f"/api/contacts/{other}")
    assert expired(caller, after=before)
    assert expired(caller, after=first_page), "a walk that began before the deletion would show the contact for good"
    assert ids(changes(caller, after=after)["items"]) == [other]
    walk = Reader(caller, limit=1)
    walk.catch_up()
    assert list(walk.copy) == [third], "a walk that begins now isn't refused, however old its contacts are"


def test_expired_tombstones_are_deleted_a_few_at_a_time(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_DELETED_EACH_TIME", 2)
    created = [caller.create(f"+123456780{number}")["id"] for number in range(6)]
    for contact in created[:4]:
        caller.delete(f"/api/contacts/{contact}")
    with writing():
        ContactTombstone.update(ended_at=ContactTombstone.get_by_id(created[0]).ended_at - 2 * TOMBSTONE_AGE).execute()
    for contact, left in ((created[4], created[2:5]), (created[5], created[4:])):
        caller.delete(f"/api/contacts/{contact}")
        with reading():
            assert sorted(row.id for row in ContactTombstone.select()) == sorted(left)


@contextmanager
def open_update(contact_id: str) -> Iterator[psycopg.Connection[Any]]:
    """Change a contact in a transaction that took its number and isn't committed yet."""
    with psycopg.connect(database.database) as connection:
        connection.execute("UPDATE contact SET name = 'Late', version = version + 1 WHERE id = %s", [contact_id])
        yield connection


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_change_that_commits_after_a_later_one_is_not_missed(caller: Caller) -> None:
    late, soon = (caller.create(f"+123456780{number}")["id"] for number in range(2))
    reader = Reader(caller, after="now")
    reader.page()
    with open_update(late) as connection:
        caller.put(f"/api/contacts/{soon}", {"name": "Soon"})
        assert reader.catch_up(waits=False) == [], "or the reader would be past what is still to commit"
        assert 0 < REGISTRY.get_sample_value("contacts_changes_held_seconds") < 600
        assert reader.catch_up(waits=False) == []
        fresh = Reader(caller)
        assert soon not in ids(fresh.catch_up(waits=False))
        connection.commit()
    assert ids(reader.catch_up()) == [late, soon]
    assert reader.copy[late]["name"] == "Late"
    assert REGISTRY.get_sample_value("contacts_changes_held_seconds") == 0
    fresh.catch_up()
    assert set(fresh.copy) == {late, soon}


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_change_that_is_rolled_back_holds_up_nothing(caller: Caller) -> None:
    rolled_back, soon = (caller.create(f"+123456780{number}")["id"] for number in range(2))
    reader = Reader(caller, after="now")
    reader.page()
    with open_update(rolled_back) as connection:
        caller.put(f"/api/contacts/{soon}", {"name": "Soon"})
        connection.rollback()
    assert ids(reader.catch_up()) == [soon]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_deletion_that_commits_late_is_not_missed_by_a_walk_that_began_before(caller: Caller) -> None:
    deleted, kept = (caller.create(f"+123456780{number}")["id"] for number in range(2))
    changes(caller)
    with psycopg.connect(database.database) as connection:
        connection.execute("DELETE FROM contact WHERE id = %s", [deleted])
        reader = Reader(caller)
        reader.catch_up(waits=False)
        connection.commit()
    reader.catch_up()
    assert set(reader.copy) == {kept}


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_open_transaction_of_sqlite_is_not_missed(caller: Caller) -> None:
    contact = caller.create()["id"]
    reader = Reader(caller, after="now")
    reader.page()
    connection = sqlite3.connect(database.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE contact SET name = 'Late', version = version + 1")
    assert reader.catch_up() == []
    connection.execute("COMMIT")
    connection.close()
    assert ids(reader.catch_up()) == [contact]


def test_readers_miss_nothing_while_threads_write(app: Flask) -> None:
    """A copy fed by the feed alone equals the table in the end, and so does one that began in the middle."""
    caller = Caller(app)
    created = [caller.create(f"+12345678{number:02}")["id"] for number in range(20)]
    readers = [Reader(Caller(app), limit=3), Reader(Caller(app), after="now")]
    readers[1].page()
    is_over = threading.Event()

    def write(number: int) -> None:
        if number < 2:
            while not is_over.is_set():
                readers[number].page(waits=False)
            return
        try:
            own, rng = Caller(app), random.Random(number)
            for step in range(12):
                contact = rng.choice(created)
                own.post(f"/api/contacts/{contact}/messages", message(number * 100 + step))
                own.put(f"/api/contacts/{rng.choice(created)}", {"name": f"{number}.{step}"})
                new = own.create(f"+1999{number:04}{step:03}")["id"]
                if step % 3 == 0:
                    own.delete(f"/api/contacts/{new}")
        finally:
            if next(ended) == 6:
                is_over.set()

    ended = itertools.count(1)
    run_concurrently(write, callers=8)
    for reader in readers:
        reader.catch_up()
        listed = Reader(Caller(app))
        listed.catch_up()
        changed = {each: copy for each, copy in listed.copy.items() if reader is readers[0] or copy["version"] > 1}
        assert {each: reader.copy[each] for each in changed} == changed
    assert readers[0].copy == listed.copy
    total = caller.get("/api/contacts").data["total"]
    assert len(listed.copy) == total


def test_token_from_before_a_restore_is_410_and_a_new_walk_is_complete(caller: Caller) -> None:
    created = [caller.create(f"+123456780{number}")["id"] for number in range(3)]
    token = changes(caller)["next"]
    renew_feed()
    assert expired(caller, after=token)
    reader = Reader(caller)
    assert ids(reader.catch_up()) == created
    caller.put(f"/api/contacts/{created[0]}", {"name": "New"})
    assert ids(reader.catch_up()) == [created[0]]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_restore_into_a_new_cluster_is_503_until_the_feed_is_renewed(caller: Caller) -> None:
    """Its transaction ids begin again, below the numbers that the contacts have."""
    created = [caller.create(f"+123456780{number}")["id"] for number in range(3)]
    token = changes(caller)["next"]
    with psycopg.connect(database.database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE contact SET change_seq = change_seq + 1000000000")
    for query in ({}, {"after": "now"}, {"after": token}):
        response = caller.get("/api/changes", **query)
        assert (response.status, response.code) == (503, "restore_unfinished")
        assert "db restored" in response.body["message"]
    caller.put(f"/api/contacts/{created[0]}", {"name": "New"})
    renew_feed()
    assert expired(caller, after=token)
    reader = Reader(caller)
    assert sorted(ids(reader.catch_up())) == created
    caller.put(f"/api/contacts/{created[1]}", {"name": "New"})
    caller.delete(f"/api/contacts/{created[2]}")
    assert ids(reader.catch_up()) == created[1:]


def test_token_ahead_of_the_data_is_410(caller: Caller) -> None:
    """As after an old copy of the database was put back."""
    with writing():
        [base] = ChangeFeed.select(ChangeFeed.base).tuples().get()
        ChangeFeed.update(base=ChangeFeed.base + 1_000_000).execute()
    token = changes(caller, after="now")["next"]
    with writing():
        ChangeFeed.update(base=base).execute()
    assert expired(caller, after=token)
