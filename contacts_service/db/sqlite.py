"""SQLite: one file in WAL mode, many readers beside one writer. See postgresql.py for the same on PostgreSQL."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import orjson
from peewee import BooleanField, IntegrityError, SqliteDatabase, fn

from contacts_service.db.backend import Backend
from contacts_service.db.fields import UtcDateTimeField
from contacts_service.errors import Unavailable
from contacts_service.settings import Settings

# Result codes (sqlite.org/rescode.html) of wrong statements, as opposed to a database in trouble.
_WRONG_STATEMENTS = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
}
_CAUSES = {
    sqlite3.SQLITE_FULL: "The disk of the database is full.",
    sqlite3.SQLITE_READONLY: "The database can't be written.",
    sqlite3.SQLITE_CANTOPEN: "The file of the database can't be opened.",
    sqlite3.SQLITE_IOERR: "The disk of the database fails.",
    sqlite3.SQLITE_CORRUPT: "The file of the database is damaged.",
    sqlite3.SQLITE_NOTADB: "The file of the database holds something else.",
    sqlite3.SQLITE_ERROR: "The database lacks the service's tables.",
}
_STEPS = 50_000  # Of SQLite's virtual machine, between two looks at the clock: about a millisecond.
_PRIMARY_CODE = 0xFF  # An extended result code holds the primary one in its lowest byte.


class SqliteBackend(Backend, SqliteDatabase):
    """One connection per thread, kept open; a database file that was replaced is opened anew."""

    kind = "sqlite"
    field_types = {**SqliteDatabase.field_types, "TIMESTAMPTZ": "TEXT", "JSONTEXT": "TEXT", "ORDEREDTEXT": "TEXT"}
    conversions: ClassVar = {**Backend.conversions, UtcDateTimeField: datetime.fromisoformat, BooleanField: bool}

    def __init__(self, settings: Settings) -> None:
        self.path = Path(settings.sqlite_path or "").absolute()
        with contextlib.suppress(OSError):  # Opening the file says each time why it can't be made.
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
                "temp_store": "memory",  # A read-only container has no folder for temporary files.
                "secure_delete": 1,  # Overwrites what is deleted with zeros.
            },
        )
        self._writer_lock = threading.RLock()
        self._log_holds_erased = True  # Maybe, since a process that was killed.

    def _connect(self) -> sqlite3.Connection:
        # Once the tables were there, a missing file is a fault and no reason to begin a new one.
        mode = "rw" if self.is_migrated else "rwc"
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode={mode}",
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,  # The garbage collector closes the connections of threads that ended.
        )
        connection.set_progress_handler(self._is_overdue, _STEPS)
        try:
            self._state.file = None
            with contextlib.suppress(OSError):  # Deleted again already: then it is stale.
                self._state.file = os.stat(self.database)  # noqa: PTH116 - As below.
            self._add_conn_hooks(connection)
        except Exception:
            connection.close()
            raise
        return connection

    def _is_overdue(self) -> bool:
        """Whether a use case took longer than the database timeout: then its statement fails with SQLITE_INTERRUPT."""
        return bool(time.perf_counter() - self.use_case.began > self._timeout)

    def _set_pragmas(self, conn: sqlite3.Connection) -> None:
        # Processes that switch a new file to WAL at the same time get SQLITE_BUSY, and the busy timeout doesn't
        # apply to it.
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return super()._set_pragmas(conn)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def is_stale(self) -> bool:
        """Whether the connection is to a file that was replaced or deleted: what it wrote would be lost."""
        opened = self._state.file
        try:
            found = os.stat(self.database)  # noqa: PTH116 - For each use case, and a Path takes twice as long.
        except OSError:
            return True
        return not (opened and os.path.samestat(opened, found))

    def is_fault(self, error: BaseException) -> bool:
        """Whether the database can't work, as opposed to a wrong statement. The driver has one class for both."""
        code = getattr(error, "sqlite_errorcode", None)
        if not isinstance(error, sqlite3.Error) or code is None:
            return False
        return code & _PRIMARY_CODE not in _WRONG_STATEMENTS or self.lacks_tables(error)

    def byte_length(self, document: Any) -> Any:
        return fn.LENGTH(document.cast("BLOB"))

    def lacks_tables(self, error: BaseException) -> bool:
        """Whether the file was replaced by another database."""
        missing = isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such ")
        return missing and "savepoint" not in str(error)

    def explain(self, fault: BaseException) -> tuple[str | None, str]:
        """What callers and what operators are told of a fault; None for no more than that it can't answer."""
        code = getattr(fault, "sqlite_errorcode", 0) & _PRIMARY_CODE
        name = getattr(fault, "sqlite_errorname", type(fault).__name__)
        return _CAUSES.get(code), f"{fault} ({name}), {self.path}"

    def next_keys(self, table: str, count: int) -> range:
        """Those behind the highest, as no other transaction writes meanwhile."""
        [(last,)] = self.execute_sql(f"SELECT COALESCE(MAX(pk), 0) FROM {table}")  # noqa: S608  # nosec B608 - A name of ours.
        return range(last + 1, last + 1 + count)

    def copy_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert them one by one with one statement."""
        values = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608  # nosec B608 - Names of ours.
        self.connection().executemany(sql, rows)

    def insert_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert them by one statement, during which other threads compute; ``executemany`` has one for each row."""
        values = ", ".join([f"json_extract(value, '$[{at}]')" for at in range(len(columns))])
        sql = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM json_each(?)"  # noqa: S608  # nosec B608 - Names of ours.
        self.connection().execute(sql, (orjson.dumps([*rows]).decode(),))

    @contextlib.contextmanager
    def migrating(self) -> Iterator[None]:
        """Wait as long as a step takes, and switch foreign keys off.

        A step that rebuilds a table would delete the rows that refer to it.
        SQLite can't switch this within a transaction (sqlite.org/foreignkeys.html).
        """
        self.pragma("foreign_keys", 0)
        connection = self.connection()
        connection.set_progress_handler(None, 0)  # A step takes as long as it takes.
        try:
            yield
        finally:
            if not self.is_closed():  # A fault closed it, and a pragma would open another that no one counts.
                connection.set_progress_handler(self._is_overdue, _STEPS)
                self.pragma("foreign_keys", 1)

    def check_migrated(self) -> None:
        if orphan := self.execute_sql("PRAGMA foreign_key_check").fetchone():
            raise IntegrityError(f"a migration left {orphan} without the row it refers to")

    @contextlib.contextmanager
    def writer_turn(self) -> Iterator[None]:
        """Take turns: SQLite polls for the write lock, so that a writer could be overtaken for seconds."""
        if not self._writer_lock.acquire(timeout=self._timeout / 2):
            raise Unavailable("other threads wait for the write lock already")
        try:
            yield
            if self._log_holds_erased:
                self._truncate_log()
        finally:
            self._writer_lock.release()

    def erase_after_commit(self) -> None:
        """Empty the write-ahead log, which holds the pages as they were before."""
        self._log_holds_erased = True

    def _truncate_log(self) -> None:
        """Write the log into the file and cut it, unless another connection reads it: then a later writer does."""
        connection = self.connection()
        connection.execute("PRAGMA busy_timeout = 0")
        with contextlib.suppress(sqlite3.Error):  # The transaction is committed already, whatever the disk says now.
            [(is_busy, *_)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._log_holds_erased = bool(is_busy)
        connection.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")
