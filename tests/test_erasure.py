"""Erasure: after a delete the files of the database hold nothing of the person but the bare id in the change feed."""

import base64
import contextlib
import random
import re
import sqlite3
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.databases import Databases, sqlite_file
from helpers.examples import FLOW_ID
from helpers.keys import make_key
from helpers.messages import message

from contacts_service.app import create_app, prepare
from contacts_service.contacts import erasure
from contacts_service.contacts.use_cases import create_contact
from contacts_service.db.database import close_connection, database, writing
from contacts_service.settings import Settings

NUMBERS = ("+4915551234987", "+4915557654321", "+4915559081726")
BSUIDS = ("DE.Zq81Xw77Kp", "DE.Hv20Lm93Ty", "DE.Bc45Nd61Rs")
WA_ID = "wamid." + base64.b64encode(b"\x1d\x18" + NUMBERS[0][1:].encode()).decode()
SESSION = "3f0c7e52-91ab-4d6e-8c35-7b1e5a2d9f04"
SECRETS = {
    *(number[1:-1] for number in NUMBERS),
    *BSUIDS,
    *("Quintessa", "Wojciechowski", "Formerly Vandersloot", "quxprofile", "quxuser", "CRM-90817"),
    *("vip-zugspitze", "krankenkasse-4711", "source-krokus", "I moved to Entenhausen", "zebra-crossing-poem"),
    *("basilisk@example.com", "agent.kestrel@example.com", "example.com/portrait-9981", WA_ID, SESSION),
    *("bic7-oldvalue", "sourcesecret", "https://example.com/ticket-777"),
}


@pytest.fixture
def own_app(app: Flask, kind: str, databases: Databases) -> Iterator[tuple[Flask, str]]:
    """The application on a database that no other test has written to, and its URL."""
    assert app, "the fixture restores the connection"
    url = databases.create(kind)
    own = create_app(Settings(database_url=url))
    prepare(own)
    yield own, url
    close_connection()


def store_bystander(caller: Caller) -> str:
    """Make another contact, so that no table gets empty: PostgreSQL keeps the statistics of one that is."""
    fields = {"name": "Bystander Borogove", "tags": ["stays"], "metadata": {"stays": True}}
    contact_id = caller.create("+12025550123", **fields)["id"]
    source_id = caller.post("/api/contacts", {"bsuid": "US.Bystander"}).data["id"]
    caller.post(f"/api/contacts/{source_id}/messages", message(99))
    caller.put(f"/api/contacts/{source_id}/session-data", {"session_data": {}})
    caller.post(f"/api/contacts/{contact_id}/merge", {"source_id": source_id})
    return contact_id


def store_everything(app: Flask) -> tuple[str, set[str]]:
    """Make a contact that left traces everywhere. Returns its id, and all ids that are the person's."""
    caller = Caller(app, make_key(app, name="desk"))
    headers = {"X-Actor": "agent.kestrel@example.com"}
    retry = iter(range(100))

    def post(path: str, body: Any) -> Any:
        return caller.post(path, body, {**headers, "Idempotency-Key": f"retry-{next(retry)}"}).data

    created = post("/api/contacts", {"phone_number": NUMBERS[0], "name": "Formerly Vandersloot", "tags": ["old-tag"]})
    contact = f"/api/contacts/{created['id']}"
    changes = {"name": "Quintessa Wojciechowski", "username": "quxuser", "external_id": "CRM-90817"}
    changes |= {"tags": ["vip-zugspitze"], "metadata": {"insurance": "bic7-oldvalue"}, "profile_name": "quxprofile"}
    caller.put(contact, {**changes, "avatar_url": "https://example.com/portrait-9981"}, headers)
    caller.patch(contact, {"metadata": {"insurance": "krankenkasse-4711"}}, headers)
    for bsuid, number in ((BSUIDS[0], NUMBERS[0]), (BSUIDS[1], NUMBERS[1])):
        post("/api/contacts/resolve", {"bsuid": bsuid, "previous_bsuid": BSUIDS[0], "phone_number": number})
    texts = ("I moved to Entenhausen", "zebra-crossing-poem " * 1000)
    early = {"wa_message_id": WA_ID, "status": "delivered"}
    assert caller.put("/api/messages/status", early).status == 202
    said = {"contact": {"bsuid": BSUIDS[1]}, **message(0, direction="outgoing", content={"body": texts[0]})}
    ids = {post("/api/messages", {**said, "wa_message_id": WA_ID})["id"]}
    error = {"href": "https://example.com/ticket-777"}
    caller.put("/api/messages/status", {"wa_message_id": WA_ID, "status": "failed", "error": error})
    ids |= {post(f"{contact}/messages", message(number, content={"body": texts[1]}))["id"] for number in range(1, 4)}
    session = {"session_id": SESSION, "flow_id": FLOW_ID, "session_data": {"email": "basilisk@example.com"}}
    caller.put(f"{contact}/session-data", session)
    for is_undone in (True, False):
        source = {"bsuid": f"{BSUIDS[2]}{is_undone:d}", "name": "sourcesecret", "metadata": {"pet": "source-krokus"}}
        source_id = post("/api/contacts", {**source, "phone_number": NUMBERS[2][:-1] + str(int(is_undone))})["id"]
        post(f"/api/contacts/{source_id}/messages", message(10 + is_undone, content={"body": "sourcesecret"}))
        post(f"{contact}/merge", {"source_id": source_id})
        if is_undone:
            caller.delete(f"{contact}/merges/{source_id}", headers)
            assert caller.delete(f"/api/contacts/{source_id}", headers).status == 200
        ids.add(source_id)
    assert caller.put("/api/messages/status", {**early, "wa_message_id": f"{WA_ID}2"}).status == 202
    post(f"{contact}/mark-read", None)
    return created["id"], ids | {created["id"]}


