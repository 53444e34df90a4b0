"""Fills a PostgreSQL database whose tables are there already."""

from collections.abc import Iterable
from typing import Any

import psycopg

from benchmarks.people import COLUMNS, COUNTED, Rows

# All but those that primary keys and constraints stand on.
_INDEXES = """
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
AND indexname NOT IN (SELECT conindid::regclass::text FROM pg_constraint)
ORDER BY indexname
"""
_SERIAL_COLUMNS = """
SELECT table_name, column_name, pg_get_serial_sequence(format('%I', table_name), column_name)
FROM information_schema.columns WHERE table_schema = 'public'
AND pg_get_serial_sequence(format('%I', table_name), column_name) IS NOT NULL
"""
# What no text of ours holds, to stand for what COPY writes with a backslash until those of the text are doubled.
_NULL, _NEXT = "\x1e", "\x1f"


def connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True)


def copied(rows: Rows) -> dict[str, bytes]:
    """Write the rows as COPY reads them."""
    return {table: _copied(table_rows) for table, table_rows in rows.items()}


def _copied(rows: list[tuple[Any, ...]]) -> bytes:
    lines = []
    for row in rows:
        line = _NEXT.join([_NULL if value is None else str(value) for value in row])
        line = line.replace("\\", r"\\").replace("\n", r"\n").replace("\t", r"\t").replace("\r", r"\r")
        lines.append(line.replace(_NULL, r"\N").replace(_NEXT, "\t"))
    return "\n".join([*lines, ""]).encode()


def fill(url: str, chunks: Iterable[dict[str, bytes]], step: Any) -> None:
    """Store the chunks, then make the indexes. ``step`` is told what begins."""
    with connect(url) as connection:
        # Foreign keys are not looked up: the rows were made to fit.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '1GB'")
        indexes = connection.execute(_INDEXES).fetchall()
        for name, _ in indexes:
            connection.execute(f'DROP INDEX "{name}"')
        for chunk in chunks:
            for table, lines in chunk.items():
                names = ", ".join(f'"{column}"' for column in COLUMNS[table])
                with connection.cursor().copy(f'COPY "{table}" ({names}) FROM STDIN') as copy:
                    copy.write(lines)
        step("contact_search")  # Triggers are asleep in this role: what they would have kept.
        connection.execute(
            "INSERT INTO contact_search (contact_id, account_id, search_text) "
            "SELECT pk, account_id, search_text FROM contact ORDER BY pk"
        )
        for name, definition in indexes:
            step(name)
            connection.execute(definition)
        for statement in COUNTED:
            connection.execute(statement)
        for table, column, sequence in connection.execute(_SERIAL_COLUMNS).fetchall():
            connection.execute(f'SELECT setval(%s, (SELECT coalesce(max("{column}"), 1) FROM "{table}"))', [sequence])
        step("vacuum")
        connection.execute("VACUUM (ANALYZE)")  # Also writes out what GIN indexes have not sorted in yet.
