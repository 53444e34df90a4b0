"""What can be wrong with a database that is there: full, read-only, frozen, exchanged, emptied."""

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
from caller import Answer, Caller
from conftest import Databases
from flask import Flask
from prometheus_client import REGISTRY
from test_faults import locked

from contacts_service.app import create_app, prepare
from contacts_service.models.database import database, reading
from contacts_service.settings import Settings

BODY = {"phone_number": "+1234567890"}
LARGE = {"phone_number": "+1234567890", "metadata": {"text": "x" * 200_000}}


@pytest.fixture
def url(kind: str, databases: Databases, app: Flask) -> str:
    assert app, "it restores the database"
    return databases.create(kind)


@pytest.fixture
def caller(url: str) -> Caller:
    """A caller of an application that waits half a second for its database."""
    impatient = create_app(Settings(database_url=url, database_timeout=0.5))
    prepare(impatient)
    return Caller(impatient)


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def is_unavailable(answer: Answer) -> bool:
    return (answer.status, answer.code, answer.headers.get("Retry-After")) == (503, "unavailable", "1")


def run(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(sql)


def test_a_full_disk_is_503_and_what_was_there_can_be_read(kind: str, url: str, caller: Caller) -> None:
    caller.create("+19998887777")
    if kind == "sqlite":
        with reading():
            pages = database.execute_sql("PRAGMA page_count").fetchone()[0]
            database.execute_sql(f"PRAGMA max_page_count = {pages + 1}")
    else:  # The error that PostgreSQL itself raises then.
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


def test_a_database_that_became_read_only_is_503_for_writes_alone(kind: str, url: str, caller: Caller) -> None:
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
def test_a_file_that_was_exchanged_is_the_one_that_is_written_to(url: str, caller: Caller, tmp_path: Path) -> None:
    """A connection to a deleted file would take every write and lose it."""
    caller.create()
    with reading(), sqlite3.connect(tmp_path / "backup.db") as backup:
        database.connection().backup(backup)
    backup.close()
    caller.create("+19998887777")
    for name in ("", "-wal", "-shm"):
        Path(f"{file_of(url)}{name}").unlink()
    assert is_unavailable(caller.get("/api/contacts")), "it begins no new one by itself"
    assert is_unavailable(caller.get("/readyz"))
    (tmp_path / "backup.db").rename(file_of(url))
    assert caller.get("/readyz").status == 200
    assert caller.get("/api/contacts").data["total"] == 1
    caller.create("+17776665555")
    with sqlite3.connect(file_of(url)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM contact").fetchone() == (2,)
    connection.close()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("setting", ["transaction_timeout", "statement_timeout"])
def test_a_limit_that_the_server_sets_is_503(url: str, app: Flask, setting: str) -> None:
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


def test_a_fault_is_counted(kind: str, url: str, caller: Caller) -> None:
    assert kind
    before = REGISTRY.get_sample_value("contacts_database_faults_total")
    with locked(url):
        assert is_unavailable(caller.post("/api/contacts", BODY))
    assert REGISTRY.get_sample_value("contacts_database_faults_total") == before + 1


def test_a_worker_keeps_no_connection_but_those_of_its_threads(url: str) -> None:
    prepare(create_app(Settings(database_url=url)))
    assert database.is_closed()


def test_tables_that_vanished_are_503_once_and_then_made_again(kind: str, url: str, caller: Caller) -> None:
    """Somebody put an empty database in the place of ours."""
    caller.create()
    if kind == "sqlite":
        with sqlite3.connect(file_of(url), isolation_level=None) as connection:
            connection.execute("PRAGMA foreign_keys = 0")
            for trigger in ("contact_search_delete", "contact_count_delete", "assigned_count_delete"):
                connection.execute(f"DROP TRIGGER {trigger}")
            connection.execute("DROP VIEW contact_grams")
            for name in ("contact_search", "schema_migration", "message", "session", "contact_tag", "contact"):
                connection.execute(f"DROP TABLE IF EXISTS {name}")
            for name in (
                "former_bsuid",
                "early_status",
                "flow",
                "api_key",
                "first_answer",
                "contact_count",
                "assigned_count",
            ):
                connection.execute(f"DROP TABLE IF EXISTS {name}")
        connection.close()
    else:
        run(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert is_unavailable(caller.get("/api/contacts"))
    assert caller.get("/api/contacts").data["total"] == 0
    assert caller.post("/api/contacts", BODY).status == 201


class BlackHole:
    """A proxy in front of a server, that can stop to pass on anything, as a cut network or a frozen server does."""

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
def black_hole(url: str) -> Iterator[tuple[BlackHole, str]]:
    parts = urlsplit(url)
    folder = parse_qs(parts.query).get("host", [""])[0]

    def connect() -> socket.socket:
        if parts.hostname:
            return socket.create_connection((parts.hostname, parts.port or 5432))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{folder}/.s.PGSQL.5432")
        return server

    hole = BlackHole(connect)
    user = parts.netloc.partition("@")[0]
    yield hole, f"postgresql://{user}@127.0.0.1:{hole.port}{parts.path}"
    hole.is_open.set()
    hole.listener.close()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_server_that_falls_silent_is_503_in_bounded_time(black_hole: tuple[BlackHole, str]) -> None:
    """Its own timeout can't end a statement then. Half a second, one more to be sure, one to cancel, two to connect."""
    hole, url = black_hole
    silent = create_app(Settings(database_url=url, database_timeout=0.5))
    prepare(silent)
    caller = Caller(silent)
    caller.create()
    hole.is_open.clear()
    for path in ("/api/contacts", "/readyz"):
        began = time.monotonic()
        assert is_unavailable(caller.get(path))
        assert time.monotonic() - began < 8
    hole.is_open.set()
    assert caller.get("/api/contacts").data["total"] == 1


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_threads_dont_wait_for_one_anothers_attempts_to_connect(app: Flask) -> None:
    assert app
    with socket.create_server(("127.0.0.1", 0)) as silent:  # It takes connections and says nothing.
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing"
        deaf = create_app(Settings(database_url=url, database_timeout=0.5))
        took: list[float] = []

        def ask() -> None:
            began = time.monotonic()
            assert is_unavailable(Caller(deaf).get("/readyz"))
            took.append(time.monotonic() - began)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(took) == 6
    assert max(took) < 8, "one after the other they would need twelve seconds"


def test_connections_are_what_durability_and_plans_need(kind: str, url: str, caller: Caller) -> None:
    assert url
    assert caller
    with reading():
        if kind == "sqlite":
            found = {name: database.pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys")}
            assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
            assert database.pragma("busy_timeout") == 500
        else:
            names = ("statement_timeout", "TimeZone", "synchronous_commit", "work_mem", "jit", "enable_seqscan")
            found = {name: database.execute_sql(f"SHOW {name}").fetchone()[0] for name in names}
            assert found == {
                "statement_timeout": "500ms",
                "TimeZone": "UTC",
                "synchronous_commit": "on",
                "work_mem": "32MB",
                "jit": "off",
                "enable_seqscan": "off",
            }
            connection = database.connection()
            assert connection.info.get_parameters()["connect_timeout"] == "2"
            assert connection.info.get_parameters()["tcp_user_timeout"] == "500"


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_of_several_hosts_the_one_that_can_write_is_found(url: str, app: Flask) -> None:
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
