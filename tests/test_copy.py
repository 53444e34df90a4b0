"""``db copy``: everything is in the new database as it was in the old one, or nothing is."""

import os
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any, NamedTuple

import click
import psycopg
import pytest
from click.testing import Result
from flask import Flask
from helpers import whole_service
from helpers.application import start
from helpers.caller import Caller
from helpers.databases import KINDS, Databases, sqlite_file, wait_for_open_transactions
from helpers.messages import message
from helpers.recomputation import contradictions
from helpers.service import ROOT
from helpers.whole_service import SAID_ONCE, answers, fill

from contacts_service.contacts.tables import ChangeFeed, ContactCount
from contacts_service.db import copy
from contacts_service.db.database import close_connection, database, reading

DERIVED = {ContactCount, ChangeFeed}
"""Tables whose rows are not those of the source."""


class Moved(NamedTuple):
    """A database with rows in every table, which only copies read."""

    url: str
    key: str | None
    answers: dict[str, tuple[bytes, str | None]]
    rows: dict[str, list[str]]


@pytest.fixture(scope="session")
def moved(kind: str, databases: Databases, shared_app: object) -> Moved:  # noqa: ARG001 - Opens one.
    url = databases.create(kind)
    caller = fill(start(url))
    found = Moved(url, caller.key, answers(caller), all_rows())
    close_connection()
    return found


@pytest.fixture
def source(moved: Moved, app: Flask) -> str:  # noqa: ARG001 - app restores the connection.
    return moved.url


@pytest.fixture
def key(moved: Moved) -> str | None:
    return moved.key


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, databases: Databases) -> str:
    return databases.create(request.param)


def run_copy(source: str, target: str) -> Result:
    return start(source).test_cli_runner().invoke(args=["db", "copy", "--to", target])


def all_rows() -> dict[str, list[str]]:
    with reading():
        return {
            model.__name__: sorted(repr(row) for row in model.select().tuples())
            for model in whole_service.tables()
            if model not in DERIVED
        }


