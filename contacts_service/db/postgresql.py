"""PostgreSQL 15 or newer, through psycopg 3. See sqlite.py for the same on SQLite."""

import contextlib
import select
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import psycopg
from peewee import SQL, BooleanField, PostgresqlDatabase, fn

from contacts_service.db.backend import Backend
from contacts_service.db.fields import UtcDateTimeField
from contacts_service.db.postgresql_connection import ADAPTERS, GRACE_SECONDS, Connection, TimestamptzInUtcLoader
from contacts_service.settings import InvalidSetting, Settings

_MIGRATION_LOCK = 0x636F6E7461637473  # "contacts" in ASCII: any number that other programs don't lock.
# Classes of SQLSTATE (PostgreSQL documentation, appendix A) of wrong statements, as opposed to a server in trouble:
# features, data, constraints, transaction state, syntax and privileges.
_WRONG_STATEMENTS = {"0A", "21", "22", "23", "25", "2D", "3B", "3F", "42", "44"}
# No such table, column, schema, database; no privilege.
_LACKS_TABLES = {"42P01", "42703", "3F000", "3D000", "42501"}
# Faults in those classes. Read-only: a standby, or a primary that was told so; transactions that took or waited too
# long for the server; a prepared statement that exists already, behind a pooler that can't be recognised.
_FAULTS = {"25006", "25P03", "25P04", "42P05"}
_CONFLICTS = {"40P01", "23505"}  # See is_conflict.

_CAUSES = {
    "28000": "The database refuses the service's user.",
    "28P01": "The database refuses the service's password.",
    "3D000": "The service's database does not exist.",
    "3F000": "The database lacks the service's schema.",
    "42P01": "The database lacks the service's tables.",
    "42703": "The database lacks the service's tables.",
    "42501": "The service lacks a permission in its database.",
    "25006": "The database can't be written.",
    "53100": "The disk of the database is full.",
    "53300": "The database has too many connections.",
}
# libpq reports no SQLSTATE when connecting fails, only the server's text.
_CONNECTING = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "no pg_hba.conf entry": "28000",
    "permission denied for database": "42501",
    'role "': "28000",
    'database "': "3D000",
    "too many": "53300",
    "connection slots": "53300",
}
# What the code relies on, whatever the server, the database or the role set.
_PINNED = {"DateStyle": "ISO", "TimeZone": "UTC", "client_encoding": "UTF8"}

_OPTIONS_HEEDED = "contacts.options_are_heeded"  # A setting of our own, which no server has by itself.


