"""Compares the ledger with the service's responses and tables: nothing may be missing, doubled or half done."""

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from ledger import Ledger, Person
from traffic import Client, Traffic

READERS = 8
SHOWN = 10
"""How many examples of each kind of finding are printed."""

# Each lists what must not be there. The same SQL runs on both databases.
DOUBLED = {
    "two contacts of one number": """
        SELECT account_id, phone_number FROM contact GROUP BY account_id, phone_number HAVING COUNT(*) > 1""",
    "two messages of one wa_message_id": """
        SELECT account_id, wa_message_id FROM message GROUP BY account_id, wa_message_id HAVING COUNT(*) > 1""",
    "two sessions of one contact, where no caller began a second": """
        SELECT contact_id FROM session GROUP BY contact_id HAVING COUNT(*) > 1""",
}
HALF_DONE = {
    "unread_count is not the number of incoming messages": """
        SELECT id, unread_count FROM contact WHERE unread_count <> (
            SELECT COUNT(*) FROM message WHERE contact_id = contact.pk AND direction = 'incoming')""",
    "last_inbound_at is not the time of the newest incoming message": """
        SELECT id, last_inbound_at FROM contact WHERE last_inbound_at IS DISTINCT FROM (
            SELECT MAX(timestamp) FROM message WHERE contact_id = contact.pk AND direction = 'incoming')""",
    "last_message_at is not the time of the newest message": """
        SELECT id, last_message_at FROM contact WHERE last_message_at IS DISTINCT FROM (
            SELECT MAX(timestamp) FROM message WHERE contact_id = contact.pk)""",
    "last_message_preview is not the text of the newest message": """
        SELECT id, last_message_preview FROM contact WHERE last_message_preview IS DISTINCT FROM (
            SELECT content ->> 'body' FROM message WHERE contact_id = contact.pk
            ORDER BY timestamp DESC, key DESC LIMIT 1)""",
    "a message in another account than its contact": """
        SELECT message.id FROM message JOIN contact ON contact.pk = contact_id
        WHERE message.account_id IS DISTINCT FROM contact.account_id""",
    "tags that are not those which the contact is found by": """
        SELECT id, tags FROM contact WHERE json_array_length(tags) <> (
            SELECT COUNT(*) FROM contact_tag WHERE contact_id = contact.pk)""",
    "a stored response without its contact": """
        SELECT key FROM stored_response WHERE body IS NOT NULL AND contact_id NOT IN (SELECT id FROM contact)""",
    **{
        f"{table} without its contact": f"""
        SELECT contact_id FROM {table} WHERE contact_id NOT IN (SELECT pk FROM contact)"""
        for table in ("message", "session", "contact_tag", "contact_identifier")
    },
}


@dataclass
class Findings:
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    half_done: list[str] = field(default_factory=list)


def verify(url: str, database_url: str, ledger: Ledger) -> Findings:
    """Compare everything acknowledged with what is stored. No one may write at the same time."""
    findings = Findings(doubled=list(ledger.contradictions))
    people = [*ledger.staying, *ledger.passing]
    with ThreadPoolExecutor(READERS) as readers:
        parts = [(people[n::READERS], ledger.left[n::READERS]) for n in range(READERS)]
        list(readers.map(lambda part: _read_back(url, *part, findings), parts))
    _read_list(url, people, findings)
    _read_tables(database_url, ledger, findings)
    return findings


def _read_back(url: str, people: list[Person], left: list[Person], findings: Findings) -> None:
    client = Client(Traffic([url]), random.Random())
    for person in people:
        response = client.get(f"/api/contacts/{person.id}", 404)
        if response.status == 404:
            findings.missing.append(f"contact {person.id}")
            continue
        for what, acknowledged, found in _values(client, person, response.data):
            if acknowledged != found:
                findings.missing.append(f"{what} of {person.id}: {acknowledged} was acknowledged, {found} is there")
        _read_messages(client, person, findings)
        _search(client, person, findings)
    for person in left:
        for path in ("", "/messages", "/session-data", "/sessions"):
            if client.get(f"/api/contacts/{person.id}{path}", 404).status != 404:
                findings.half_done.append(f"{path or 'the whole'} of deleted contact {person.id} is still there")
    client.close()