def schema_of(url: str) -> list[Any]:
    """Indexes, keys and triggers as the catalogs describe them."""
    if url.startswith("sqlite"):
        with sqlite3.connect(sqlite_file(url)) as connection:
            return sorted(connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql <> ''").fetchall())
    with psycopg.connect(url) as connection:
        queries = (
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint",
            "SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal",
        )
        return [sorted(connection.execute(query).fetchall()) for query in queries]


def walk(caller: Caller) -> dict[str, Any]:
    """What a reader of the change feed has after a walk from the beginning, by id; and its token as ``next``."""
    if database.kind == "postgresql":
        wait_for_open_transactions(database.database)
    page = caller.get("/api/changes", limit=500).data
    assert not page["has_more"]
    return {**{item["id"]: item["contact"] for item in page["items"]}, "next": page["next"]}


def test_everything_is_as_it_was_before_the_move(source: str, moved: Moved, target: str, databases: Databases) -> None:
    contradicting = contradictions(source)
    copied = walk(Caller(start(source), moved.key))
    assert [*moved.rows.values()].count([]) == 0, "helpers/whole_service.py fills every table"
    with reading():
        tables = {table for table, _ in copy._KINDS[database.kind].list_columns(database.obj)}  # noqa: SLF001
    models = {model._meta.table_name for model in whole_service.tables()}  # noqa: SLF001 - Peewee's documented place.
    assert tables - {"contact_search", "schema_migration"} == models
    done = run_copy(source, target)
    assert done.exit_code == 0, done.output
    assert done.stdout == "Everything is copied and checked. Readers of the change feed begin again.\n"
    assert "Warning" not in done.stderr
    new = Caller(start(target), moved.key)
    assert all_rows() == moved.rows
    assert answers(new) == moved.answers
    assert new.get("/api/changes", after=copied.pop("next")).code == "token_expired"
    assert walk(new).items() >= copied.items()
    close_connection()
    assert contradictions(target) == contradicting, "of totals and of the search index above all"
    fresh = databases.create("sqlite" if target.startswith("sqlite") else "postgresql")
    start(fresh)
    assert schema_of(target) == schema_of(fresh)


def test_service_works_on_after_the_move(source: str, key: str | None, target: str) -> None:
    """Keys of rows go on, triggers write again, and what is half done is finished."""
    assert run_copy(source, target).exit_code == 0
    new = Caller(start(target), key)
    total = new.get("/api/contacts").data["total"]
    token = walk(new)["next"]
    replayed = new.post("/api/contacts", {"phone_number": "+1999999990", "bsuid": "US.1"}, SAID_ONCE)
    assert (replayed.status, replayed.headers["Idempotent-Replayed"]) == (201, "true")
    contact = new.create("+1555555555", name="Newcomer")
    path = f"/api/contacts/{contact['id']}"
    recorded = new.post(f"{path}/messages", message(direction="outgoing", wa_message_id="wamid.early"))
    assert recorded.data["status"] == "read", "the status that came before the message"
    assert new.put(f"{path}/session-data", {"session_data": {"a": 1}}).status == 201
    assert [event["kind"] for event in new.get(f"{path}/events").data["items"]] == ["created"]
    assert new.get("/api/contacts", search="newcomer").data["total"] == 1
    for listed in new.get("/api/contacts", limit=100, sort="created").data["items"]:
        for merge in new.get(f"/api/contacts/{listed['id']}/merges").data["items"]:
            undone = new.delete(f"/api/contacts/{listed['id']}/merges/{merge['source_id']}")
            assert undone.status == 200
            assert new.get(f"/api/contacts/{merge['source_id']}").status == 200
    assert new.get("/api/contacts").data["total"] == total + 2
    wait_for_open_transactions(target)
    changed = new.get("/api/changes", after=token).data["items"]
    assert {contact["id"], undone.data["id"]} <= {item["id"] for item in changed}
    for listed in new.get("/api/contacts", limit=100).data["items"]:
        assert new.delete(f"/api/contacts/{listed['id']}").status == 200
    assert new.get("/api/contacts").data["total"] == 0
    close_connection()
    assert contradictions(target) == {}


KILLED = """
import os, signal, click
class Bar:
    def __init__(self, steps=(), *, label, **_):
        self.label, self.steps, self.updates = label, steps, 0
    def __enter__(self):
        if self.label == STAGE == "Checking":
            os.kill(os.getpid(), signal.SIGKILL)
        return self
    def __exit__(self, *_):
        pass
    def update(self, _):
        self.updates += 1
        if self.label == STAGE and self.updates == 5:
            os.kill(os.getpid(), signal.SIGKILL)
    def __iter__(self):
        return iter(self.steps)
click.progressbar = Bar
from wsgi import app
app.test_cli_runner().invoke(args=["db", "copy", "--to", TARGET])
"""


@pytest.mark.processes
def test_killed_copy_leaves_nothing_and_can_be_repeated(source: str, moved: Moved, target: str) -> None:
    for stage in ("Copying", "Checking"):
        script = KILLED.replace("STAGE", repr(stage)).replace("TARGET", repr(target))
        environment = {**os.environ, "DATABASE_URL": source}
        close_connection()
        killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=False)
        assert killed.returncode == -signal.SIGKILL
        start(target)
        assert not any(all_rows().values()), "the service on it has everything or nothing"
    assert run_copy(source, target).exit_code == 0
    assert answers(Caller(start(target), moved.key)) == moved.answers
    assert all_rows() == moved.rows


