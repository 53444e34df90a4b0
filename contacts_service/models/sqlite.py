"""SQLite: one file in WAL mode, many readers beside one writer. See postgresql.py for the same on PostgreSQL."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from peewee import SQL, BooleanField, Field, IntegrityError, Node, NodeList, SqliteDatabase, fn

from contacts_service.errors import Unavailable
from contacts_service.models.admission import Admission
from contacts_service.models.conditions import (
    AMONG_ACCOUNTS,
    AMONG_ALL,
    GRAMS,
    all_of,
    grams_of,
    matching,
    search_values,
)
from contacts_service.models.fields import JSONText, JSONTextField, TimeField
from contacts_service.settings import Settings

# Result codes (sqlite.org/rescode.html) of statements that were wrong, not of a database that is in trouble.
_OUR_MISTAKES = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
}
_LONGEST_GRAM, _ACCOUNT_MARK = 12, "\u00a0"  # See migration 0005.
_PRIMARY_CODE = 0xFF  # An extended result code holds the primary one in its lowest byte.


class SqliteBackend(SqliteDatabase):
    """A connection a thread, kept open; a file that is exchanged is opened anew."""

    kind = "sqlite"
    admission: Admission
    field_types = {**SqliteDatabase.field_types, "TIMESTAMPTZ": "TEXT", "JSONTEXT": "TEXT", "ORDEREDTEXT": "TEXT"}

    # From what the driver returns to our values, where they differ.
    conversions: ClassVar = {TimeField: datetime.fromisoformat, JSONTextField: JSONText, BooleanField: bool}

    def __init__(self, settings: Settings) -> None:
        self.path = Path(settings.sqlite_path or "").absolute()
        self.is_migrated = False
        """Whether the tables are there; then a file that is missing is a fault, and no reason to begin a new one."""
        with contextlib.suppress(OSError):  # Where it can't be made, opening the file says why, each time.
            self.path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(
            str(self.path),
            timeout=settings.database_timeout,
            # IMMEDIATE takes the write lock at once. A transaction that begins by reading and writes later would
            # fail with SQLITE_BUSY_SNAPSHOT, which no timeout waits for (sqlite.org/isolation.html).
            lock_type="IMMEDIATE",
            pragmas={
                "busy_timeout": int(settings.database_timeout * 1000),
                "journal_mode": "wal",
                "synchronous": "full",
                "foreign_keys": 1,
            },
        )
        self._turn = threading.RLock()
        self._lock = contextlib.nullcontext()  # Or threads would wait for one another's connections to be opened.

    def _connect(self) -> sqlite3.Connection:
        mode = "rw" if self.is_migrated else "rwc"
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode={mode}",
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,  # Threads that end leave their connection to whoever collects garbage.
        )
        try:
            self._state.file = _file_at(self.database)
            self._add_conn_hooks(connection)
        except Exception:
            connection.close()
            raise
        return connection

    def _set_pragmas(self, conn: sqlite3.Connection) -> None:
        # Several processes that make a new file a WAL database at once are told that it is locked, and the busy
        # timeout doesn't wait for that.
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return super()._set_pragmas(conn)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def is_stale(self) -> bool:
        """Tell whether the connection is to a file that isn't there any more: what it wrote would be lost."""
        return bool(self._state.file != _file_at(self.database))

    def is_fault(self, error: BaseException) -> bool:
        """Tell a database that can't work from a statement that can't. The driver has one class for both."""
        code = getattr(error, "sqlite_errorcode", None)
        if not isinstance(error, sqlite3.Error) or code is None:
            return False
        return code & _PRIMARY_CODE not in _OUR_MISTAKES or self.lacks_tables(error)

    def lacks_tables(self, error: BaseException) -> bool:
        """Tell whether somebody put another database in the place of ours."""
        return isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such ")

    @contextlib.contextmanager
    def migrating(self) -> Iterator[None]:
        """Hold no foreign keys meanwhile: a step that rebuilds a table would take along what refers to its rows.

        SQLite can't switch this within a transaction (sqlite.org/foreignkeys.html).
        """
        self.pragma("foreign_keys", 0)
        try:
            yield
        finally:
            self.pragma("foreign_keys", 1)

    def check_migrated(self) -> None:
        """Refuse to commit steps that left a row without what it refers to."""
        if orphan := self.execute_sql("PRAGMA foreign_key_check").fetchone():
            raise IntegrityError(f"a migration left {orphan} without what it refers to")

    def lock_migrations(self) -> None:
        """Nothing: the transaction holds the write lock of the whole database already."""

    @contextlib.contextmanager
    def turn_to_write(self) -> Iterator[None]:
        """Have the threads of this process ask for the write lock one after the other. Raises Unavailable.

        SQLite lets those who wait look again now and then, so somebody could be overtaken for seconds.
        """
        if not self._turn.acquire(timeout=self._timeout / 2):
            raise Unavailable(TimeoutError("other threads wait for the write lock already"))
        try:
            yield
        finally:
            self._turn.release()

    def lock_key(self, key: str) -> None:
        """Do nothing, for the same reason."""

    def try_lock_key(self, key: str) -> bool:  # noqa: ARG002
        """Succeed: whoever else held the key has committed, or this transaction wouldn't have begun."""
        return True

    def execute_planned(self, sql: str, parameters: list[Any]) -> Any:
        """Run a query; SQLite has one plan for all values."""
        return self.execute_sql(sql, parameters)

    def locked(self, query: Any, *, skip: bool = False) -> Any:  # noqa: ARG002
        """Change nothing: the rows are locked with the database."""
        return query

    def search_values(self, terms: list[str], *, by_row: bool = False) -> dict[str, str]:
        """Split terms into a query for FTS5 and those that rows are compared with."""
        return search_values(terms, by_row=by_row, longest_gram=_LONGEST_GRAM, query=_query)

    def count_matches(self, searches: list[dict[str, str]], accounts: list[str] | None) -> tuple[int, int] | None:
        """Count what matches any of these searches by the index alone, and about all contacts of these accounts.

        None where rows have to be looked at.
        """
        if any(len(values) > 1 for values in searches):
            return None
        query = _any(f"({values[GRAMS]})" for values in searches)
        among = AMONG_ALL
        if accounts is not None:
            query = f"({_any(_quoted(_ACCOUNT_MARK + account) for account in accounts)}) AND ({query})"
            among = f"{AMONG_ACCOUNTS} IN ({', '.join('?' * len(accounts))})"
        # All text of our own; what callers send are parameters.
        counted = f"SELECT COUNT(*), ({among}) FROM contact_search WHERE contact_search MATCH ?"  # noqa: S608  # nosec B608
        total, contacts = self.execute_sql(counted, (*(accounts or ()), query)).fetchone()
        return total, contacts

    def matches(self, pk: Field, search_text: Field, values: dict[str, Any], tagged: Any = None) -> Node:
        """Make the condition that a row's search text has every term as a substring, and its key is one of a query."""

        def found(query: Any) -> Node:
            rows = NodeList((SQL("(SELECT rowid FROM contact_search WHERE contact_search MATCH"), query, SQL(")")))
            return NodeList((pk, SQL("IN"), rows))

        condition = matching(values, found=found, has=lambda term: fn.INSTR(search_text, term) > 0)
        return condition if tagged is None else all_of([pk.in_(tagged), condition])


def _query(terms: list[str]) -> str:
    return " AND ".join(
        _quoted(gram) + ("*" if len(gram) < _LONGEST_GRAM else "")
        for term in terms
        for gram in grams_of(term, _LONGEST_GRAM)
    )


def _any(queries: Iterable[str]) -> str:
    return " OR ".join(queries)


def _quoted(token: str) -> str:
    return '"' + token.replace('"', '""') + '"'


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - For each use case, and a Path takes twice as long.
    except OSError:
        return None
    return found.st_dev, found.st_ino
