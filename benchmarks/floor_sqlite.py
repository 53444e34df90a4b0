"""SQLite for the floor: connection, transactions, value formats and search."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from benchmarks.dataset import to_timestamp

FOR_UPDATE = ""
FIRST_OPEN = "1"  # A write transaction locks the whole database.
_local = threading.local()
_path = ""


def use_database(url: str) -> None:
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


def execute(sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
    return _connection().execute(sql, values).fetchall()


@contextmanager
def transaction() -> Iterator[None]:
    connection = _connection()
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def to_column(time: datetime) -> str:
    return to_timestamp(time)


def to_json(time: str | None) -> str | None:
    """Drop a fraction of zero, as orjson does for a datetime."""
    return time.replace(".000000Z", "Z") if time else None


def window_end(last_inbound_at: str | None) -> datetime | None:
    return datetime.fromisoformat(last_inbound_at) + timedelta(hours=24) if last_inbound_at else None


def search_condition(term: str) -> tuple[str, list[str]]:
    """A contact matches the term, through the search index; with the values."""
    return "pk IN (SELECT rowid FROM contact_search WHERE contact_search MATCH ?)", [_match_query(term)]


def scan_condition(term: str) -> tuple[str, list[str]]:
    """A contact matches the term, tested row by row; with the values."""
    return "instr(search_text, ?) > 0", [term]


def count_query(term: str) -> tuple[str, list[str]]:
    """Count the matches of the term through the search index; with the values."""
    return "SELECT COUNT(*) FROM contact_search WHERE contact_search MATCH ?", [_match_query(term)]


def _match_query(term: str) -> str:
    """Match words that start with the term: they have up to twelve characters, and no term here is longer."""
    return f'"{term}"*'
