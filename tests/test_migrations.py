"""Migrations: each is applied once, and together they create the tables of the models."""

import re
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from helpers.databases import Databases
from helpers.examples import ACCOUNT, USER
from helpers.service import ROOT, run_flask, start_flask
from peewee import IntegrityError
from playhouse.migrations import Runner
from playhouse.schema_diff import diff_models

from contacts_service.models import migrations
from contacts_service.models.contact_count import AssignedCount, ContactCount, count_assigned, count_contacts
from contacts_service.models.contacts import Contact, ContactTag, FormerBsuid
from contacts_service.models.database import connect, database
from contacts_service.models.flows import CREATED_ORDER, Flow
from contacts_service.models.keys import ApiKey
from contacts_service.models.messages import EarlyStatus, Message
from contacts_service.models.retries import FirstAnswer
from contacts_service.models.sessions import Session
from contacts_service.settings import Settings

MODELS = [Contact, ContactTag, FormerBsuid, Flow, Session, Message, EarlyStatus, ApiKey, FirstAnswer]
MODELS += [ContactCount, AssignedCount]
MIGRATIONS = [
    "0001_contacts_flows_sessions",
    "0002_messages",
    "0003_keys_versions_retries",
    "0004_contact_counts",
    "0005_contact_search",
    "0006_assigned_counts",
]
STEPS = ROOT / "contacts_service" / "models" / "migrations"
# Objects that only migrations create, because they exist on one kind of database only.
SEARCH_INDEX = {
    "sqlite": {
        *("contact_grams", "contact_search", "contact_search_insert", "contact_search_delete"),
        *("contact_search_before", "contact_search_after", "contact_count_insert", "contact_count_delete"),
        *("assigned_count_insert", "assigned_count_delete", "assigned_count_update"),
    },
    "postgresql": {
        *("contact_search_pkey", "contact_search_grams", "contact_search_contact_id_fkey"),
        *("contact_search.contact_id", "contact_search.account_id", "contact_search.search_text"),
        *("contact_search_contact_id_not_null", "contact_search_search_text_not_null"),
    },
}


def schema_objects() -> dict[str, str]:
    """Return the definition of every object in the schema by its name."""
    if database.kind == "sqlite":
        rows = database.execute_sql("SELECT name, coalesce(sql, type) FROM sqlite_master").fetchall()
        rows = [row for row in rows if not row[0].startswith("contact_search_") or "TRIGGER" in row[1]]
    else:
        rows = database.execute_sql(
            """
            SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
            UNION ALL SELECT table_name || '.' || column_name, data_type || ' ' || is_nullable
            FROM information_schema.columns WHERE table_schema = 'public'
            """
        ).fetchall()
    kept = {name: re.sub(r"\s+", " ", text) for name, text in rows}
    return {
        name: text for name, text in kept.items() if "schema_migration" not in text + name and "_migration_" not in name
    }


def test_migrations_create_what_the_models_describe(kind: str, databases: Databases, empty_database: str) -> None:
    assert empty_database
    assert migrations.upgrade() == MIGRATIONS
    with database.connection_context():
        assert not diff_models(database.obj, MODELS).create_tables
        migrated = schema_objects()
    connect(Settings(database_url=databases.create(kind)))
    with database.connection_context():
        database.create_tables(MODELS)
        modelled = schema_objects()
    assert {name: migrated[name] for name in migrated if name not in SEARCH_INDEX[kind]} == modelled
    assert migrated.keys() - modelled.keys() == SEARCH_INDEX[kind]


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
        assert schema_objects() == {}
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
        with pytest.raises(IntegrityError, match="session"):
            migrations.upgrade()
        assert database.obj.foreign_keys_seen == 0
    else:
        assert migrations.upgrade() == ["0099_probe"]
    with database.connection_context():
        assert Session.select().count() == 1
        if database.kind == "sqlite":
            assert database.obj.pragma("foreign_keys") == 1