class PostgresqlBackend(Backend, PostgresqlDatabase):
    """One connection per thread, kept open; one that was cut is replaced before it is used."""

    kind = "postgresql"
    field_types = {
        **PostgresqlDatabase.field_types,
        "TIMESTAMPTZ": "TIMESTAMPTZ",
        "JSONTEXT": "JSON",
        "ORDEREDTEXT": 'TEXT COLLATE "C"',
    }
    replanned: ClassVar = {"prepare": False}
    conversions: ClassVar = {**Backend.conversions, UtcDateTimeField: None, BooleanField: None}

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.database_timeout
        url = settings.database_url.replace("postgres://", "postgresql://", 1)
        super().__init__(url, prefer_psycopg3=True)

    def _connect(self) -> Connection:
        milliseconds = int(self._timeout * 1000)
        given = psycopg.conninfo.conninfo_to_dict(self.database)
        ours: dict[str, Any] = {
            "autocommit": True,
            "context": SimpleNamespace(adapters=ADAPTERS, connection=None),
            "connect_timeout": max(2, int(self._timeout)),  # libpq waits no less than two seconds.
            "tcp_user_timeout": milliseconds,
        }
        # A search of ten million contacts remembers places in a hundred thousand pages, and takes too little time for
        # compiling its conditions to pay.
        options = f"-c statement_timeout={milliseconds} -c timezone=UTC -c {_OPTIONS_HEEDED}=yes"
        options += r" -c work_mem=32MB -c jit=off -c default_transaction_isolation=read\ committed"
        try:
            opened = Connection.connect(self.database, **ours, options=f"{options} {given.get('options', '')}".strip())
        except psycopg.OperationalError as error:
            if "startup parameter" not in str(error):
                raise
            opened = None
        opened = opened or Connection.connect(self.database, **ours)  # PgBouncer refuses options in every mode.
        opened.patience = self._timeout + GRACE_SECONDS
        # At another level a writer that waited for a lock would go on with what it read before.
        opened.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        if opened.info.parameter_status("TimeZone") != "UTC":  # A pooler may leave the server's own.
            opened.adapters.register_loader("timestamptz", TimestamptzInUtcLoader)
        try:
            for name, value in _PINNED.items():
                # PgBouncer keeps these for each of its clients, even in transaction mode.
                if not (opened.info.parameter_status(name) or "").startswith(value):
                    opened.execute(f"SET {name} = '{value}'")
            _require_utf8(opened)
            [(heeded,)] = opened.execute("SELECT current_setting(%s, true)", [_OPTIONS_HEEDED]).fetchall()
        except (psycopg.Error, InvalidSetting):
            opened.close()
            raise
        if not heeded:
            # A pooler that ignores options. It may give each transaction another server connection, on which nothing
            # is prepared.
            opened.prepare_threshold = None
            opened.heeds_options = False
        return opened

    def begin(self, isolation_level: str | None = None) -> None:  # noqa: ARG002 - The connection has it.
        """Have the driver begin a transaction before the next statement: a cursor takes three times as long."""
        self._state.conn.autocommit = False

    def commit(self) -> None:
        with self.committing():
            self._state.conn.commit()
        self._state.conn.autocommit = True

    def rollback(self) -> None:
        self._state.conn.rollback()
        self._state.conn.autocommit = True

    def alone(self) -> contextlib.AbstractContextManager[Any]:
        """Run a statement that commits by itself, unless it would run at another isolation level than ours."""
        return self.committing() if self._state.conn.heeds_options else self.atomic()

    @contextlib.contextmanager
    def committing(self) -> Iterator[None]:
        """Leave the server alone if it is silent for too long."""
        connection = self._state.conn
        connection.is_committing = True
        try:
            yield
        finally:
            connection.is_committing = False

    def is_stale(self) -> bool:
        """Whether the connection was lost while idle, without asking the server.

        A server that closed the connection has said so on the socket, which is otherwise silent while idle.
        """
        connection = self._state.conn
        if connection.closed or connection.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return True
        socket = select.poll()
        socket.register(connection.fileno(), select.POLLIN)
        return bool(socket.poll(0))

    def is_fault(self, error: BaseException) -> bool:
        """Whether the server can't work, as opposed to a wrong statement."""
        if not isinstance(error, psycopg.Error):
            return isinstance(error, InvalidSetting)
        if error.sqlstate is None:  # The connection failed, or the driver refused what we gave it.
            return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        is_wrong_statement = error.sqlstate[:2] in _WRONG_STATEMENTS and error.sqlstate not in _FAULTS
        return not is_wrong_statement or self.lacks_tables(error)

    def byte_length(self, document: Any) -> Any:
        """The size of a document."""
        return fn.OCTET_LENGTH(document.cast("TEXT"))

    def is_conflict(self, fault: BaseException) -> bool:
        """Whether it is a deadlock that this transaction has to end, or a unique key that another one got first."""
        return getattr(fault, "sqlstate", None) in _CONFLICTS

    def lacks_tables(self, error: BaseException) -> bool:
        """Whether our tables are gone, as when the database was replaced by another."""
        return isinstance(error, psycopg.Error) and error.sqlstate in _LACKS_TABLES

    def explain(self, fault: BaseException) -> tuple[str | None, str]:
        """What callers and what operators are told of a fault; None for no more than that it can't answer."""
        if code := getattr(fault, "sqlstate", None):
            # PostgreSQL quotes values below the first line.
            return _CAUSES.get(code), f"{str(fault).partition(chr(10))[0]} (SQLSTATE {code})"
        text = " ".join(str(fault).split())
        refused = text.partition("FATAL: ")[2] or text
        code = next((code for begin, code in _CONNECTING.items() if begin in refused), "")
        return _CAUSES.get(code), text

    @contextlib.contextmanager
    def migrating(self) -> Iterator[None]:
        """Wait as long as a step takes."""
        connection = self.connection()
        connection.patience = None
        try:
            yield
        finally:
            connection.patience = self._timeout + GRACE_SECONDS

    def lock_migrations(self) -> None:
        self.execute_sql("SET LOCAL statement_timeout = 0")
        self.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))

    def lock_out_writers(self, table: str) -> None:
        self.execute_sql(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")

    def lock_key(self, *keys: str) -> None:
        sql = "SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) FROM unnest(CAST(%s AS text[])) AS key"
        self.connection().execute(sql, ([*keys],))

    def next_keys(self, table: str, count: int) -> list[int]:
        sql = "SELECT nextval(pg_get_serial_sequence(%s, 'pk')) FROM generate_series(1, %s)"
        return sorted(key for (key,) in self.execute_sql(sql, (table, count)))

    def copy_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Use COPY, which runs triggers too."""
        sql = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with self.connection().cursor() as cursor, cursor.copy(sql) as copy:
            for row in rows:
                copy.write_row(row)

    def keys_of(self, array: Any) -> tuple[Any, ...]:
        """As an array, of which the planner expects few."""
        return SQL("= ANY(ARRAY(SELECT CAST(json_array_elements_text(CAST("), array, SQL("AS json)) AS bigint)))")

    def try_lock_key(self, key: str) -> bool:
        return bool(self.execute_sql("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (key,)).fetchone()[0])

    def locked(self, query: Any, *, skip_locked: bool = False) -> Any:
        return query.for_update("FOR UPDATE SKIP LOCKED" if skip_locked else "FOR UPDATE")


def _require_utf8(connection: Connection) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise InvalidSetting(f"DATABASE_URL names a database whose encoding is {encoding}: it must be UTF8.")
