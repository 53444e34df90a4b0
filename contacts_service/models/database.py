"""The database of this process, and the two ways to use it: reading and writing."""

from collections.abc import Iterator
from contextlib import contextmanager

from peewee import (
    DatabaseError,
    DatabaseProxy,
    DataError,
    IntegrityError,
    InterfaceError,
    Model,
    NotSupportedError,
    ProgrammingError,
)
from playhouse.pool import MaxConnectionsExceeded

from contacts_service.errors import Unavailable
from contacts_service.models.backends import PostgresqlBackend, SqliteBackend
from contacts_service.settings import Settings

database = DatabaseProxy()


class Table(Model):
    """What every table of the service has in common: its database."""

    class Meta:
        database = database
        legacy_table_names = False


def connect(settings: Settings) -> SqliteBackend | PostgresqlBackend:
    """Choose the database of this process. Nothing is opened before it is used."""
    chosen = SqliteBackend(settings) if settings.sqlite_path else PostgresqlBackend(settings)
    database.initialize(chosen)
    return chosen


@contextmanager
def _unavailable_when_it_fails() -> Iterator[None]:
    """Faults of the database itself become Unavailable; faults in what we asked of it stay what they are."""
    try:
        yield
    except (IntegrityError, DataError, ProgrammingError, NotSupportedError):
        raise
    except (DatabaseError, InterfaceError) as error:
        if database.is_our_mistake(error):
            raise
        raise Unavailable from error
    except MaxConnectionsExceeded as error:
        raise Unavailable from error


@contextmanager
def reading() -> Iterator[None]:
    """Hold a connection. Each query sees what was committed when it began."""
    with _unavailable_when_it_fails(), database.connection_context():
        yield


@contextmanager
def writing() -> Iterator[None]:
    """Hold a connection and a transaction that commits at the end, or rolls back when anything is raised."""
    with _unavailable_when_it_fails(), database.connection_context(), database.atomic():
        yield


def lock_key(key: str) -> None:
    """Wait until no other transaction holds this key, and hold it until this one ends."""
    database.lock_key(key)
