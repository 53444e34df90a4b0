"""What the floor does differently on SQLite: connection, transactions, forms of values, search."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from benchmarks.people import written

LOCKED = ""  # A transaction holds the whole database.
_local = threading.local()
_path = ""


def use(url: str) -> None:
    global _path  # noqa: PLW0603 - One process, one database, as in the service.
    _path = urlsplit(url).path
    _local.__dict__.clear()


def _connection() -> sqlite3.Connection:
    try:
        return _local.connection
    except AttributeError:
        connection = sqlite3.connect(_path, timeout=5, isolation_level=None)
        for pragma in ("busy_timeout = 5000", "journal_mode = wal", "synchronous = full", "foreign_keys = 1"):
            connection.execute(f"PRAGMA {pragma}")
        _local.connection = connection
        return connection


def run(sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
    return _connection().execute(sql, values).fetchall()


@contextmanager
def writing() -> Iterator[None]:
    connection = _connection()
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def stored(moment: datetime) -> str:
    return written(moment)


def answered(moment: str | None) -> str | None:
    """Write a stored moment as orjson writes a datetime: without a fraction that is zero."""
    return moment.replace(".000000Z", "Z") if moment else None


def is_open(last_inbound_at: str | None, now: datetime) -> bool:
    return last_inbound_at is not None and last_inbound_at > written(now - timedelta(hours=24))


def matching(term: str) -> tuple[str, list[str]]:
    """The condition of a search for one term, and its values."""
    return "pk IN (SELECT rowid FROM contact_search WHERE contact_search MATCH ?)", [_query(term)]


def testing(term: str) -> tuple[str, list[str]]:
    """The same without an index, to test rows in an order that another index gives."""
    return "instr(search_text, ?) > 0", [term]


def counting(term: str) -> tuple[str, list[str]]:
    """The statement that counts the matches of one term through the index, and its values."""
    return "SELECT COUNT(*) FROM contact_search WHERE contact_search MATCH ?", [_query(term)]


def _query(term: str) -> str:
    """What begins with the term; grams have twelve characters, and no term here has more."""
    return f'"{term}"*'
