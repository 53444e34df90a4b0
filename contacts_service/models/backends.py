"""SQLite and PostgreSQL: every difference between the two stands in this file (and in migrations)."""

import contextlib
import select
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psycopg
from peewee import OP, SQL, Expression, Field, IntegrityError, Node, NodeList, PeeweeException, fn
from playhouse.pool import PooledPostgresqlDatabase, PooledSqliteDatabase
from psycopg.types.string import TextLoader

from contacts_service.settings import Settings

SHORTEST_TRIGRAM = 3
_MIGRATION_LOCK = 0x636F6E7461637473  # "contacts" in ASCII: any number that other programs don't lock.


class SqliteBackend(PooledSqliteDatabase):
    """One file in WAL mode: many readers beside one writer."""

    kind = "sqlite"
    field_types = {**PooledSqliteDatabase.field_types, "TIMESTAMPTZ": "TEXT", "JSONTEXT": "TEXT", "ORDEREDTEXT": "TEXT"}

    def __init__(self, settings: Settings) -> None:
        path = Path(settings.sqlite_path or "")
        with contextlib.suppress(OSError):  # Where it can't be made, opening the file says why, each time.
            path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(
            str(path),
            max_connections=settings.threads,
            timeout=settings.database_timeout,
            # IMMEDIATE takes the write lock at once. A transaction that begins by reading and writes later would
            # fail with SQLITE_BUSY_SNAPSHOT, which no timeout waits for (sqlite.org/isolation.html).
            lock_type="IMMEDIATE",
            check_same_thread=False,
            pragmas={
                "busy_timeout": int(settings.database_timeout * 1000),
                "journal_mode": "wal",
                "synchronous": "full",
                "foreign_keys": 1,
            },
        )

    def _set_pragmas(self, conn: sqlite3.Connection) -> None:
        # Several processes that make a new file a WAL database at once are told that it is locked, and the busy
        # timeout doesn't wait for that.
        deadline = time.monotonic() + self._wait_timeout
        while True:
            try:
                return super()._set_pragmas(conn)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def is_our_mistake(self, error: PeeweeException) -> bool:
        # The driver tells a full disk and a syntax error apart by their number alone (sqlite.org/rescode.html).
        return getattr(error.__cause__ or error.__context__, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR

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

    def lock_key(self, key: str) -> None:
        """Do nothing, for the same reason."""

    def matches(self, pk: Field, search_text: Field, terms: list[str]) -> Node:
        """Make the condition that a row's search text has every term as a substring.

        FTS5's trigram index finds terms of three characters and more; shorter ones are compared row by row.
        """
        conditions = [fn.INSTR(search_text, term) > 0 for term in terms if len(term) < SHORTEST_TRIGRAM]
        if phrases := ['"' + term.replace('"', '""') + '"' for term in terms if len(term) >= SHORTEST_TRIGRAM]:
            found = "(SELECT rowid FROM contact_search WHERE contact_search MATCH ?)"
            conditions.insert(0, pk.in_(SQL(found, [" ".join(phrases)])))
        return _all_of(conditions)


class _KnownToPsycopg(psycopg.adapt.AdaptersMap):
    """Loads ids and JSON as the text that they are, as SQLite does."""

    def __init__(self) -> None:
        super().__init__(psycopg.adapters)
        self.register_loader("uuid", TextLoader)
        self.register_loader("json", TextLoader)


class PostgresqlBackend(PooledPostgresqlDatabase):
    """A PostgreSQL server of version 15 or newer, through psycopg 3 and a pool as large as the threads."""

    kind = "postgresql"
    field_types = {
        **PooledPostgresqlDatabase.field_types,
        "TIMESTAMPTZ": "TIMESTAMPTZ",
        "JSONTEXT": "JSON",
        "ORDEREDTEXT": 'TEXT COLLATE "C"',
    }

    def __init__(self, settings: Settings) -> None:
        milliseconds = int(settings.database_timeout * 1000)
        super().__init__(
            settings.database_url.replace("postgres://", "postgresql://", 1),
            max_connections=settings.threads,
            timeout=settings.database_timeout,
            prefer_psycopg3=True,
            context=SimpleNamespace(adapters=_KnownToPsycopg(), connection=None),
            connect_timeout=max(2, int(settings.database_timeout)),  # libpq waits no less than two seconds.
            tcp_user_timeout=milliseconds,
            # A plan for any search at all, as prepared statements get one, wouldn't use the index.
            options=f"-c statement_timeout={milliseconds} -c timezone=UTC -c plan_cache_mode=force_custom_plan",
        )

    def _is_closed(self, conn: psycopg.Connection) -> bool:
        # Peewee would ask the server before each use. A server that has gone says so on the socket, which is
        # otherwise silent while nothing is asked.
        if conn.closed or self._adapter.txn_status(conn) != self._adapter.txn_idle:
            return True
        socket = select.poll()
        socket.register(conn.fileno(), select.POLLIN)
        return bool(socket.poll(0))

    def is_our_mistake(self, error: PeeweeException) -> bool:  # noqa: ARG002
        return False  # psycopg says ProgrammingError.

    @contextlib.contextmanager
    def migrating(self) -> Iterator[None]:
        """Change nothing: PostgreSQL alters tables without rebuilding them."""
        yield

    def check_migrated(self) -> None:
        """Check nothing: foreign keys held all the time."""

    def lock_migrations(self) -> None:
        """Wait for other migrators until the end of the transaction, for as long as it takes."""
        self.execute_sql("SET LOCAL statement_timeout = 0")
        self.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))

    def lock_key(self, key: str) -> None:
        """Wait for other transactions that hold the key."""
        self.execute_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))

    def matches(self, pk: Field, search_text: Field, terms: list[str]) -> Node:  # noqa: ARG002
        """Make the condition that a row's search text has every term as a substring.

        The pg_trgm index serves LIKE; shorter terms, which have no trigram, are compared row by row.
        """
        conditions = [fn.STRPOS(search_text, term) > 0 for term in terms if len(term) < SHORTEST_TRIGRAM]
        for term in terms:
            if len(term) >= SHORTEST_TRIGRAM:
                escaped = term.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
                conditions.insert(0, Expression(search_text, OP.LIKE, f"%{escaped}%"))
        return _all_of(conditions)


def _all_of(conditions: list[Node]) -> Node:
    # Chained by & they would nest, and Peewee's recursion would end at a few hundred.
    return NodeList(conditions, glue=" AND ", parens=True)
