"""Copies everything from the database of this process into an empty one, of the same kind or the other.

It names no table of a resource: what the migrations made stands in the catalogs. ``copy_sqlite`` and
``copy_postgresql`` hold the differences, under the same names. Rows are tuples of text, integers and None, as SQLite
stores them. See docs/decisions/moving.md.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import orjson

from contacts_service.db import copy_postgresql, copy_sqlite, migrations
from contacts_service.db.database import close_connection, connect, database, reading, writing
from contacts_service.settings import Settings

Derived = Mapping[str, Callable[[], object]]
"""Tables that are not copied, with what fills each in the new database once the others are there."""
ProgressBar = Callable[..., AbstractContextManager[Any]]
"""As click.progressbar."""
_KINDS: dict[str, Any] = {"sqlite": copy_sqlite, "postgresql": copy_postgresql}
_HISTORY = "schema_migration"  # Each database has its own.
_STEP = 1000  # Rows between two steps of a progress bar.


class CopyRefused(Exception):
    """The target can't take the copy."""


def copy_database(target: Settings, derived: Derived, progress: ProgressBar) -> bool:
    """Copy all tables in one transaction of the target, which has everything afterwards or, after a crash, nothing.

    The source is read in one snapshot. Returns whether other programs may have written to it since. Raises CopyRefused,
    Unavailable.
    """
    source = database.obj
    kind = _KINDS[source.kind]
    with reading(), source.migrating():
        [before] = source.execute_sql(kind.ACTIVITY).fetchone()
        kind.begin_snapshot(source)
        try:
            connect(target)
            _fill_from(source, derived, progress)
        finally:
            close_connection()
            database.initialize(source)
            source.connection().rollback()
        [after] = source.execute_sql(kind.ACTIVITY).fetchone()
    return bool(after != before or after < 0)


def _fill_from(source: Any, derived: Derived, progress: ProgressBar) -> None:
    """Fill the database of this process, which is the target by now."""
    target = database.obj
    read, write = _KINDS[source.kind], _KINDS[target.kind]
    with reading():
        if write.identity(target) == read.identity(source):
            raise CopyRefused("The target is the database to copy.")
    migrations.upgrade()
    with reading(), target.migrating():
        write.prepare(target)
        with writing():
            target.lock_migrations()
            tables = _require_same_tables(source, target, derived)
            total = sum(source.execute_sql(f'SELECT COUNT(*) FROM "{table}"').fetchone()[0] for table in tables)  # noqa: S608  # nosec B608
            removed = write.strip(target)
            copied = {}
            with progress(length=total, label="Copying") as bar:
                for table, columns in tables.items():
                    copied[table] = _Checksum(read.read_rows(source, table, columns), bar)
                    target.copy_rows(table, columns, iter(copied[table]))
            with progress([*derived.values(), *removed], label="Indexing") as steps:
                for step in steps:
                    step() if callable(step) else target.execute_sql(step)
            target.check_migrated()
            with progress(length=total, label="Checking") as bar:
                for table, columns in tables.items():
                    stored = _Checksum(write.read_rows(target, table, columns), bar)
                    for _ in stored:
                        pass
                    if (stored.rows, stored.sum) != (copied[table].rows, copied[table].sum):
                        raise CopyRefused(f"The copy of table {table} differs, so nothing is copied.")


def _require_same_tables(source: Any, target: Any, derived: Derived) -> dict[str, list[str]]:
    """List the tables to copy and their columns. Raises CopyRefused if the target has others, or has rows."""
    described = []
    for each in (source, target):
        steps = sorted(each.execute_sql(f"SELECT name FROM {_HISTORY}").fetchall())  # noqa: S608  # nosec B608
        tables: dict[str, list[str]] = {}
        for table, column in sorted(_KINDS[each.kind].list_columns(each)):
            if table not in {*derived, _HISTORY}:
                tables.setdefault(table, []).append(column)
        described.append((steps, tables))
    if described[0] != described[1]:
        raise CopyRefused("The tables of the target are of another version of the service, or it has more of them.")
    for table in tables:
        if target.execute_sql(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone():  # noqa: S608  # nosec B608
            raise CopyRefused(f"The target is not empty: it has rows in table {table}.")
    return tables


class _Checksum:
    """Passes rows on, counts them and adds up their hashes, as the databases have them in different orders."""

    def __init__(self, rows: Iterator[tuple[Any, ...]], bar: Any) -> None:
        self._passed, self._bar = rows, bar
        self.rows = self.sum = 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for row in self._passed:
            self.sum += int.from_bytes(hashlib.blake2b(orjson.dumps(row), digest_size=8).digest())
            self.rows += 1
            if self.rows % _STEP == 0:
                self._bar.update(_STEP)
            yield row
        self._bar.update(self.rows % _STEP)
