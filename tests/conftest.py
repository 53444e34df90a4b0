"""Fixtures: a database of each kind, the application on it, and a caller that checks every response."""

import contextlib
import gc
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from unittest import mock

import psycopg
import pytest
import uuid_utils
from flask import Flask
from helpers.caller import Caller
from helpers.databases import KINDS, Databases, empty, in_memory, start_postgresql, with_user
from helpers.service import Service, serve
from peewee import fn

from contacts_service.app import create_app, prepare
from contacts_service.contacts.tables import Contact, ContactCount, ContactTombstone
from contacts_service.db.database import connect, database, reading
from contacts_service.flows.tables import Flow
from contacts_service.keys.keyring import Keyring
from contacts_service.keys.tables import ApiKey
from contacts_service.settings import Settings
from contacts_service.web.stored_responses import StoredResponse


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Start one PostgreSQL server for all workers, before they start and inherit the environment."""
    if not os.environ.get("TEST_DATABASE_URL"):
        os.environ["TEST_DATABASE_URL"] = start_postgresql()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"services", "own_service"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("processes")


def pytest_collection_finish() -> None:
    """Spare the garbage collector the thousands of tests that stay until the end."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Let only tests with the marker ``processes`` start any, so that `make test-fast` keeps its promise."""
    if item.get_closest_marker("processes"):
        return (yield)
    with mock.patch("subprocess.Popen", side_effect=AssertionError("this test needs the marker `processes`")):
        return (yield)


@pytest.fixture(autouse=True, scope="session")
def unmeasured_processes() -> None:
    """Leave processes that tests start out of the coverage: it measures the tests' own, and slows others down."""
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    with tempfile.TemporaryDirectory(prefix="contacts-tests-", dir=in_memory()) as folder:
        yield Databases(Path(folder))


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
        for table in (Contact, ContactTombstone, Flow, ApiKey, StoredResponse):
            table.delete().execute()
        sums = fn.SUM(ContactCount.contacts), fn.SUM(ContactCount.unassigned)
        totals = ContactCount.select(*sums).group_by(ContactCount.account).tuples()
        assert set(totals) <= {(0, 0)}, "triggers keep the counts"
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


@pytest.fixture
def empty_database(kind: str, databases: Databases, app: Flask) -> str:  # noqa: ARG001 - app restores the connection.
    """The URL of a new database without tables, which the process is connected to."""
    url = databases.create(kind)
    connect(Settings(database_url=url))
    return url


@pytest.fixture
def role_url(databases: Databases) -> Iterator[Callable[..., str]]:
    """Makes a PostgreSQL database for a role of its own, with settings of its own, and returns the URL."""
    roles: list[str] = []

    def create(*, may_create: bool = True, **settings: str) -> str:
        role, url = f"role_{uuid_utils.uuid7().hex}", databases.create("postgresql")
        roles.append(role)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'role'")
            if may_create:
                connection.execute(f"GRANT ALL ON SCHEMA public TO {role}")
            for name, value in settings.items():
                connection.execute(f"ALTER ROLE {role} SET {name} = '{value}'")
        return with_user(url, role, "role")

    yield create
    with psycopg.connect(databases.server_url, autocommit=True) as connection:
        for role in roles:
            connection.execute(f"ALTER ROLE {role} NOLOGIN")


@pytest.fixture(scope="session")
def services(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Starts a service at the first use of these settings on this kind of database, and keeps it for later tests."""
    running: dict[str, Service] = {}

    with contextlib.ExitStack() as stack:

        def running_on(kind: str, **environment: str) -> Service:
            wanted = f"{kind} {environment}"
            if wanted not in running:
                folder = tmp_path_factory.mktemp("service")
                running[wanted] = stack.enter_context(serve(databases.create(kind), folder, **environment))
            service = running[wanted]
            empty(service.database_url)
            service.earlier_log = service.log.stat().st_size
            return service

        yield running_on


@pytest.fixture
def service(kind: str, services: Callable[..., Service]) -> Service:
    """The running service on an empty database of each kind.

    Other tests use it too: one that stops it, reads its metrics or makes keys takes ``own_service``.
    """
    return services(kind)


@pytest.fixture
def own_service(kind: str, databases: Databases, tmp_path: Path) -> Iterator[Service]:
    """A running service of the test's own, on a new database of each kind."""
    with serve(databases.create(kind), tmp_path) as running:
        yield running
