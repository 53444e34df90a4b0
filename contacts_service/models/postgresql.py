"""PostgreSQL 15 or newer, through psycopg 3. See sqlite.py for the same on SQLite."""

import contextlib
import select
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import psycopg
from peewee import SQL, Field, Node, NodeList, PostgresqlDatabase, fn

from contacts_service.models.admission import Admission
from contacts_service.models.conditions import (
    AMONG_ACCOUNTS,
    AMONG_ALL,
    GRAMS,
    NO_ACCOUNT,
    all_of,
    grams_of,
    matching,
    search_values,
)
from contacts_service.models.fields import JSONText, JSONTextField
from contacts_service.models.postgresql_connection import ADAPTERS, GRACE, Connection, InUtc
from contacts_service.settings import Settings

_MIGRATION_LOCK = 0x636F6E7461637473  # "contacts" in ASCII: any number that other programs don't lock.
# Classes of SQLSTATE (PostgreSQL documentation, appendix A) that say that a statement was wrong, not that the server
# is in trouble: features, data, constraints, transaction state, syntax and privileges.
_OUR_MISTAKES = {"0A", "21", "22", "23", "25", "2D", "3B", "3F", "42", "44"}
_NOT_THERE = {"42P01", "42703", "3F000", "3D000", "42501"}  # No such table, column, schema, database; no privilege.
# Read-only: a standby, or a primary that was told so; transactions that took or waited too long for the server; a
# prepared statement that is there already, behind a pooler that says nothing of itself.
_FAULTS = {"25006", "25P03", "25P04", "42P05"}

_HEEDED = "contacts.options_are_heeded"  # A setting of our own, which no server has by itself.
_LONGEST_GRAM, _SHORTEST_BEGINNING = 6, 3  # See migration 0005.
_FOUND = "contact_grams(search_text) @@ CAST(%s AS tsquery)"


