"""Migrations: each is applied once, and together they create the tables of the models."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from helpers.databases import Databases
from helpers.service import ROOT, run_flask
from peewee import IntegrityError
from playhouse.migrations import Runner

from contacts_service.contacts.tables import (
    ChangeFeed,
    Contact,
    ContactCount,
    ContactDuplicate,
    ContactEvent,
    ContactIdentifier,
    ContactMerge,
    ContactTag,
    ContactTombstone,
)
from contacts_service.db import migrations
from contacts_service.db.database import connect, database
from contacts_service.flows.tables import Flow
from contacts_service.keys.tables import ApiKey
from contacts_service.messages.tables import EarlyStatus, Message
from contacts_service.sessions.tables import Session
from contacts_service.settings import Settings
from contacts_service.web.stored_responses import StoredResponse

MODELS = [
    Contact,
    ContactTag,
    ContactIdentifier,
    ContactMerge,
    ContactDuplicate,
    Flow,
    Session,
    Message,
    EarlyStatus,
    ApiKey,
    StoredResponse,
]
MODELS += [ContactCount, ContactEvent, ContactTombstone, ChangeFeed]
MIGRATIONS = ["0001_initial"]
STEPS = ROOT / "contacts_service" / "db" / "migrations"


def test_migrations_create_what_the_models_describe(kind: str, databases: Databases, empty_database: str) -> None:
    assert empty_database
    assert migrations.upgrade() == MIGRATIONS
    migrated = columns_and_references()
    connect(Settings(database_url=databases.create(kind)))
    with database.connection_context():
        database.create_tables(MODELS)
    assert migrated == columns_and_references()


def columns_and_references() -> dict[str, Any]:
    """Name, type, null and key of each column, and what foreign keys refer to, by the table of each model."""
    with database.connection_context():
        described = {}
        for table in (model._meta.table_name for model in MODELS):  # noqa: SLF001 - Peewee's documented place.
            references = [(key.column, key.dest_table, key.dest_column) for key in database.get_foreign_keys(table)]
            # SQLite's table_info doesn't list generated columns.
            columns = [column[:4] for column in database.get_columns(table) if column.name != "recency"]
            described[table] = (sorted(columns), references)
        return described


def test_second_upgrade_does_nothing(empty_database: str) -> None:
    assert empty_database
    assert migrations.upgrade() == MIGRATIONS
    assert migrations.upgrade() == []


def test_failed_migration_leaves_nothing_behind(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert empty_database
    statements: list[str] = []
    execute = type(database.obj).execute_sql

    def fail_at_the_search_index(self: object, sql: str, *args: object) -> object:
        statements.append(sql)
        if "contact_search" in sql:
            raise RuntimeError("power cut")
        return execute(self, sql, *args)

    monkeypatch.setattr(type(database.obj), "execute_sql", fail_at_the_search_index)
    with pytest.raises(RuntimeError, match="power cut"):
        migrations.upgrade()
    assert any("CREATE TABLE" in sql for sql in statements)
    monkeypatch.undo()
    with database.connection_context():
        assert not [name for name in database.get_tables() if "migration" not in name]
    assert migrations.upgrade() == MIGRATIONS


STEP = """
def up(migrator, db):
    db.foreign_keys_seen = db.pragma("foreign_keys") if db.kind == "sqlite" else 0
    if db.kind == "sqlite":
        db.execute_sql("CREATE TABLE copy AS SELECT * FROM flow")
        db.execute_sql("DELETE FROM contact")
