"""PostgreSQL servers, roles and databases that are set up differently."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit, urlunsplit

import psycopg
import pytest
import uuid_utils
from flask import Flask
from helpers.application import start
from helpers.caller import Caller
from helpers.databases import Databases
from helpers.messages import message
from helpers.service import run_service, start_flask

from contacts_service.app import create_app, prepare
from contacts_service.db.database import database, writing
from contacts_service.settings import InvalidSetting, Settings

ODD = [
    {"DateStyle": "German"},
    {"DateStyle": "SQL, DMY"},
    {"client_encoding": "LATIN1"},
    {"TimeZone": "Asia/Tokyo"},
    {"default_transaction_isolation": "repeatable read"},
    {"default_transaction_isolation": "serializable"},
]
IS_BLOCKING = "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
LAST_MOMENT = "9999-12-31T16:00:00Z"  # A day later in Tokyo, where the year has five digits then.


class Pooler:
    """Passes connections on, and refuses startup options as PgBouncer does."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        user, port = self._parts.username, self.listener.getsockname()[1]
        return f"postgresql://{user}:role@127.0.0.1:{port}{self._parts.path}?sslmode=disable&gssencmode=disable"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                startup = client.recv(65536)
                if b"\0options\0" in startup:
                    text = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
                    client.sendall(b"E" + struct.pack("!i", len(text) + 4) + text)
                    client.close()
                    continue
                server = self._connect()
                server.sendall(startup)
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _connect(self) -> socket.socket:
        if self._parts.hostname:
            return socket.create_connection((self._parts.hostname, self._parts.port or 5432))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{parse_qs(self._parts.query)['host'][0]}/.s.PGSQL.5432")
        return server

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture(params=["directly", "through a pooler"])
def reached(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Makes the URL by which a database is reached."""
    poolers: list[Pooler] = []

    def reach(url: str) -> str:
        if request.param == "directly":
            return url
        poolers.append(Pooler(url))
        return poolers[0].url

    yield reach
    for pooler in poolers:
        pooler.listener.close()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("settings", ODD, ids=str)
def test_settings_of_the_role_change_no_answer(
    app: Flask, role_url: Callable[..., str], reached: Callable[[str], str], settings: dict[str, str]
) -> None:
    assert app, "the fixture restores the connection"
    url = role_url(**settings)
    caller = Caller(start(reached(url)))
    assert caller.get("/readyz").status == 200
    created = caller.create(name="王芳")
    found = caller.get(f"/api/contacts/{created['id']}").data
    assert (found["name"], found["created_at"]) == ("王芳", created["created_at"])
    assert found["created_at"].endswith("Z")
    recorded = caller.post(f"/api/contacts/{created['id']}/messages", message(timestamp=LAST_MOMENT)).data
    assert recorded["timestamp"] == LAST_MOMENT
    assert caller.get("/api/contacts", search="芳").data["items"][0]["last_message_at"] == LAST_MOMENT
    with writing():
        assert database.execute_sql("SHOW transaction_isolation").fetchone() == ("read committed",)
    contact, statuses = f"/api/contacts/{created['id']}", []
    for path, body in ((f"{contact}/assign", {"user_id": None}), (contact, {"name": "New"})):
        writer = threading.Thread(target=lambda write=(path, body): statuses.append(caller.put(*write).status))
        with psycopg.connect(url) as other:
            other.execute("UPDATE contact SET avatar_url = 'https://example.com'")
            writer.start()
            while writer.is_alive() and not other.execute(IS_BLOCKING).fetchone():
                time.sleep(0.01)
        writer.join(60)
    assert statuses == [200, 200], "a write waits for another one, and goes on with what that wrote"


@pytest.mark.processes
def test_processes_that_start_at_once_migrate_once_at_any_isolation(role_url: Callable[..., str]) -> None:
    for _ in range(3):
        url = role_url(default_transaction_isolation="repeatable read")
        started = [start_flask(url, "db", "upgrade") for _ in range(2)]
        results = [(*process.communicate(timeout=60), process.returncode) for process in started]
        assert [code for _, _, code in results] == [0, 0], results
        assert sum("applied 0001_initial" in stdout for stdout, _, _ in results) == 1


@pytest.fixture
def latin1_url(databases: Databases) -> str:
    name = f"test_{uuid_utils.uuid7().hex}"
    with psycopg.connect(databases.server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    return urlunsplit(urlsplit(databases.server_url)._replace(path=f"/{name}"))


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_database_of_another_encoding_is_refused_at_start(app: Flask, latin1_url: str) -> None:
    assert app
    refused = create_app(Settings(database_url=latin1_url))
    with pytest.raises(InvalidSetting, match="encoding is LATIN1: it must be UTF8"):
        prepare(refused)
    response = Caller(refused).get("/readyz")
    assert (response.status, response.code) == (503, "unavailable")


@pytest.mark.processes
def test_service_ends_when_the_database_has_another_encoding(latin1_url: str) -> None:
    ended = run_service(latin1_url)
    assert ended.returncode != 0
    assert "encoding is LATIN1: it must be UTF8" in ended.stderr
    assert "Traceback" not in ended.stderr
