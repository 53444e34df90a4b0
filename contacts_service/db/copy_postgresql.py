"""What copying has to know of PostgreSQL."""

from collections.abc import Iterator
from typing import Any

ACTIVITY = """
SELECT -COUNT(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
"""Below 0 while other programs are connected to the database."""
_TABLES = "relkind = 'r' AND relnamespace = current_schema()::regnamespace"
_COLUMNS = f"""
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE {_TABLES} AND attnum > 0 AND attgenerated = '' AND NOT attisdropped
"""
# Statements that take away what slows loading down or would write twice, and those that bring it back. The owner of a
# table can't switch off the triggers of its foreign keys, but may drop the keys.
_REMOVABLE = f"""
SELECT 1, format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE {_TABLES} AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
UNION ALL
SELECT 2, format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
    format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid))
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid WHERE {_TABLES} AND contype = 'f'
UNION ALL
SELECT 3, format('ALTER TABLE %I DISABLE TRIGGER USER', relname), format('ALTER TABLE %I ENABLE TRIGGER USER', relname)
FROM pg_class WHERE {_TABLES}
UNION ALL
SELECT 4, 'SELECT', format('SELECT setval(%L, MAX(%I)) FROM %I', sequence, attname, relname)
FROM (SELECT relname, attname, pg_get_serial_sequence(quote_ident(relname), attname) AS sequence {_COLUMNS}) AS serial
WHERE sequence <> ''
UNION ALL
SELECT 5, 'SET LOCAL maintenance_work_mem = ''256MB''', 'ANALYZE'
ORDER BY 1
"""  # noqa: S608  # nosec B608
# What SQLite stores for a value.
_CONVERTED = {
    "timestamp with time zone": """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
    "boolean": "{}::integer",
}
_INTEGERS = ("boolean", "smallint", "integer", "bigint")


def identity(backend: Any) -> Any:
    return backend.execute_sql("SELECT current_database(), pg_postmaster_start_time()").fetchone()


def begin_snapshot(backend: Any) -> None:
    """Let all queries see what is committed now, however long they take."""
    backend.execute_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    backend.execute_sql("SET LOCAL statement_timeout = 0")


def prepare(backend: Any) -> None:
    """There is nothing to prepare outside the transaction."""


def list_columns(backend: Any) -> Any:
    return backend.execute_sql(f"SELECT relname, attname {_COLUMNS}").fetchall()


def strip(backend: Any) -> list[str]:
    """Drop indexes and foreign keys, and switch triggers off. Returns the statements that bring them back."""
    removed = backend.connection().execute(_REMOVABLE).fetchall()
    for _, statement, _ in removed:
        backend.execute_sql(statement)
    return [statement for *_, statement in removed]


def read_rows(backend: Any, table: str, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    sql = f"SELECT attname, format_type(atttypid, NULL) {_COLUMNS} AND relname = %s"
    types = dict(backend.execute_sql(sql, [table]))
    values = ", ".join(_CONVERTED.get(types[column], "{}").format(f'"{column}"') for column in columns)
    with backend.cursor().copy(f'COPY (SELECT {values} FROM "{table}") TO STDOUT') as copy:  # noqa: S608  # nosec B608
        copy.set_types(["int8" if types[column] in _INTEGERS else "text" for column in columns])
        yield from copy.rows()
