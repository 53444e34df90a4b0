"""Databases that are reachable but faulty: full, read-only, silent, replaced, emptied."""

import contextlib
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from flask import Flask
from helpers.caller import Caller, Response
from helpers.databases import Databases, blocked_writes, sqlite_file
from prometheus_client import REGISTRY

from contacts_service.app import create_app, prepare
from contacts_service.db.database import database, reading
from contacts_service.settings import Settings

BODY = {"phone_number": "+1234567890"}
LARGE = {"phone_number": "+1234567890", "metadata": {"text": "x" * 200_000}}


@pytest.fixture
def url(kind: str, databases: Databases, app: Flask) -> str:
    assert app, "the fixture restores the connection"
    return databases.create(kind)


@pytest.fixture
def caller(url: str) -> Caller:
    """A caller of an application with a database timeout of half a second."""
    application = create_app(Settings(database_url=url, database_timeout=0.5))
    prepare(application)
    return Caller(application)


def is_unavailable(response: Response) -> bool:
    return (response.status, response.code, response.headers.get("Retry-After")) == (503, "unavailable", "1")


def run(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(sql)


def test_full_disk_is_503_and_reads_continue(kind: str, url: str, caller: Caller) -> None:
    caller.create("+19998887777")
    if kind == "sqlite":
        with reading():
            pages = database.execute_sql("PRAGMA page_count").fetchone()[0]
            database.execute_sql(f"PRAGMA max_page_count = {pages + 1}")
    else:  # The error that PostgreSQL raises when its disk is full.
        run(
            url,
            "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;"
            "CREATE TRIGGER disk_full BEFORE INSERT ON contact EXECUTE FUNCTION disk_full()",
        )
    assert is_unavailable(caller.post("/api/contacts", LARGE))
    if kind == "postgresql":
        assert caller.get("/api/contacts").data["total"] == 1
        run(url, "DROP TRIGGER disk_full ON contact")
    assert caller.post("/api/contacts", LARGE).status == 201
    assert caller.get("/api/contacts").data["total"] == 2


def test_read_only_database_is_503_for_writes_only(kind: str, url: str, caller: Caller) -> None:
    caller.create()
    name = urlsplit(url).path[1:]
    if kind == "sqlite":
        with reading():
            database.execute_sql("PRAGMA query_only = 1")
    else:
        with reading():
            database.execute_sql("SET default_transaction_read_only = on")
        run(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with contextlib.ExitStack() as writable_again:
        if kind == "postgresql":
            writable_again.callback(run, url, f"ALTER DATABASE {name} RESET ALL")
        assert caller.get("/api/contacts").data["total"] == 1
        assert is_unavailable(caller.post("/api/contacts", {"phone_number": "+19998887777"}))
    assert caller.post("/api/contacts", {"phone_number": "+19998887777"}).status == 201


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_replaced_sqlite_file_is_the_one_written_to(url: str, caller: Caller) -> None:
    """Writes over a connection to a deleted file would be lost."""
    caller.create()
    put_aside = sqlite_file(url).with_suffix(".backup")
    with reading(), sqlite3.connect(put_aside) as backup:
        database.connection().backup(backup)
    backup.close()
    caller.create("+19998887777")
    for name in ("", "-wal", "-shm"):
        Path(f"{sqlite_file(url)}{name}").unlink()
    assert is_unavailable(caller.get("/api/contacts")), "no new file is created"
    assert is_unavailable(caller.get("/readyz"))
    put_aside.rename(sqlite_file(url))
    assert caller.get("/readyz").status == 200
    assert caller.get("/api/contacts").data["total"] == 1
    caller.create("+17776665555")
    with sqlite3.connect(sqlite_file(url)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM contact").fetchone() == (2,)
    connection.close()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("setting", ["transaction_timeout", "statement_timeout"])
def test_timeout_set_by_the_server_is_503(url: str, app: Flask, setting: str) -> None:
    assert app
    limited = create_app(Settings(database_url=url))
    prepare(limited)
    Caller(limited).create()
    with reading():
        database.execute_sql(f"SET {setting} = '200ms'")
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE contact")
        assert is_unavailable(Caller(limited).get("/api/contacts"))
        connection.rollback()
    assert Caller(limited).get("/api/contacts").status == 200


def test_database_fault_is_counted(kind: str, url: str, caller: Caller) -> None:
    assert kind
    before = REGISTRY.get_sample_value("contacts_database_faults_total")
    with blocked_writes(url):
        assert is_unavailable(caller.post("/api/contacts", BODY))
    assert REGISTRY.get_sample_value("contacts_database_faults_total") == before + 1


def test_application_start_leaves_no_connection_open(url: str) -> None:
    prepare(create_app(Settings(database_url=url)))
    assert database.is_closed()


def test_missing_tables_are_503_once_and_then_recreated(kind: str, url: str, caller: Caller) -> None:
    """As after an operator replaced the database with an empty one."""
    caller.create()
    if kind == "sqlite":
        with sqlite3.connect(sqlite_file(url), isolation_level=None) as connection:
            connection.execute("PRAGMA foreign_keys = 0")
            for kind_of_object in ("trigger", "view", "table"):
                rows = connection.execute("SELECT name FROM sqlite_master WHERE type = ?", [kind_of_object]).fetchall()
                # Dropping the search index drops its tables, whose names begin with its own.
                for (name,) in rows if kind_of_object != "table" else [("contact_search",), *rows]:
                    if not name.startswith(("sqlite_", "contact_search_")) or kind_of_object == "trigger":
                        connection.execute(f"DROP {kind_of_object} IF EXISTS {name}")
        connection.close()
    else:
        run(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert is_unavailable(caller.get("/api/contacts"))
    assert caller.get("/api/contacts").data["total"] == 0
    assert caller.post("/api/contacts", BODY).status == 201


class SilentProxy:
    """A proxy that can stop forwarding, as a broken network or a frozen server does."""

    def __init__(self, connect: object) -> None:
        self._connect, self.is_open = connect, threading.Event()
        self.is_open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, server = self.listener.accept()[0], self._connect()
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.is_open.wait()
                target.sendall(data)
            target.close()


@pytest.fixture
def silent_proxy(url: str) -> Iterator[tuple[SilentProxy, str]]:
    parts = urlsplit(url)
    folder = parse_qs(parts.query).get("host", [""])[0]

    def connect() -> socket.socket:
        if parts.hostname:
            return socket.create_connection((parts.hostname, parts.port or 5432))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{folder}/.s.PGSQL.5432")
        return server

    proxy = SilentProxy(connect)
    user = parts.netloc.partition("@")[0]
    yield proxy, f"postgresql://{user}@127.0.0.1:{proxy.port}{parts.path}"
    proxy.is_open.set()
    proxy.listener.close()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_silent_server_is_503_in_bounded_time(silent_proxy: tuple[SilentProxy, str]) -> None:
    """The server's timeout doesn't apply then: half a second, one of grace, one to cancel, two to connect."""
    proxy, url = silent_proxy
    silent = create_app(Settings(database_url=url, database_timeout=0.5))
    prepare(silent)
    caller = Caller(silent)
    caller.create()
    proxy.is_open.clear()
    for path in ("/api/contacts", "/readyz"):
        began = time.monotonic()
        assert is_unavailable(caller.get(path))
        assert time.monotonic() - began < 8
    proxy.is_open.set()
    assert caller.get("/api/contacts").data["total"] == 1


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_threads_connect_independently(app: Flask) -> None:
    assert app
    with socket.create_server(("127.0.0.1", 0)) as silent:  # It accepts connections and never responds.
        url = f"postgresql://unknown@127.0.0.1:{silent.getsockname()[1]}/nothing"
        application = create_app(Settings(database_url=url, database_timeout=0.5))
        took: list[float] = []

        def ask() -> None:
            began = time.monotonic()
            assert is_unavailable(Caller(application).get("/readyz"))
            took.append(time.monotonic() - began)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(took) == 6
    assert max(took) < 8, "in turn they would need twelve seconds"


def test_connections_have_the_settings_for_durability_and_plans(kind: str, url: str, caller: Caller) -> None:
    assert url
    assert caller
    with reading():
        if kind == "sqlite":
            found = {name: database.pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys")}
            assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
            assert database.pragma("busy_timeout") == 500
        else:
            names = ("statement_timeout", "TimeZone", "synchronous_commit", "work_mem", "jit")
            found = {name: database.execute_sql(f"SHOW {name}").fetchone()[0] for name in names}
            assert found == {
                "statement_timeout": "500ms",
                "TimeZone": "UTC",
                "synchronous_commit": "on",
                "work_mem": "32MB",
                "jit": "off",
            }
            connection = database.connection()
            assert connection.info.get_parameters()["connect_timeout"] == "2"
            assert connection.info.get_parameters()["tcp_user_timeout"] == "500"


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_writable_host_of_several_is_used(url: str, app: Flask) -> None:
    assert app
    parts = urlsplit(url)
    folder = parse_qs(parts.query).get("host", [""])[0]
    if parts.hostname:
        hosts, query = f"127.0.0.1:1,{parts.hostname}:{parts.port or 5432}", ""
    else:
        hosts, query = "", f"host=127.0.0.1,{folder}&port=1,5432&"
    user = parts.netloc.partition("@")[0]
    several = create_app(
        Settings(database_url=f"postgresql://{user}@{hosts}{parts.path}?{query}target_session_attrs=read-write")
    )
    prepare(several)
    assert Caller(several).post("/api/contacts", BODY).status == 201