def rows(url: str) -> dict[str, list[str]]:
    """Each table that the database has, with its rows as text."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(sqlite_file(url))) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: [repr(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in tables}
    with psycopg.connect(url) as connection:
        named = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        tables = [name for (name,) in connection.execute(named).fetchall()]
        found = {}
        for name in tables:
            with connection.cursor().copy(f'COPY "{name}" TO STDOUT') as copy:
                found[name] = [bytes(row).decode() for row in copy]
        return found


def file_bytes(url: str) -> bytes:
    """What is in the database's files."""
    if url.startswith("sqlite"):
        file = sqlite_file(url)
        return b"".join(each.read_bytes() for each in (file, file.with_name(f"{file.name}-wal")) if each.exists())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        query = "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
        [(directory, oid)] = connection.execute(query).fetchall()
    folder = Path(directory) / "base" / str(oid)
    if not folder.exists():
        pytest.skip("the server's files are on another machine")
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())


def traces(data: bytes, secrets: set[str]) -> set[str]:
    """Which of the secrets are there, in either case, and ids also as 16 bytes."""
    lower = data.lower()
    return {each for each in secrets if each.lower().encode() in lower or (is_uuid(each) and UUID(each).bytes in data)}


def is_uuid(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def test_delete_leaves_nothing_but_bare_ids_in_the_change_feed(own_app: tuple[Flask, str]) -> None:
    """Whatever tables there are, and in SQLite's file and log at once."""
    app, url = own_app
    stays = store_bystander(Caller(app))
    contact_id, ids = store_everything(app)
    caller = Caller(app, make_key(app))
    before = "\n".join(line for lines in rows(url).values() for line in lines).encode()
    assert traces(before, SECRETS) == SECRETS - {"bic7-oldvalue"}, "the test stores what it looks for"
    assert traces(file_bytes(url), ids) == ids
    assert caller.delete(f"/api/contacts/{contact_id}").status == 200
    for name, lines in rows(url).items():
        data = "\n".join(lines).encode()
        assert not traces(data, SECRETS), name
        assert name == "contact_tombstone" or not traces(data, ids), name
    if url.startswith("sqlite"):
        assert not traces(file_bytes(url), SECRETS)
        with writing():
            database.execute_sql("DELETE FROM contact_tombstone")
            database.erase_after_commit()
        assert not traces(file_bytes(url), ids)
    assert caller.get(f"/api/contacts/{stays}").data["tags"] == ["stays"]
    assert caller.get("/api/contacts", search="orogo").data["total"] == 1


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_full_vacuum_leaves_nothing_in_the_files_of_postgresql(own_app: tuple[Flask, str]) -> None:
    """A plain one leaves bytes in the unused part of pages; statistics hold values until the next ANALYZE."""
    app, url = own_app
    store_bystander(Caller(app))
    contact_id, ids = store_everything(app)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")
        assert traces(file_bytes(url), SECRETS) == SECRETS
        assert Caller(app, make_key(app)).delete(f"/api/contacts/{contact_id}").status == 200
        connection.execute("DELETE FROM contact_tombstone WHERE id = ANY(%s::uuid[])", [list(ids)])
        connection.execute("ANALYZE")
        connection.execute("VACUUM (FULL)")
        assert not traces(file_bytes(url), SECRETS | ids)


def random_name(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=200))


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_rewriting_a_large_search_index_leaves_nothing_of_a_deleted_contact(own_app: tuple[Flask, str]) -> None:
    app, url = own_app
    rng = random.Random(1)
    with writing():
        contact_id = create_contact(allowed_accounts=None, phone_number=NUMBERS[0], name="Quintessa")["id"]
    with writing():
        for number in range(150):
            create_contact(allowed_accounts=None, phone_number=f"+120255501{number:03}", name=random_name(rng))
    assert Caller(app).delete(f"/api/contacts/{contact_id}").status == 200
    assert traces(file_bytes(url), {"Quintessa"}), "the index is too large to be rewritten by a delete"
    shares = []
    for share in erasure.rewrite_search_index():
        shares.append(share)
        with writing():
            create_contact(allowed_accounts=None, bsuid=f"US.{len(shares)}", name=random_name(rng))
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert not traces(file_bytes(url), {"Quintessa", NUMBERS[0][2:]})
    assert Caller(app).get("/api/contacts", search="+120255501149").data["total"] == 1
    with writing():
        database.execute_sql("INSERT INTO contact_search (contact_search, rank) VALUES ('integrity-check', 1)")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_log_that_is_read_during_a_delete_is_emptied_by_a_later_write(own_app: tuple[Flask, str]) -> None:
    app, url = own_app
    caller = Caller(app)
    contact_id = caller.create(NUMBERS[0], name="Quintessa")["id"]
    with contextlib.closing(sqlite3.connect(sqlite_file(url), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM contact").fetchone()
        assert caller.delete(f"/api/contacts/{contact_id}").status == 200, "no delete waits for readers"
        assert traces(file_bytes(url), {"Quintessa"})
    caller.create("+12025550123")
    assert not traces(file_bytes(url), {"Quintessa", NUMBERS[0][2:]})
