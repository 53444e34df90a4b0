"""The counters of contacts, which triggers keep. The tests of lists and of concurrency cover their totals."""

import threading
import time
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.databases import Databases
from helpers.examples import ACCOUNT, OTHER_USER, USER

from contacts_service.app import create_app, prepare
from contacts_service.settings import Settings

SLOTS = 16
CREATE = """
INSERT INTO contact (id, phone_number, assigned_to, tags, marketing_opt_out, metadata, search_text, unread_count,
    created_at, updated_at, version)
VALUES (gen_random_uuid(), %s, %s, '[]', false, '{}', '', 0, now(), now(), 1)
"""
ASSIGN = "UPDATE contact SET assigned_to = %s WHERE phone_number = %s"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def url(databases: Databases, app: Flask) -> str:
    """The URL of a new PostgreSQL database with all tables."""
    assert app
    found = databases.create("postgresql")
    prepare(create_app(Settings(database_url=found)))
    return found


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_contacts_that_are_taken_back_are_not_counted(url: str) -> None:
    """By a savepoint or with their transaction, before others are created."""
    with psycopg.connect(url) as connection:
        connection.execute(CREATE, ("+15550000", None))
        connection.rollback()
        for number, user in (("+15550001", None), ("+15550002", USER)):
            connection.execute(CREATE, (number, user))
            connection.execute("SAVEPOINT taken_back")
            connection.execute(CREATE, (f"{number}9", None))
            connection.execute("ROLLBACK TO taken_back")
            with connection.transaction():
                connection.execute(CREATE, (f"{number}0", user))
        connection.execute("DELETE FROM contact WHERE phone_number = '+15550001'")
        connection.execute("INSERT INTO contact (id) SELECT id FROM contact WHERE false")
        connection.commit()
        connection.execute(CREATE, ("+15550003", USER))
        connection.commit()
        counted = connection.execute("SELECT sum(contacts), sum(unassigned) FROM contact_count").fetchone()
        found = connection.execute("SELECT count(*), count(*) - count(assigned_to) FROM contact").fetchone()
    assert counted == found == (4, 1)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_assignments_within_one_slot_wait_in_turn(url: str) -> None:
    """One assigns a contact, the other unassigns another, while a third locks their counter."""
    with ExitStack() as stack:

        def connect() -> psycopg.Connection[Any]:
            return stack.enter_context(psycopg.connect(url))

        by_slot: dict[int, list[psycopg.Connection[Any]]] = {}
        while not (same := next((each for each in by_slot.values() if len(each) == 2), None)):
            connection = connect()
            by_slot.setdefault(connection.info.backend_pid % SLOTS, []).append(connection)
        first, second = same
        for number, user in (("+1234567890", None), ("+1234567891", OTHER_USER)):
            first.execute(CREATE, (number, user))
        first.commit()
        holder, watcher = connect(), connect()
        watcher.autocommit = True
        holder.execute("SELECT 1 FROM contact_count WHERE account = 'none' FOR UPDATE")
        failed: list[Exception] = []

        def assign(connection: psycopg.Connection[Any], user: str | None, number: str) -> None:
            try:
                connection.execute(ASSIGN, (user, number))
                connection.commit()
            except psycopg.Error as error:
                failed.append(error)

        threads = []
        for connection, user, number in ((first, USER, "+1234567890"), (second, None, "+1234567891")):
            threads.append(threading.Thread(target=assign, args=(connection, user, number)))
            threads[-1].start()
            while watcher.execute(WAITING).fetchone() != (len(threads),):
                time.sleep(0.01)
        holder.commit()
        for thread in threads:
            thread.join()
        assert not failed
        [totals] = watcher.execute("SELECT sum(contacts)::int, sum(unassigned)::int FROM contact_count").fetchall()
        assert totals == (2, 1)


def test_counters_equal_the_contacts_after_every_kind_of_write(app: Flask) -> None:
    caller = Caller(app)
    accounts, users = (ACCOUNT, None), (USER, OTHER_USER, None)
    contacts = [caller.create(f"+12345678{number:02}", account_id=accounts[number % 2])["id"] for number in range(24)]
    for step in (1, 3, 5):
        for number, contact in enumerate(contacts[::step]):
            caller.put(f"/api/contacts/{contact}/assign", {"user_id": users[(number + step) % 3]})
    for contact in contacts[::4]:
        caller.delete(f"/api/contacts/{contact}")
    everything = caller.get("/api/contacts", limit=100).data["items"]
    assert len(everything) == 18
    for account in (*accounts, "any"):
        in_account = [each for each in everything if account in {"any", each["account_id"]}]
        query = {} if account == "any" else {"account_id": account or "none"}
        assert caller.get("/api/contacts", **query).data["total"] == len(in_account)
        for user in users:
            expected = sum(each["assigned_to"] == user for each in in_account)
            assert caller.get("/api/contacts", assigned_to=user or "none", **query).data["total"] == expected > 0