"""


def test_rebuilding_a_table_deletes_no_children_and_leaves_no_orphans(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite rebuilds tables to alter them, which with foreign keys on would delete the referring rows."""
    assert empty_database
    migrations.upgrade()
    with database.connection_context():
        Session.insert({**SESSION, "contact": Contact.insert(CONTACT).execute()}).execute()
    for step in STEPS.glob("0*.py"):
        (tmp_path / step.name).write_text(step.read_text())
    (tmp_path / "0099_probe.py").write_text(STEP)
    monkeypatch.setattr(migrations, "_runner", lambda: Runner(database.obj, str(tmp_path)))
    if database.kind == "sqlite":
        with pytest.raises(IntegrityError, match=r"session|contact_event"):
            migrations.upgrade()
        assert database.obj.foreign_keys_seen == 0
    else:
        assert migrations.upgrade() == ["0099_probe"]
    with database.connection_context():
        assert Session.select().count() == 1
        if database.kind == "sqlite":
            assert database.obj.pragma("foreign_keys") == 1


def test_four_threads_at_once_apply_each_migration_once(empty_database: str) -> None:
    assert empty_database
    applied: list[str] = []
    barrier = threading.Barrier(4)

    def upgrade() -> None:
        barrier.wait()
        applied.extend(migrations.upgrade())

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert applied == MIGRATIONS


@pytest.mark.processes
def test_upgrade_command_prints_what_it_applied(empty_database: str) -> None:
    first = run_flask(empty_database, "db", "upgrade")
    assert first.stdout == "".join(f"applied {name}\n" for name in MIGRATIONS) + "The database is up to date.\n"
    second = run_flask(empty_database, "db", "upgrade")
    assert second.stdout == "The database is up to date.\n"


@pytest.mark.processes
def test_upgrade_command_fails_clearly_without_a_database() -> None:
    done = run_flask("postgresql://unknown@127.0.0.1:1/nothing", "db", "upgrade")
    assert done.returncode == 1
    assert "Error: The database can't answer" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


NOW = datetime(2024, 1, 1, tzinfo=UTC)
CONTACT = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "phone_number": "+1234567890",
    "tags": [],
    "marketing_opt_out": False,
    "metadata": {},
    "search_text": "",
    "unread_count": 0,
    "version": 1,
    "created_at": NOW,
    "updated_at": NOW,
}
OTHER = {**CONTACT, "id": "01890a5d-ac96-774b-bcce-b302099a8058"}
IDENTIFIER = {
    "account": "none",
    "kind": "external_id",
    "value": "1",
    "current": True,
    "first_seen_at": NOW,
    "last_seen_at": NOW,
}
DUPLICATE = {"reason": "identity_conflict", "seen_at": NOW, "dismissed": False}
SESSION = {"id": CONTACT["id"], "status": "active", "session_data": {}, "created_at": NOW, "updated_at": NOW}


def test_schema_rejects_invalid_rows_and_cascades(app: Flask) -> None:
    """Uniqueness, checks and cascades hold for every writer, not only for the service."""
    assert app
    with database.connection_context():
        Contact.insert(CONTACT).execute()
        pk = Contact.get(Contact.id == CONTACT["id"]).pk
        ContactIdentifier.insert({**IDENTIFIER, "contact": pk}).execute()
        ContactDuplicate.insert({**DUPLICATE, "contact_a": pk, "contact_b": pk}).execute()
        for model, values in (
            (Contact, CONTACT),
            (Contact, {**OTHER, "phone_number": "1234567891"}),
            (Contact, {**OTHER, "phone_number": "+12"}),
            (Contact, {**OTHER, "phone_number": None}),
            (ContactIdentifier, {**IDENTIFIER, "contact": pk}),
            (ContactIdentifier, {**IDENTIFIER, "kind": "email", "contact": pk}),
            (ContactIdentifier, {**IDENTIFIER, "value": "2", "contact": pk + 1000}),
            (ContactDuplicate, {**DUPLICATE, "contact_a": pk, "contact_b": pk, "reason": "same name"}),
            (Session, {**SESSION, "contact": pk + 1000}),
            (Session, {**SESSION, "contact": pk, "status": "done"}),
        ):
            with pytest.raises(IntegrityError):
                model.insert(values).execute()
        Session.insert({**SESSION, "contact": pk}).execute()
        Contact.delete().execute()
        for model in (Session, ContactIdentifier, ContactDuplicate):
            assert model.select().count() == 0