def _values(client: Client, person: Person, contact: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield each acknowledged value of a person with the stored one."""
    for name in ("phone_number", "account_id", "name", "assigned_to", "tags"):
        yield name, getattr(person, name), contact[name]
    yield "metadata", person.metadata, contact["metadata"]
    yield "variables", person.variables, client.get(f"/api/contacts/{person.id}/session-data").data["session_data"]


def _read_messages(client: Client, person: Person, findings: Findings) -> None:
    found = {message["id"]: message for message in _history(client, person.id)}
    for record in person.messages:
        message = found.pop(record.id, None)
        if message is None or message["wa_message_id"] != record.wa_message_id:
            findings.missing.append(f"message {record} of {person.id}: {message} is there")
        elif record.status and message["status"] != record.status:
            findings.missing.append(f"status of message {record}: {message['status']} is there")
    findings.doubled += [f"message that was never acknowledged: {message}" for message in found.values()]


def _history(client: Client, contact_id: str) -> Iterator[dict[str, Any]]:
    query = "limit=100"
    while True:
        page = client.get(f"/api/contacts/{contact_id}/messages?{query}").data
        yield from page["items"]
        if not page["has_more"]:
            return
        query = f"limit=100&before={page['items'][0]['id']}"


def _search(client: Client, person: Person, findings: Findings) -> None:
    """Search for a person by number and by name, which needs a current search index."""
    for words in filter(None, (person.phone_number.removeprefix("+"), person.name)):
        found = [item["id"] for item in client.get(f"/api/contacts?search={words}").data["items"]]
        if found != [person.id]:
            findings.half_done.append(f"a search for {words} finds {found} instead of {person.id}")


def _read_list(url: str, people: list[Person], findings: Findings) -> None:
    """Page through the list: it holds each person once and no one else."""
    client, listed, query = Client(Traffic([url]), random.Random()), Counter[str](), "sort=created&limit=100"
    while True:
        page = client.get(f"/api/contacts?{query}").data
        listed.update(item["id"] for item in page["items"])
        if not page["next_cursor"]:
            break
        query = f"sort=created&limit=100&cursor={page['next_cursor']}"
    client.close()
    known = Counter(person.id for person in people)
    findings.missing += [f"contact {contact_id} in the list" for contact_id in known - listed]
    findings.doubled += [f"contact {contact_id} in the list, never acknowledged" for contact_id in listed - known]


def _read_tables(database_url: str, ledger: Ledger, findings: Findings) -> None:
    for found, queries in ((findings.doubled, DOUBLED), (findings.half_done, HALF_DONE)):
        for what, sql in queries.items():
            found += [f"{what}: {row}" for row in rows(database_url, sql)]
    recorded = {wa_message_id for (wa_message_id,) in rows(database_url, "SELECT wa_message_id FROM message")}
    for person in ledger.left:
        remains = recorded & {record.wa_message_id for record in person.messages}
        findings.half_done += [f"message {wa_message_id} of deleted contact {person.id}" for wa_message_id in remains]
    if database_url.startswith("sqlite"):
        # With 1 the index is compared with the contacts too (sqlite.org/fts5.html, "The 'integrity-check' Command").
        for sql in (
            "INSERT INTO contact_search (contact_search, rank) VALUES ('integrity-check', 1)",
            "PRAGMA integrity_check",
            "PRAGMA foreign_key_check",
        ):
            findings.half_done += [f"{sql}: {row}" for row in rows(database_url, sql) if row != ("ok",)]


def rows(database_url: str, sql: str) -> list[tuple[Any, ...]]:
    """Query the database directly."""
    if database_url.startswith("sqlite"):
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        try:
            return connection.execute(sql).fetchall()
        except sqlite3.DatabaseError as error:
            return [(repr(error),)]
        finally:
            connection.close()
    with psycopg.connect(database_url) as connection:
        return connection.execute(sql).fetchall()


def report(traffic: Traffic, ledger: Ledger, findings: Findings, logs: list[Path]) -> bool:
    """Print what happened. Returns whether nothing was missing, doubled, half done or unexpected."""
    people = [*ledger.staying, *ledger.passing, *ledger.left]
    values = sum(len(person.metadata) + len(person.variables) for person in people)
    crashes = sum(log.read_text().count("Traceback") for log in logs)
    print(f"requests {len(traffic.tries)}, outcomes {json.dumps(traffic.outcomes())}")
    print(
        f"acknowledged: {len(people)} contacts ({len(ledger.left)} deleted again), "
        f"{sum(len(person.messages) for person in people)} messages, "
        f"{values} last values of metadata and variables"
    )
    print(
        f"repeated {traffic.repeated} ({traffic.replayed} POSTs had had their effect), "
        f"missing {len(findings.missing)}, doubled {len(findings.doubled)}, "
        f"half done {len(findings.half_done)}, unexpected responses {len(traffic.failures)}, tracebacks {crashes}"
    )
    kinds = {"missing": findings.missing, "doubled": findings.doubled, "half done": findings.half_done}
    found = {**kinds, "unexpected": traffic.failures}
    for kind, texts in found.items():
        for text in texts[:SHOWN]:
            print(f"  {kind}: {text}")
    return not crashes and not any(found.values())