def test_copy_is_of_one_moment_and_warns_of_what_was_written_since(
    kind: str, app: Flask, target: str, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app, "the fixture restores the connection"
    source = databases.create(kind)
    caller = Caller(start(source))
    contact = caller.create()["id"]
    caller.post(f"/api/contacts/{contact}/messages", message())
    rows = all_rows()
    progressbar = click.progressbar

    def write_before(*arguments: Any, **options: Any) -> Any:
        """Another program changes contacts, adds a flow and deletes messages before anything is read."""
        if options["label"] == "Copying":
            is_sqlite = source.startswith("sqlite")
            other: Any = sqlite3.connect(sqlite_file(source)) if is_sqlite else psycopg.connect(source)
            others.append(other)
            other.execute("UPDATE contact SET name = 'late', version = version + 1")
            other.execute("DELETE FROM message")
            other.commit()
        return progressbar(*arguments, **options)

    others: list[Any] = []
    monkeypatch.setattr(click, "progressbar", write_before)
    done = run_copy(source, target)
    others[0].close()
    assert done.exit_code == 0, done.output
    assert "Warning: the copied database is in use." in done.stderr
    start(target)
    assert all_rows() == rows


def test_copy_holds_no_table_in_memory(kind: str, app: Flask, target: str, databases: Databases) -> None:
    assert app, "the fixture restores the connection"
    source = databases.create(kind)
    caller = Caller(start(source))
    contact = caller.create()["id"]
    for number in range(400):
        sent = message(number, content={"body": "x" * 60_000})
        assert caller.post(f"/api/contacts/{contact}/messages", sent).status == 201
    close_connection()
    tracemalloc.start()
    try:
        done = run_copy(source, target)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.exit_code == 0, done.output
    assert peak < 10_000_000


def test_copy_that_differs_is_refused(source: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read_rows = {kind: module.read_rows for kind, module in copy._KINDS.items()}  # noqa: SLF001
    for change in (lambda rows: [*rows][1:], lambda rows: [(*row[:-1], "?") for row in rows]):

        def read(backend: Any, table: str, columns: list[str], change: Any = change) -> Any:
            rows = read_rows[backend.kind](backend, table, columns)
            return change(rows) if table == "flow" and backend.in_transaction() else rows

        for module in copy._KINDS.values():  # noqa: SLF001
            monkeypatch.setattr(module, "read_rows", read)
        done = run_copy(source, target)
        assert done.stderr.splitlines()[-1] == "Error: The copy of table flow differs, so nothing is copied."
        assert done.exit_code == 1
        start(target)
        assert not any(all_rows().values())


def test_target_that_holds_anything_is_refused_and_stays_as_it_is(source: str, target: str) -> None:
    Caller(start(target)).create()
    kept = all_rows()
    done = run_copy(source, target)
    assert done.stderr.splitlines()[-1] == "Error: The target is not empty: it has rows in table contact."
    assert done.exit_code == 1
    start(target)
    assert all_rows() == kept


@pytest.mark.parametrize(
    "change",
    ["INSERT INTO schema_migration (name, applied) VALUES ('0099_later', '2030-01-01')", "CREATE TABLE x (a INTEGER)"],
)
def test_target_of_another_version_is_refused(source: str, target: str, change: str) -> None:
    start(target)
    with database.connection_context():
        database.execute_sql(change)
    done = run_copy(source, target)
    assert done.exit_code == 1
    assert "another version" in done.stderr


def test_database_is_not_copied_onto_itself(source: str, tmp_path: Path) -> None:
    same = f"{source}&connect_timeout=9"
    if source.startswith("sqlite"):
        link = tmp_path / "link.db"
        link.symlink_to(sqlite_file(source))
        same = f"sqlite:///{link}"
    done = run_copy(source, same)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (1, "Error: The target is the database to copy.")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("mysql://x", "must begin with sqlite:/// or postgresql://"),
        ("postgresql://u:secret@127.0.0.1:1/x", "Connection refused"),
        ("sqlite:////proc/x.db", "unable to open database file"),
    ],
)
def test_unusable_target_is_told_in_a_sentence(source: str, target: str, told: str) -> None:
    done = run_copy(source, target)
    assert done.exit_code != 0
    assert told in done.stderr
    assert "secret" not in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_target_that_a_program_has_open_is_refused(source: str, databases: Databases) -> None:
    target = databases.create("sqlite")
    start(target)
    with sqlite3.connect(sqlite_file(target)) as other:
        other.execute("SELECT * FROM contact").fetchall()
        done = run_copy(source, target)
    other.close()
    assert done.exit_code == 1
    assert "database is locked" in done.stderr
