"""The counters of contacts, which triggers keep. The tests of lists and of concurrency cover their totals."""

import threading
import time
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from flask import Flask
from helpers.databases import Databases
from helpers.examples import OTHER_USER, USER

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
def test_swapping_assignments_within_one_slot_does_not_deadlock(url: str) -> None:
    """Two users' contacts are swapped by two transactions, while a third locks the counter of one user."""
    with ExitStack() as stack:

        def connect() -> psycopg.Connection[Any]:
            return stack.enter_context(psycopg.connect(url))

        by_slot: dict[int, list[psycopg.Connection[Any]]] = {}
        while not (same := next((each for each in by_slot.values() if len(each) == 2), None)):
            connection = connect()
            by_slot.setdefault(connection.info.backend_pid % SLOTS, []).append(connection)
        first, second = same
        for number, user in (("+1234567890", USER), ("+1234567891", OTHER_USER)):
            first.execute(CREATE, (number, user))
        first.commit()
        holder, watcher = connect(), connect()
        watcher.autocommit = True
        holder.execute("SELECT 1 FROM assigned_count WHERE assigned_to = %s FOR UPDATE", [USER])
        failed: list[Exception] = []

        def swap(connection: psycopg.Connection[Any], user: str, number: str) -> None:
            try:
                connection.execute(ASSIGN, (user, number))
                connection.commit()
            except psycopg.Error as error:
                failed.append(error)

        threads = []
        for connection, user, number in ((first, OTHER_USER, "+1234567890"), (second, USER, "+1234567891")):
            threads.append(threading.Thread(target=swap, args=(connection, user, number)))
            threads[-1].start()
            while watcher.execute(WAITING).fetchone() != (len(threads),):
                time.sleep(0.01)
        holder.commit()
        for thread in threads:
            thread.join()
        assert not failed
        counted = "SELECT assigned_to, sum(contacts) FROM assigned_count GROUP BY assigned_to ORDER BY assigned_to"
        assert [(user, int(total)) for user, total in watcher.execute(counted)] == [(USER, 1), (OTHER_USER, 1)]
