"""Which statements a request sends to the database, and the plan of each."""

import re
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

_NO_QUERY = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|PRAGMA|--)", re.IGNORECASE)
# Lines of a plan that read a whole table. SQLite names an index behind USING, PostgreSQL a scan of its own. What is
# called near are some rows that were read before; the tables of counters are read to be summed up.
_SCANS = re.compile(r"^\s*SCAN (?!.*(INDEX|CONSTANT ROW)|near)|Seq Scan on (contact|contact_search|message|session)\b")
_COUNTERS = re.compile(r'FROM "(contact|assigned)_count"')


class Statement(NamedTuple):
    """A statement with its values: in the text on SQLite, beside it on PostgreSQL."""

    sql: str
    values: Any


_connections: list[sqlite3.Connection] = []
_recorded: list[Statement] | None = None


def watch() -> None:
    """Get to know every connection that is opened from now on. While nothing is recorded it costs nothing."""
    connect, execute = sqlite3.connect, psycopg.Cursor.execute

    def connect_and_keep(*arguments: Any, **options: Any) -> sqlite3.Connection:
        _connections.append(connection := connect(*arguments, **options))
        if _recorded is not None:
            connection.set_trace_callback(_record)
        return connection

    def execute_and_record(cursor: Any, query: Any, params: Any = None, **options: Any) -> Any:
        if _recorded is not None:
            _recorded.append(Statement(str(query), params))
        return execute(cursor, query, params, **options)

    sqlite3.connect = connect_and_keep  # type: ignore[assignment]
    psycopg.Cursor.execute = execute_and_record  # type: ignore[assignment]


def recorded(call: Callable[[], Any]) -> list[Statement]:
    """Make the call and return the statements that it sent, those that open and close transactions too."""
    global _recorded  # noqa: PLW0603 - What every connection of the process writes to.
    _recorded = statements = []
    _trace(_record)
    call()
    _trace(None)
    _recorded = None
    return statements


def _record(sql: str) -> None:
    if _recorded is not None:
        _recorded.append(Statement(sql, None))


def _trace(callback: Callable[[str], None] | None) -> None:
    for connection in [*_connections]:
        try:
            connection.set_trace_callback(callback)
        except sqlite3.ProgrammingError:  # It was closed meanwhile.
            _connections.remove(connection)


def queries_of(statements: list[Statement]) -> list[Statement]:
    """Leave out what opens and closes transactions, and what SQLite tells again for each trigger of a statement."""
    queries = [statement for statement in statements if not _NO_QUERY.match(statement.sql)]
    return [query for before, query in zip([None, *queries], queries, strict=False) if query != before]


def transactions_of(statements: list[Statement]) -> int:
    return sum(statement.sql.startswith("BEGIN") for statement in statements)


def plan(connection: Any, statement: Statement) -> list[str]:
    """Ask how the database would answer the statement: a line each step, indented by their order."""
    if isinstance(connection, sqlite3.Connection):
        steps = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}").fetchall()
        depths = {0: -1}
        for step, parent, _, _ in steps:
            depths[step] = depths[parent] + 1
        return ["  " * depths[step] + text for step, _, _, text in steps]
    explained = f"EXPLAIN (COSTS OFF) {statement.sql}"
    with psycopg.ClientCursor(connection) as cursor:
        return [line for (line,) in cursor.execute(explained, statement.values).fetchall()]


def scans_of(statement: Statement, lines: list[str]) -> list[str]:
    """The steps of a statement's plan that read a whole table."""
    return [] if _COUNTERS.search(statement.sql) else [line.strip() for line in lines if _SCANS.search(line)]