class PostgresqlBackend(PostgresqlDatabase):
    """A connection a thread, kept open; one that was cut is replaced before it is used."""

    kind = "postgresql"
    admission: Admission
    field_types = {
        **PostgresqlDatabase.field_types,
        "TIMESTAMPTZ": "TIMESTAMPTZ",
        "JSONTEXT": "JSON",
        "ORDEREDTEXT": 'TEXT COLLATE "C"',
    }

    # From what the driver returns to our values, where they differ.
    conversions: ClassVar = {JSONTextField: JSONText}

    def __init__(self, settings: Settings) -> None:
        self.is_migrated = False
        self._timeout = settings.database_timeout
        super().__init__(settings.database_url.replace("postgres://", "postgresql://", 1), prefer_psycopg3=True)
        self._lock = contextlib.nullcontext()  # Or threads would wait for one another's connections to be opened.

    def _connect(self) -> Connection:
        milliseconds = int(self._timeout * 1000)
        given = psycopg.conninfo.conninfo_to_dict(self.database)
        ours: dict[str, Any] = {
            "autocommit": True,
            "context": SimpleNamespace(adapters=ADAPTERS, connection=None),
            "connect_timeout": max(2, int(self._timeout)),  # libpq waits no less than two seconds.
            "tcp_user_timeout": milliseconds,
        }
        # A search of ten million contacts remembers places of a hundred thousand pages, and takes too little time for
        # compiling its conditions to pay. No query is meant to read a table from end to end: the planner would, where
        # most contacts match a search, and make grams of each row again, as it doesn't know that the index spares it.
        options = f"-c statement_timeout={milliseconds} -c timezone=UTC -c {_HEEDED}=yes"
        options += " -c work_mem=32MB -c jit=off -c enable_seqscan=off"
        try:
            opened = Connection.connect(self.database, **ours, options=f"{options} {given.get('options', '')}".strip())
        except psycopg.OperationalError as error:
            if "startup parameter" not in str(error):
                raise
            # PgBouncer, which doesn't know what to do with options in any mode.
            opened = Connection.connect(self.database, **ours)
        opened.patience = self._timeout + GRACE
        if opened.info.parameter_status("TimeZone") != "UTC":  # A pooler may leave the server's own.
            opened.adapters.register_loader("timestamptz", InUtc)
        try:
            [(heeded,)] = opened.execute("SELECT current_setting(%s, true)", [_HEEDED]).fetchall()
        except psycopg.Error:
            opened.close()
            raise
        if not heeded:
            # A pooler is between that was told to ignore options. It may give each transaction another server
            # connection, on which nothing is prepared.
            opened.prepare_threshold = None
        return opened

    def commit(self) -> None:
        connection = self._state.conn
        connection.is_committing = True
        try:
            super().commit()
        finally:
            connection.is_committing = False

    def is_stale(self) -> bool:
        """Tell whether the connection was lost while it was idle, without asking the server.

        A server that has gone says so on the socket, which is otherwise silent while nothing is asked.
        """
        connection = self._state.conn
        if connection.closed or connection.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return True
        socket = select.poll()
        socket.register(connection.fileno(), select.POLLIN)
        return bool(socket.poll(0))

    def is_fault(self, error: BaseException) -> bool:
        """Tell a server that can't work from a statement that can't."""
        if not isinstance(error, psycopg.Error):
            return False
        if error.sqlstate is None:  # The connection failed, or the driver refused what we gave it.
            return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        is_ours = error.sqlstate[:2] in _OUR_MISTAKES and error.sqlstate not in _FAULTS
        return not is_ours or self.lacks_tables(error)

    def lacks_tables(self, error: BaseException) -> bool:
        """Tell whether somebody put another database in the place of ours."""
        return isinstance(error, psycopg.Error) and error.sqlstate in _NOT_THERE

    @contextlib.contextmanager
    def migrating(self) -> Iterator[None]:
        """Wait as long as a step takes."""
        connection = self.connection()
        connection.patience = None
        try:
            yield
        finally:
            connection.patience = self._timeout + GRACE

    def check_migrated(self) -> None:
        """Check nothing: foreign keys held all the time."""

    def lock_migrations(self) -> None:
        """Wait for other migrators until the end of the transaction, for as long as it takes."""
        self.execute_sql("SET LOCAL statement_timeout = 0")
        self.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))

    def turn_to_write(self) -> contextlib.AbstractContextManager[None]:
        """Do nothing: PostgreSQL has many writers, and lets those who wait for a row in one after the other."""
        return contextlib.nullcontext()

    def lock_key(self, key: str) -> None:
        """Wait for other transactions that hold the key."""
        self.execute_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))

    def try_lock_key(self, key: str) -> bool:
        """Take the key, or tell that another transaction holds it."""
        return bool(self.execute_sql("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (key,)).fetchone()[0])

    def execute_planned(self, sql: str, parameters: list[Any]) -> Any:
        """Run a query by a plan for these very values: the best way for others may take long for them."""
        self._log_query(sql, parameters)
        return self.connection().execute(sql, parameters, prepare=False)

    def locked(self, query: Any, *, skip: bool = False) -> Any:
        """Keep others from writing to the rows that a query reads; ``skip`` leaves out those that others hold."""
        return query.for_update("FOR UPDATE SKIP LOCKED" if skip else "FOR UPDATE")

    def search_values(self, terms: list[str], *, by_row: bool = False) -> dict[str, str]:
        """Split terms into a tsquery and those that rows are compared with."""
        return search_values(terms, by_row=by_row, longest_gram=_LONGEST_GRAM, query=_query)

    def count_matches(self, searches: list[dict[str, str]], accounts: list[str] | None) -> tuple[int, int]:
        """Count what matches any of these searches, and about all contacts of these accounts."""
        parts: list[str] = []  # Of text that is all our own; what callers send are parameters.
        parameters: list[Any] = []
        among = AMONG_ALL
        for values in searches:
            tests = [_FOUND if kind == GRAMS else "STRPOS(search_text, %s) > 0" for kind in values]
            parameters += values.values()
            if accounts is not None:
                tests.append(f"COALESCE(CAST(account_id AS text), '{NO_ACCOUNT}') = ANY(%s)")
                parameters.append(accounts)
            parts.append(f"SELECT contact_id FROM contact_search WHERE {' AND '.join(tests)}")  # noqa: S608  # nosec B608
        if accounts is not None:
            among = f"{AMONG_ACCOUNTS} = ANY(%s)"
            parameters = [accounts, *parameters]
        # A union: with OR it would make the grams of each row again, to find out which alternative a row is of.
        counted = f"SELECT COUNT(*), ({among}) FROM ({' UNION '.join(parts)}) AS found"  # noqa: S608  # nosec B608
        total, contacts = self.execute_sql(counted, parameters).fetchone()
        return total, int(contacts)

    def matches(self, pk: Field, search_text: Field, values: dict[str, Any], tagged: Any = None) -> Node:
        """Make the condition that a row's search text has every term as a substring, and its key is one of a query."""

        def found(query: Any) -> Node:
            # As an array: of a subquery the planner expects too many rows, and would rather read the whole table.
            # And of few rows of an array, so that it would look each up among the tagged.
            rows = (
                SQL("(ARRAY(SELECT contact_id FROM contact_search WHERE contact_grams(search_text) @@ CAST("),
                query,
            )
            narrowed = () if tagged is None else (SQL("INTERSECT"), tagged)
            return NodeList((pk, SQL("= ANY"), NodeList((*rows, SQL("AS tsquery)"), *narrowed, SQL("))")))))

        condition = matching(values, found=found, has=lambda term: fn.STRPOS(search_text, term) > 0)
        return condition if tagged is None or GRAMS in values else all_of([pk.in_(tagged), condition])


def _query(terms: list[str]) -> str:
    return " & ".join(_lexeme(gram) for term in terms for gram in grams_of(term, _LONGEST_GRAM))


def _lexeme(gram: str) -> str:
    escaped = gram.replace("\\", r"\\").replace("'", "''")
    if len(gram) < _SHORTEST_BEGINNING:
        return f"' {escaped}'"
    return f"'{escaped}'" if len(gram) == _LONGEST_GRAM else f"'{escaped}':*"
