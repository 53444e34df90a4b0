"""What callers and operators are told when the database fails: the cause, and each cause once."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from helpers.caller import Caller
from helpers.databases import Databases, with_user
from helpers.messages import message

from contacts_service.app import create_app, prepare
from contacts_service.db.database import database, reading, writing
from contacts_service.errors import Unavailable
from contacts_service.settings import Settings
from contacts_service.web import error_handlers

AWAY = "postgresql://contacts:secret@127.0.0.1:1/contacts"


@pytest.fixture(autouse=True)
def nothing_logged_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(error_handlers, "_faults", error_handlers._FaultLog())  # noqa: SLF001
    before = database.obj
    yield
    if before:
        database.initialize(before)


def causes_in(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.getMessage().startswith("the database failed: ")]


@pytest.mark.parametrize(
    ("make_url", "told", "logged"),
    [
        (
            lambda _, role_url, __: role_url(may_create=False),
            "The service lacks a permission in its database.",
            "permission denied for schema public (SQLSTATE 42501)",
        ),
        (
            lambda databases, _, __: with_user(databases.create("postgresql"), "stranger", "secret"),
            "The database refuses the service's user.",
            'FATAL: role "stranger" does not exist',
        ),
        (
            lambda databases, _, __: urlunsplit(urlsplit(databases.server_url)._replace(path="/nothing")),
            "The service's database does not exist.",
            'FATAL: database "nothing" does not exist',
        ),
        (lambda *_: AWAY, "The database can't answer at the moment. Try again.", "Connection refused"),
        (
            lambda _, __, folder: f"sqlite:///{folder}/text",
            "The file of the database holds something else.",
            "file is not a database (SQLITE_NOTADB), ",
        ),
        (
            lambda _, __, folder: f"sqlite:///{folder}/text/contacts.db",
            "The file of the database can't be opened.",
            "unable to open database file (SQLITE_CANTOPEN), ",
        ),
    ],
    ids=["no permission", "no such user", "no such database", "no server", "another file", "no folder"],
)
def test_cause_is_told_to_callers_and_its_details_to_operators(  # noqa: PLR0913, PLR0917 - Fixtures.
    databases: Databases,
    role_url: Callable[..., str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    make_url: Callable[..., str],
    told: str,
    logged: str,
) -> None:
    (tmp_path / "text").write_text("no database " * 1000)
    caller = Caller(create_app(Settings(database_url=make_url(databases, role_url, tmp_path), database_timeout=0.5)))
    response = caller.get("/readyz")
    assert (response.status, response.code, response.body["message"]) == (503, "unavailable", told)
    [cause] = causes_in(caplog)
    assert logged in cause
    assert "secret" not in cause


def test_first_cause_is_told_and_not_what_followed_from_it(tmp_path: Path) -> None:
    """SQLite rolls back by itself when its disk fails, and then knows no savepoint any more."""
    prepare(create_app(Settings(database_url=f"sqlite:///{tmp_path}/contacts.db")))
    with reading():
        pages = database.execute_sql("PRAGMA page_count").fetchone()[0]
        database.execute_sql(f"PRAGMA max_page_count = {pages + 1}")

    @writing()
    def write_within_a_savepoint() -> None:
        with writing():
            database.execute_sql("ROLLBACK")
            database.execute_sql("CREATE TABLE large AS SELECT zeroblob(1000000)")

    with pytest.raises(Unavailable, match="The disk of the database is full") as failed:
        write_within_a_savepoint()
    assert failed.value.details == f"database or disk is full (SQLITE_FULL), {tmp_path}/contacts.db"


def test_cause_is_logged_once_and_then_once_a_minute_with_a_count(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(error_handlers, "monotonic", lambda: now[0])
    caller = Caller(create_app(Settings(database_url=AWAY)))
    for _ in range(50):
        assert caller.get("/api/contacts").status == 503
    assert len(causes_in(caplog)) == 1
    now[0] += 60
    assert caller.get("/api/contacts").status == 503
    assert len(causes_in(caplog)) == 2
    assert causes_in(caplog)[1].endswith(" (49 more requests since it was last logged)")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_sqlite_needs_no_folder_for_temporary_files(kind: str, caller: Caller) -> None:
    """A read-only container has none. SQLite deletes such a file at once and keeps it open."""
    assert kind
    contact = caller.create()["id"]
    for number in range(30):
        recorded = caller.post(f"/api/contacts/{contact}/messages", message(number, content={"body": "x" * 20_000}))
        assert recorded.status == 201
    opened: set[str] = set()

    def look() -> None:
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                opened.add(str(descriptor.readlink()))

    with reading():
        database.connection().set_progress_handler(look, 20)
        try:
            assert caller.delete(f"/api/contacts/{contact}").status == 200
            database.execute_sql("PRAGMA cache_size = 10")
            database.execute_sql(
                "SELECT count(*) FROM (SELECT hex(randomblob(2000)) AS t FROM contact_count, "
                "(WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
                "SELECT i FROM n) ORDER BY t)"
            ).fetchall()
        finally:
            database.connection().set_progress_handler(None, 0)
    assert any(name.endswith(".db") for name in opened)
    assert not [name for name in opened if "etilqs" in name]
