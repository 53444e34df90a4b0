"""Faults of the database: an honest 503 within a bounded time, and work goes on when it is back."""

import contextlib
import socket
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from caller import Caller
from conftest import Databases, Service, serve
from flask import Flask
from test_races import call

from contacts_service.app import create_app, prepare
from contacts_service.models.database import database
from contacts_service.settings import Settings

BODY = {"phone_number": "+1234567890"}


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold what every writer needs, as a stuck program would."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
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


def cut_connections() -> None:
    with psycopg.connect(database.database) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture
def impatient(kind: str, databases: Databases, app: Flask) -> tuple[Flask, str]:
    """An application that waits half a second for its database, and the database's URL."""
    assert app, "it restores the database"
    url = databases.create(kind)
    impatient = create_app(Settings(database_url=url, database_timeout=0.5))
    prepare(impatient)
    return impatient, url


def test_a_locked_database_is_503_in_bounded_time_and_then_works_again(impatient: tuple[Flask, str]) -> None:
    app, url = impatient
    caller = Caller(app)
    with locked(url):
        began = time.monotonic()
        answer = caller.post("/api/contacts", BODY)
        assert time.monotonic() - began < 5
        assert (answer.status, answer.code) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.errors == {}
    assert caller.post("/api/contacts", BODY).status == 201


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_connections_that_were_cut_while_idle_are_not_used_again(app: Flask) -> None:
    caller = Caller(app)
    caller.post("/api/contacts", BODY)
    cut_connections()
    assert caller.get("/api/contacts").data["total"] == 1


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # SQLite has no connection that could be cut.
def test_a_connection_cut_in_the_middle_of_a_request_is_503_and_the_next_request_works(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = Caller(app)
    execute = type(database.obj).execute_sql

    def cut_first(self: object, sql: str, *args: object) -> object:
        cut_connections()
        return execute(self, sql, *args)

    monkeypatch.setattr(type(database.obj), "execute_sql", cut_first)
    answer = caller.post("/api/contacts", BODY)
    assert (answer.status, answer.code) == (503, "unavailable")
    monkeypatch.undo()
    assert caller.post("/api/contacts", BODY).status == 201


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_service_starts_without_its_database_and_works_when_it_comes(
    kind: str, databases: Databases, tmp_path: Path
) -> None:
    url = databases.create(kind)
    if kind == "sqlite":
        place = tmp_path / "mounted later"
        place.write_text("not a folder yet")
        url = f"sqlite:///{place}/contacts.db"
    else:
        name = url.rpartition("/test_")[2].partition("?")[0]
        with psycopg.connect(databases.server_url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE test_{name} RENAME TO away_{name}")
    with serve(url, tmp_path) as service:
        assert status_of(f"{service.url}/healthz") == 200
        assert status_of(f"{service.url}/readyz") == 503
        assert status_of(f"{service.url}/api/contacts") == 503
        for path in ("/docs", "/docs/swagger-ui.css", "/openapi.json"):
            assert status_of(f"{service.url}{path}") == 200
        assert status_of(f"{service.url}/nothing") == 404
        if kind == "sqlite":
            place.unlink()
            place.mkdir()
        else:
            with psycopg.connect(databases.server_url, autocommit=True) as connection:
                connection.execute(f"ALTER DATABASE away_{name} RENAME TO test_{name}")
        assert status_of(f"{service.url}/readyz") == 200
        assert status_of(f"{service.url}/api/contacts") == 200


def wait_until_it_refuses(service: Service) -> None:
    """Connections are refused, not taken and left without an answer: a caller can turn to another replica at once."""
    deadline = time.monotonic() + 5
    while True:
        try:
            socket.create_connection(("127.0.0.1", urlsplit(service.url).port), timeout=5).close()
        except ConnectionRefusedError:
            return
        except ConnectionError:  # Shut between the two.
            continue
        assert time.monotonic() < deadline, "it listens although it is about to end"


def test_waiting_for_the_database_is_bounded_for_many_callers_and_health_goes_on(
    kind: str, databases: Databases, tmp_path: Path
) -> None:
    url = databases.create(kind)
    with serve(url, tmp_path, CONTACTS_DATABASE_TIMEOUT="2", WEB_CONCURRENCY="1") as service, locked(url):
        took: list[float] = []

        def create(number: int) -> None:
            began = time.monotonic()
            status, _ = call(service, "POST", "/api/contacts", {"phone_number": f"+12345678{number:02}"})
            assert status == 503
            took.append(time.monotonic() - began)

        callers = [threading.Thread(target=create, args=(number,)) for number in range(20)]
        for caller in callers:
            caller.start()
        began = time.monotonic()
        assert [status_of(f"{service.url}/healthz") for _ in range(10)] == [200] * 10
        assert time.monotonic() - began < 5
        for caller in callers:
            caller.join()
        assert len(took) == 20
        assert max(took) < 8, "by turns of two seconds for each four the last would wait ten"


def test_a_request_in_flight_is_finished_when_the_service_is_stopped(service: Service) -> None:
    body = b'{"phone_number": "+1234567890"}'
    head = (
        "POST /api/contacts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", urlsplit(service.url).port), timeout=30) as connection:
        connection.sendall(head.encode())
        assert b"100 Continue" in connection.recv(1000), "a thread has begun with the request"
        service.process.terminate()
        wait_until_it_refuses(service)
        connection.sendall(body)
        assert b"201 CREATED" in connection.recv(1000)
    assert service.process.wait(timeout=40) == 0
