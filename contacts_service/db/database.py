"""The database of this process, and the two ways to use it: reading and writing."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from time import monotonic, perf_counter
from typing import ParamSpec, TypeVar

import psycopg
from peewee import DatabaseProxy, Model, PeeweeException

from contacts_service.db.postgresql import PostgresqlBackend
from contacts_service.db.sqlite import SqliteBackend
from contacts_service.errors import Unavailable
from contacts_service.metrics import BUSY_CONNECTIONS, DATABASE_FAULTS, DATABASE_SECONDS, OPEN_CONNECTIONS
from contacts_service.settings import InvalidSetting, Settings

database = DatabaseProxy()
_P = ParamSpec("_P")
_R = TypeVar("_R")
_MAX_ATTEMPTS = 10
_ERRORS = (PeeweeException, sqlite3.Error, psycopg.Error, InvalidSetting)
_READING_SECONDS, _WRITING_SECONDS = DATABASE_SECONDS.labels("reading"), DATABASE_SECONDS.labels("writing")


class BaseModel(Model):
    """A table of the database of this process."""

    class Meta:
        database = database
        legacy_table_names = False


class ConcurrentChange(Unavailable):
    """Another transaction changed what this one had read. The next attempt reads what the other one wrote."""


class Bulkhead:
    """Slots for all threads but one, so that ``/healthz`` always answers.

    A thread without a slot waits, unless the oldest holder seems stuck.
    """

    def __init__(self, threads: int, patience: float) -> None:
        self._slots = max(1, threads - 1)
        self._patience = patience  # Seconds after which the holder of a slot counts as stuck.
        self._changed = threading.Condition()
        self._held_since: dict[int, float] = {}  # By thread.

    def enter(self) -> bool:
        """Take a slot; False if this thread holds one already. Raises Unavailable."""
        thread = threading.get_ident()
        if thread in self._held_since:
            return False
        with self._changed:
            while len(self._held_since) >= self._slots:
                left = min(self._held_since.values()) + self._patience - monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise Unavailable("all threads but one wait for the database already")
            self._held_since[thread] = monotonic()
        return True

    def leave(self) -> None:
        with self._changed:
            del self._held_since[threading.get_ident()]
            self._changed.notify()


def connect(settings: Settings) -> SqliteBackend | PostgresqlBackend:
    """Choose the database of this process. It is opened by its first use."""
    backend = SqliteBackend(settings) if settings.sqlite_path else PostgresqlBackend(settings)
    backend.bulkhead = Bulkhead(settings.threads, settings.database_timeout / 2)
    database.initialize(backend)
    return backend


def retried(use_case: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a use case again when it raises ConcurrentChange. Raises Unavailable if that doesn't help.

    What an attempt wrote is rolled back and the locks that it took are released, also within another transaction.
    """

    @wraps(use_case)
    def attempt(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        for _ in range(_MAX_ATTEMPTS):
            try:
                return use_case(*args, **kwargs)
            except ConcurrentChange:
                continue
        raise Unavailable

    return attempt


@contextmanager
def _use_case(*, writes: bool, one_statement: bool = False) -> Iterator[None]:
    backend = database.obj
    if backend.in_transaction():
        with backend.atomic() if writes else nullcontext():
            yield
        return
    holds_slot = backend.bulkhead.enter()
    BUSY_CONNECTIONS.inc()
    backend.use_case.began = began = perf_counter()
    try:
        with backend.writer_turn() if writes else nullcontext():
            if backend.is_closed() or backend.is_stale():
                close_connection()
                backend.connect()
                OPEN_CONNECTIONS.inc()
            with nullcontext() if not writes else backend.alone() if one_statement else backend.atomic():
                yield
    except _ERRORS as error:
        _raise_if_fault(error)
        raise
    finally:
        (_WRITING_SECONDS if writes else _READING_SECONDS).observe(perf_counter() - began)
        BUSY_CONNECTIONS.dec()
        if holds_slot:
            backend.bulkhead.leave()


reading = partial(_use_case, writes=False)
"""Hold this thread's connection. Each query sees what was committed when it began. Raises Unavailable."""
writing = partial(_use_case, writes=True)
"""Hold a transaction that commits at the end, or rolls back if anything is raised. Raises Unavailable.

Within another transaction it is a savepoint. ``one_statement``: only one statement writes, the first. It commits by
itself, which saves those that begin and commit a transaction.
"""


def close_connection() -> None:
    if database.close():
        OPEN_CONNECTIONS.dec()


def _raise_if_fault(error: BaseException) -> None:
    """Raise Unavailable if the database is at fault. What we asked wrongly is a bug and stays as it is."""
    fault: BaseException | None = error
    while fault is not None and not database.is_fault(fault) and not database.is_conflict(fault):
        fault = fault.__cause__ or fault.__context__  # An error may have followed from the fault.
    if fault is None:
        return
    if database.is_conflict(fault):
        raise ConcurrentChange from error
    DATABASE_FAULTS.inc()
    close_connection()  # The next use case begins with a new connection, perhaps to another server.
    if database.lacks_tables(fault):
        database.obj.is_migrated = False
    message, details = database.explain(fault)
    raise Unavailable(details, message) from fault
