"""What the floor does differently on PostgreSQL: connection, transactions, forms of values, search."""

import threading
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import psycopg
from psycopg.types.string import TextLoader

LOCKED = " FOR UPDATE"
_local = threading.local()
_url = ""


def use(url: str) -> None:
    global _url  # noqa: PLW0603 - One process, one database, as in the service.
    _url = url
    _local.__dict__.clear()


def _connection() -> psycopg.Connection[Any]:
    try:
        return _local.connection
    except AttributeError:
        options = "-c statement_timeout=120000 -c timezone=UTC -c work_mem=32MB -c jit=off -c enable_seqscan=off"
        connection = psycopg.connect(_url, autocommit=True, options=options)
        connection.adapters.register_loader("uuid", TextLoader)
        connection.adapters.register_loader("json", TextLoader)
        _local.connection = connection
        return connection


@cache
def _with_percent(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def run(sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
    return _connection().execute(_with_percent(sql), values).fetchall()


def writing() -> AbstractContextManager[Any]:
    return _connection().transaction()


def stored(moment: datetime) -> datetime:
    return moment


def answered(moment: datetime | None) -> datetime | None:
    return moment


def is_open(last_inbound_at: datetime | None, now: datetime) -> bool:
    return last_inbound_at is not None and now - last_inbound_at < timedelta(hours=24)


def matching(term: str) -> tuple[str, list[str]]:
    """The condition of a search for one term, and its values."""
    found, values = _found(term)
    return f"pk = ANY(ARRAY(SELECT contact_id FROM contact_search WHERE {found}))", values


def testing(term: str) -> tuple[str, list[str]]:
    """The same without an index, to test rows in an order that another index gives."""
    return "strpos(search_text, ?) > 0", [term]


def counting(term: str) -> tuple[str, list[str]]:
    """The statement that counts the matches of one term through the index, and its values."""
    found, values = _found(term)
    return f"SELECT COUNT(*) FROM contact_search WHERE {found}", values


def _found(term: str) -> tuple[str, list[str]]:
    """Look the term up: grams have six characters, those of one and two are marked by a space."""
    found = "contact_grams(search_text) @@ ?::tsquery"
    if len(term) <= 6:
        return found, [f"' {term}'" if len(term) < 3 else f"'{term}':*"]
    return f"{found} AND strpos(search_text, ?) > 0", [f"'{term[:6]}' & '{term[-6:]}'", term]
