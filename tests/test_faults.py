"""Unreachable databases: a 503 within a bounded time, and recovery when the database is back."""

import socket
import threading
import time
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.databases import Databases, blocked_writes
from helpers.service import Service, call, serve, status_of
from peewee import OperationalError

from contacts_service.app import create_app, prepare
from contacts_service.db.database import database, reading, writing
from contacts_service.errors import Unavailable
from contacts_service.settings import Settings

BODY = {"phone_number": "+1234567890"}


def close_connections() -> None:
    with psycopg.connect(database.database) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture
def short_timeout_app(kind: str, databases: Databases, app: Flask) -> tuple[Flask, str]:
    """An application with a database timeout of half a second, and its database's URL."""
    assert app, "the fixture restores the connection"
    url = databases.create(kind)
    application = create_app(Settings(database_url=url, database_timeout=0.5))
    prepare(application)
    return application, url


def test_locked_database_is_503_in_bounded_time_and_recovers(short_timeout_app: tuple[Flask, str]) -> None:
    app, url = short_timeout_app
    caller = Caller(app)
    with blocked_writes(url):
        began = time.monotonic()
        response = caller.post("/api/contacts", BODY)
        assert time.monotonic() - began < 5
        assert (response.status, response.code) == (503, "unavailable")
        assert int(response.headers["Retry-After"]) >= 1
        assert response.errors == {}
    assert caller.post("/api/contacts", BODY).status == 201


ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT count(*) FROM n"
ENDLESS_INSERT = {
    "sqlite": [f"CREATE TRIGGER endless BEFORE INSERT ON contact BEGIN SELECT ({ENDLESS}); END"],
    "postgresql": [
        f"CREATE FUNCTION endless() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM ({ENDLESS}); END $$",
        "CREATE TRIGGER endless BEFORE INSERT ON contact FOR EACH ROW EXECUTE FUNCTION endless()",
    ],
}


def test_endless_statement_is_503_and_its_transaction_undone(short_timeout_app: tuple[Flask, str], kind: str) -> None:
    app, _ = short_timeout_app
    caller = Caller(app)
    with pytest.raises(Unavailable), reading():
        database.execute_sql(ENDLESS).fetchall()
    with writing():
        for statement in ENDLESS_INSERT[kind]:
            database.execute_sql(statement)
    response = caller.post("/api/contacts", BODY, {"Idempotency-Key": "a"})
    assert (response.status, response.code) == (503, "unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    with writing():
        database.execute_sql("DROP TRIGGER endless" + " ON contact" * (kind == "postgresql"))
    assert caller.post("/api/contacts", BODY, {"Idempotency-Key": "a"}).status == 201, "it was the first"


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)  # PostgreSQL has a setting for it.
def test_migration_takes_as_long_as_it_takes(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert app
    many_steps = ENDLESS.replace("FROM n)", "FROM n LIMIT 100000)")
    with reading():
        monkeypatch.setattr(database.obj, "_timeout", -1.0)
        with database.migrating():
            assert database.execute_sql(many_steps).fetchone() == (100_000,)
        with pytest.raises(OperationalError, match="interrupted"):
            database.execute_sql(many_steps).fetchone()
        monkeypatch.undo()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_connections_closed_while_idle_are_replaced(app: Flask) -> None:
    caller = Caller(app)
    caller.post("/api/contacts", BODY)
    close_connections()
    assert caller.get("/api/contacts").data["total"] == 1


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # SQLite has no connection that a server could close.
def test_connection_closed_during_a_request_is_503_once(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller(app)
    execute = type(database.obj).execute_sql

    def close_first(self: object, sql: str, *args: object) -> object:
        close_connections()
        return execute(self, sql, *args)

    monkeypatch.setattr(type(database.obj), "execute_sql", close_first)
    response = caller.post("/api/contacts", BODY)
    assert (response.status, response.code) == (503, "unavailable")
    monkeypatch.undo()
    assert caller.post("/api/contacts", BODY).status == 201


@pytest.mark.processes
def test_service_starts_without_its_database_and_recovers(kind: str, databases: Databases, tmp_path: Path) -> None:
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
    """Wait until connections are refused: a caller can then turn to another replica at once."""
    deadline = time.monotonic() + 5
    while True:
        try:
            socket.create_connection(("127.0.0.1", service.port), timeout=5).close()
        except ConnectionRefusedError:
            return
        except ConnectionError:  # Closed between connecting and accepting.
            continue
        assert time.monotonic() < deadline, "the service still accepts connections while it stops"


@pytest.mark.processes
def test_waiting_for_the_database_is_bounded_for_many_callers(kind: str, databases: Databases, tmp_path: Path) -> None:
    url = databases.create(kind)
    with serve(url, tmp_path, CONTACTS_DATABASE_TIMEOUT="2", WEB_CONCURRENCY="1") as service, blocked_writes(url):
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
        assert max(took) < 8, "if four at a time waited two seconds each, the last would wait ten"


def test_request_in_flight_completes_when_the_service_stops(own_service: Service) -> None:
    body = b'{"phone_number": "+1234567890"}'
    head = (
        "POST /api/contacts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", own_service.port), timeout=30) as connection:
        connection.sendall(head.encode())
        assert b"100 Continue" in connection.recv(1000), "a thread has started to handle the request"
        own_service.process.terminate()
        wait_until_it_refuses(own_service)
        connection.sendall(body)
        assert b"201 CREATED" in connection.recv(1000)
    assert own_service.process.wait(timeout=40) == 0
