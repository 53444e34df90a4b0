"""Fills a SQLite database that has its tables."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from benchmarks.dataset import COLUMNS, Rows
from contacts_service.contacts.derived import COUNTS, SEARCH

_OBJECTS = "SELECT name, sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL ORDER BY rootpage"


def connect(url: str) -> sqlite3.Connection:
    return sqlite3.connect(urlsplit(url).path, isolation_level=None)


def fill(url: str, chunks: Iterable[Rows], on_step: Any) -> None:
    """Store the chunks, then create the indexes and triggers; ``on_step`` is called with the name of each step."""
    with closing(connect(url)) as connection:
        # An interrupted fill starts again, so nothing has to survive a crash.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -1000000"):
            connection.execute(f"PRAGMA {pragma}")
        triggers = connection.execute(_OBJECTS, ("trigger",)).fetchall()
        indexes = connection.execute(_OBJECTS, ("index",)).fetchall()
        for kind, objects in (("TRIGGER", triggers), ("INDEX", indexes)):
            for name, _ in objects:
                connection.execute(f'DROP {kind} "{name}"')
        for rows in chunks:
            connection.execute("BEGIN")
            for table, table_rows in rows.items():
                connection.executemany(_insert(table), table_rows)
            connection.execute("COMMIT")
        for name, definition in indexes:
            on_step(name)
            connection.execute(definition)
        on_step("contact_search")  # From here on what the dropped triggers would have written.
        connection.execute(SEARCH["sqlite"])
        connection.execute(COUNTS)
        for _, definition in triggers:
            connection.execute(definition)
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("PRAGMA journal_mode = WAL")


def _insert(table: str) -> str:
    columns = COLUMNS[table]
    names = ", ".join(f'"{column}"' for column in columns)
    return f'INSERT INTO "{table}" ({names}) VALUES ({", ".join("?" * len(columns))})'
