"""The database of this process, and the two ways to use it: reading and writing."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import psycopg
from peewee import DatabaseProxy, Model, PeeweeException

from contacts_service.errors import Unavailable
from contacts_service.metrics import BUSY_CONNECTIONS, DATABASE_FAULTS, DATABASE_SECONDS, OPEN_CONNECTIONS
from contacts_service.models.admission import Admission
from contacts_service.models.postgresql import PostgresqlBackend
from contacts_service.models.sqlite import SqliteBackend
from contacts_service.settings import Settings

database = DatabaseProxy()
_ERRORS = (PeeweeException, sqlite3.Error, psycopg.Error)
_READING_SECONDS, _WRITING_SECONDS = DATABASE_SECONDS.labels("reading"), DATABASE_SECONDS.labels("writing")


class Table(Model):
    """What every table of the service has in common: its database."""

    class Meta:
        database = database
        legacy_table_names = False


def connect(settings: Settings) -> SqliteBackend | PostgresqlBackend:
    """Choose the database of this process. Nothing is opened before it is used."""
    chosen = SqliteBackend(settings) if settings.sqlite_path else PostgresqlBackend(settings)
    chosen.admission = Admission(settings.threads, settings.database_timeout / 2)
    database.initialize(chosen)
    return chosen


@contextmanager
def reading() -> Iterator[None]:
    """Hold this thread's connection. Each query sees what was committed when it began. Raises Unavailable."""
    if database.in_transaction():  # A part of a greater transaction.
        yield
        return
    with _Place(), _Measured(_READING_SECONDS):
        try:
            _open_connection()
            yield
        except _ERRORS as error:
            _tell_fault(error)
            raise


@contextmanager
def writing() -> Iterator[None]:
    """Hold a transaction that commits at the end, or rolls back when anything is raised. Raises Unavailable."""
    if database.in_transaction():
        with database.atomic():
            yield
        return
    with _Place(), _Measured(_WRITING_SECONDS), database.turn_to_write():
        try:
            _open_connection()
            with database.atomic():
                yield
        except _ERRORS as error:
            _tell_fault(error)
            raise


def lock_key(key: str) -> None:
    """Wait until no other transaction holds this key, and hold it until this one ends."""
    database.lock_key(key)


def try_lock_key(key: str) -> bool:
    """Hold this key until the transaction ends, or tell that another transaction holds it."""
    return bool(database.try_lock_key(key))


def locked(query: Any, *, skip: bool = False) -> Any:
    """Keep others from writing to the rows that a query reads until the transaction ends.

    Rows that others hold are waited for, or with ``skip`` left out.
    """
    return database.locked(query, skip=skip)


def _open_connection() -> None:
    backend = database.obj
    if not backend.is_closed():
        if not backend.is_stale():
            return
        close_connection()
    backend.connect()
    OPEN_CONNECTIONS.inc()


def _tell_fault(error: Exception) -> None:
    """Raise Unavailable if the database is at fault, rather than what we asked of it."""
    fault = _fault_in(error)
    if fault is None:
        return
    DATABASE_FAULTS.inc()
    close_connection()  # The next request begins with a new one, perhaps to another server.
    if database.lacks_tables(fault):
        database.obj.is_migrated = False
    raise Unavailable(fault) from error


def close_connection() -> None:
    """Close this thread's connection, if it has one."""
    if database.close():
        OPEN_CONNECTIONS.dec()


class _Place:
    """Hold a place among those that may wait for the database; what is a part of a use case has one already."""

    def __enter__(self) -> None:
        self._admission = database.admission
        self._is_new = self._admission.enter()

    def __exit__(self, *_: object) -> None:
        if self._is_new:
            self._admission.leave()


class _Measured:
    def __init__(self, histogram: Any) -> None:
        self._histogram = histogram

    def __enter__(self) -> None:
        BUSY_CONNECTIONS.inc()
        self._began = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._histogram.observe(perf_counter() - self._began)
        BUSY_CONNECTIONS.dec()


def _fault_in(error: BaseException) -> BaseException | None:
    """Find the fault of the database behind an error, which may be one that followed from it."""
    found: BaseException | None = error
    while found is not None and not database.is_fault(found):
        found = found.__cause__ or found.__context__
    return found
