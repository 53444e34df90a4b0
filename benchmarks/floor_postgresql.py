"""PostgreSQL for the floor: connection, transactions, value formats and search."""

import threading
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import psycopg
from psycopg.types.string import TextLoader

FOR_UPDATE = " FOR UPDATE"
FIRST_OPEN = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_local = threading.local()
_url = ""


def use_database(url: str) -> None:
    global _url  # noqa: PLW0603 - One process, one database, as in the service.
    _url = url
    _local.__dict__.clear()


def _connection() -> psycopg.Connection[Any]:
    try:
        return _local.connection
    except AttributeError:
        options = "-c statement_timeout=120000 -c timezone=UTC -c work_mem=32MB -c jit=off"
        connection = psycopg.connect(_url, autocommit=True, options=options)
        connection.adapters.register_loader("uuid", TextLoader)
        connection.adapters.register_loader("json", TextLoader)
        _local.connection = connection
        return connection


@cache
def _to_psycopg(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def execute(sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
    return _connection().execute(_to_psycopg(sql), values).fetchall()


def transaction() -> AbstractContextManager[Any]:
    return _connection().transaction()


def to_column(time: datetime) -> datetime:
    return time


def to_json(time: datetime | None) -> datetime | None:
    return time


def window_end(last_inbound_at: datetime | None) -> datetime | None:
    return last_inbound_at + timedelta(hours=24) if last_inbound_at else None


def search_condition(term: str) -> tuple[str, list[str]]:
    """A contact matches the term, through the search index; with the values."""
    condition, values = _gram_condition(term)
    return f"pk = ANY(ARRAY(SELECT contact_id FROM contact_search WHERE {condition}))", values


def scan_condition(term: str) -> tuple[str, list[str]]:
    """A contact matches the term, tested row by row; with the values."""
    return "strpos(search_text, ?) > 0", [term]


def count_query(term: str) -> tuple[str, list[str]]:
    """Count the matches of the term through the search index; with the values."""
    condition, values = _gram_condition(term)
    return f"SELECT COUNT(*) FROM contact_search WHERE {condition}", values


def _gram_condition(term: str) -> tuple[str, list[str]]:
    """Grams have up to six characters; those of one and two start with a space."""
    condition = "contact_grams(search_text) @@ ?::tsquery"
    if len(term) <= 6:
        return condition, [f"' {term}'" if len(term) < 3 else f"'{term}':*"]
    return f"{condition} AND strpos(search_text, ?) > 0", [f"'{term[:6]}' & '{term[-6:]}'", term]
