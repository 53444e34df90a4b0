"""What copying has to know of SQLite."""

from collections.abc import Iterator
from typing import Any

ACTIVITY = "PRAGMA data_version"
"""Changes when another connection writes."""
_COLUMNS = """
SELECT t.name, c.name FROM pragma_table_list AS t, pragma_table_info(t.name) AS c
WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite!_%' ESCAPE '!'
"""
_REMOVABLE = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql <> '' ORDER BY type"
_CACHE_KIB = 65_536


def identity(backend: Any) -> Any:
    """What no other database has."""
    return backend.path.resolve()


def begin_snapshot(backend: Any) -> None:
    """Let all queries see what the first one sees."""
    backend.execute_sql("BEGIN")


def prepare(backend: Any) -> None:
    """Suit the connection to one large transaction. Raises OperationalError if another program has the file open.

    A rollback journal needs no copy of new pages, where the write-ahead log would hold all; the next connection
    changes back. Indexes are sorted in files beside the database, not in memory.
    """
    folder = str(backend.path.parent).replace("'", "''")
    settings = {"journal_mode": "delete", "cache_size": -_CACHE_KIB, "temp_store_directory": f"'{folder}'"}
    for name, value in {**settings, "temp_store": "file"}.items():
        backend.pragma(name, value)


def list_columns(backend: Any) -> Any:
    """Tables with each of their columns, without generated ones and without the tables of virtual tables."""
    return backend.execute_sql(_COLUMNS).fetchall()


def strip(backend: Any) -> list[str]:
    """Drop indexes and triggers. Returns the statements that bring them back."""
    removed = backend.execute_sql(_REMOVABLE).fetchall()
    for kind, name, _ in removed:
        backend.execute_sql(f'DROP {kind} "{name}"')
    return [statement for *_, statement in removed]


def read_rows(backend: Any, table: str, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    names = ", ".join(f'"{column}"' for column in columns)
    yield from backend.execute_sql(f'SELECT {names} FROM "{table}"')  # noqa: S608  # nosec B608