def test_flows_survive_the_migration_that_adds_their_account(empty_database: str) -> None:
    assert empty_database
    with database.connection_context():
        Runner(database.obj, str(STEPS)).up("0002_messages")
        for number in (1, 2):
            database.execute_sql(
                "INSERT INTO flow (id, name, panel_config, created_at, updated_at) VALUES "
                f"('5d1a3c77-9f0e-4a6b-8a55-00000000000{number}', 'Flow {number}', '{{}}', "
                f"'2024-01-0{number}T00:00:00.000000Z', '2024-01-03T00:00:00.000000Z')"
            )
    assert migrations.upgrade() == MIGRATIONS[2:]
    with database.connection_context():
        kept = Flow.select(Flow.name, Flow.account_id, Flow.version).order_by(*CREATED_ORDER).tuples()
        assert list(kept) == [("Flow 2", None, 1), ("Flow 1", None, 1)]


def test_migrations_count_and_index_existing_contacts(empty_database: str) -> None:
    assert empty_database
    account, user = ACCOUNT, USER
    with database.connection_context():
        Runner(database.obj, str(STEPS)).up("0003_keys_versions_retries")
        for number, (account_id, assigned_to) in enumerate(((None, None), (account, None), (account, user))):
            contact = {**CONTACT, "id": f"01890a5d-ac96-774b-bcce-b302099a800{number}", "account_id": account_id}
            contact |= {"assigned_to": assigned_to, "search_text": f"ann number{number}\n\n"}
            Contact.insert({**contact, "phone_number": f"+123456789{number}"}).execute()
    assert migrations.upgrade() == MIGRATIONS[3:]
    with database.connection_context():
        assert [count_contacts(accounts) for accounts in (None, ["none"], [account])] == [3, 1, 2]
        assert [count_assigned(None, None), count_assigned(None, [account]), count_assigned(user, None)] == [2, 1, 1]
        searches = [[database.search_values(terms)] for terms in (["number1"], ["a", "numb"], ["number0"])]
        found = [database.count_matches(search, [account]) for search in searches]
        assert found == [(1, 2), (2, 2), (0, 2)]


@pytest.mark.processes
def test_four_processes_at_once_apply_each_migration_once(empty_database: str) -> None:
    processes = [start_flask(empty_database, "db", "upgrade") for _ in range(4)]
    outputs = ["".join(process.communicate(timeout=60)) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    applied = Counter(line for output in outputs for line in output.splitlines() if line.startswith("applied"))
    assert applied == {f"applied {name}": 1 for name in MIGRATIONS}
    with database.connection_context():
        assert not migrations.pending()


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
    assert (
        first.stdout + first.stderr
        == "".join(f"applied {name}\n" for name in MIGRATIONS) + "The database is up to date.\n"
    )
    second = run_flask(empty_database, "db", "upgrade")
    assert second.stdout + second.stderr == "The database is up to date.\n"


@pytest.mark.processes
def test_upgrade_command_fails_clearly_without_a_database() -> None:
    done = run_flask("postgresql://unknown@127.0.0.1:1/nothing", "db", "upgrade")
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert output.startswith("Error: The database can't answer")
    assert "Traceback" not in output


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
SESSION = {"id": CONTACT["id"], "status": "active", "session_data": {}, "created_at": NOW, "updated_at": NOW}


def test_schema_rejects_invalid_rows_and_cascades(app: Flask) -> None:
    """Uniqueness, checks and cascades hold for every writer, not only for the service."""
    assert app
    with database.connection_context():
        Contact.insert(CONTACT).execute()
        pk = Contact.get(Contact.id == CONTACT["id"]).pk
        for model, values in (
            (Contact, CONTACT),
            (Contact, OTHER),
            (Contact, {**OTHER, "phone_number": "1234567891"}),
            (Contact, {**OTHER, "phone_number": "+12"}),
            (Contact, {**OTHER, "phone_number": None}),
            (Session, {**SESSION, "contact": pk + 1000}),
            (Session, {**SESSION, "contact": pk, "status": "done"}),
        ):
            with pytest.raises(IntegrityError):
                model.insert(values).execute()
        Session.insert({**SESSION, "contact": pk}).execute()
        Contact.delete().execute()
        assert Session.select().count() == 0
