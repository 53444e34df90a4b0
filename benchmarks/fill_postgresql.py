"""Fills a PostgreSQL database that has its tables."""

from collections.abc import Iterable
from typing import Any

import psycopg

from benchmarks.dataset import COLUMNS, Rows
from contacts_service.contacts.derived import COUNTS, SEARCH

# Without those of primary keys and constraints.
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
# Placeholders for NULL and the tab between columns, until backslashes and tabs of the text are escaped.
_NULL, _SEPARATOR = "\x1e", "\x1f"


def connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True)


def to_copy_format(rows: Rows) -> dict[str, bytes]:
    """Encode the rows of each table as the text format of COPY."""
    return {table: _encode(table_rows) for table, table_rows in rows.items()}


def _encode(rows: list[tuple[Any, ...]]) -> bytes:
    lines = []
    for row in rows:
        line = _SEPARATOR.join([_NULL if value is None else str(value) for value in row])
        line = line.replace("\\", r"\\").replace("\n", r"\n").replace("\t", r"\t").replace("\r", r"\r")
        lines.append(line.replace(_NULL, r"\N").replace(_SEPARATOR, "\t"))
    return "\n".join([*lines, ""]).encode()


def fill(url: str, chunks: Iterable[dict[str, bytes]], on_step: Any) -> None:
    """Store the chunks, then create the indexes; ``on_step`` is called with the name of each step."""
    with connect(url) as connection:
        # Disables triggers and checks of foreign keys.
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
        on_step("contact_search")  # Triggers don't run in this role.
        connection.execute(SEARCH["postgresql"])
        for name, definition in indexes:
            on_step(name)
            connection.execute(definition)
        connection.execute(COUNTS)
        for table, column, sequence in connection.execute(_SERIAL_COLUMNS).fetchall():
            connection.execute(f'SELECT setval(%s, (SELECT coalesce(max("{column}"), 1) FROM "{table}"))', [sequence])
        on_step("vacuum")
        connection.execute("VACUUM (ANALYZE)")  # Also empties the pending lists of GIN indexes.
