"""Records the statements that a request sends to the database, and their query plans."""

import re
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

_NOT_A_QUERY = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|PRAGMA|--)", re.IGNORECASE)
# Steps of a plan that read a whole table: SQLite names an index after USING, PostgreSQL has another kind of scan for
# indexes. "near" and "page" are aliases of subqueries with a limit; contact_count is small and read completely to be
# summed up.
_SCANS = re.compile(
    r"^\s*SCAN (?!.*(INDEX|CONSTANT ROW)|near|page|contact_count)"
    r"|Seq Scan on (contact|contact_search|message|session)\b"
)
# Peewee gives the table an alias, and a plan of SQLite names only that.
_COUNTERS = re.compile(r'FROM "contact_count"')
_ONE_ROW = re.compile(r'FROM "change_feed" AS "(\w+)"')


class Statement(NamedTuple):
    """A statement; its values are part of the text on SQLite and separate on PostgreSQL."""

    sql: str
    values: Any


_connections: list[sqlite3.Connection] = []
_recorded: list[Statement] | None = None


def install_hooks() -> None:
    """Observe all connections that are opened from now on, at no cost while nothing is recorded."""
    connect, execute, run_command = sqlite3.connect, psycopg.Cursor.execute, psycopg.Connection._exec_command  # noqa: SLF001 - It begins and commits.

    def connect_and_keep(*arguments: Any, **options: Any) -> sqlite3.Connection:
        _connections.append(connection := connect(*arguments, **options))
        if _recorded is not None:
            connection.set_trace_callback(_append)
        return connection

    def execute_and_record(cursor: Any, query: Any, params: Any = None, **options: Any) -> Any:
        if _recorded is not None:
            _recorded.append(Statement(str(query), params))
        return execute(cursor, query, params, **options)

    def run_command_and_record(connection: Any, command: bytes, *options: Any) -> Any:
        _append(command.decode())
        return run_command(connection, command, *options)

    sqlite3.connect = connect_and_keep  # type: ignore[assignment]
    psycopg.Cursor.execute = execute_and_record  # type: ignore[assignment]
    psycopg.Connection._exec_command = run_command_and_record  # type: ignore[assignment,method-assign]  # noqa: SLF001


def record(call: Callable[[], Any]) -> list[Statement]:
    """Return the statements that a call sends, including those that begin and end transactions."""
    global _recorded  # noqa: PLW0603 - All connections of the process append to it.
    statements: list[Statement] = []
    _recorded = statements
    _set_trace_callbacks(_append)
    call()
    _set_trace_callbacks(None)
    _recorded = None
    return statements


def _append(sql: str) -> None:
    if _recorded is not None:
        _recorded.append(Statement(sql, None))


def _set_trace_callbacks(callback: Callable[[str], None] | None) -> None:
    for connection in [*_connections]:
        try:
            connection.set_trace_callback(callback)
        except sqlite3.ProgrammingError:  # It is closed.
            _connections.remove(connection)


def queries_of(statements: list[Statement]) -> list[Statement]:
    """Leave out statements of transactions, and the repetitions that SQLite reports for triggers."""
    queries = [statement for statement in statements if not _NOT_A_QUERY.match(statement.sql)]
    return [query for before, query in zip([None, *queries], queries, strict=False) if query != before]


def count_transactions(statements: list[Statement]) -> int:
    return sum(statement.sql.startswith("BEGIN") for statement in statements)


def explain(connection: Any, statement: Statement) -> list[str]:
    """Return the query plan: a line for each step, indented by depth."""
    if isinstance(connection, sqlite3.Connection):
        steps = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}").fetchall()
        depths = {0: -1}
        for step, parent, _, _ in steps:
            depths[step] = depths[parent] + 1
        return ["  " * depths[step] + text for step, _, _, text in steps]
    with psycopg.ClientCursor(connection) as cursor:
        plan = cursor.execute(f"EXPLAIN (COSTS OFF) {statement.sql}", statement.values)
        return [line for (line,) in plan.fetchall()]


def table_scans(statement: Statement, plan: list[str]) -> list[str]:
    """The steps of the plan that read a whole table."""
    if _COUNTERS.search(statement.sql):
        return []
    one_row = _ONE_ROW.search(statement.sql)
    scans = [line.strip() for line in plan if _SCANS.search(line)]
    return [line for line in scans if not one_row or line != f"SCAN {one_row[1]}"]
