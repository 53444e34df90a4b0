"""Compares what contacts show with what follows from the tables that it is made of."""

import contextlib
import sqlite3
from typing import Any

import psycopg
from helpers.databases import sqlite_file

from contacts_service.contacts.tables import IDENTIFIER_KINDS

# Each lists what must not be there, if all messages are shown and none was marked as read. The same SQL runs on both
# databases.
CONTRADICTIONS = {
    "unread_count": """
        SELECT id, unread_count FROM contact WHERE unread_count <> (
            SELECT COUNT(*) FROM message WHERE contact_id = contact.pk AND direction = 'incoming')""",
    "last_inbound_at": """
        SELECT id, last_inbound_at FROM contact WHERE last_inbound_at IS DISTINCT FROM (
            SELECT MAX(timestamp) FROM message WHERE contact_id = contact.pk AND direction = 'incoming')""",
    "last_message_at": """
        SELECT id, last_message_at FROM contact WHERE last_message_at IS DISTINCT FROM (
            SELECT MAX(timestamp) FROM message WHERE contact_id = contact.pk)""",
    "last_message_preview": """
        SELECT id, last_message_preview FROM contact WHERE last_message_preview IS DISTINCT FROM (
            SELECT content ->> 'body' FROM message WHERE contact_id = contact.pk
            ORDER BY timestamp DESC, key DESC LIMIT 1)""",
    "tags": """
        SELECT id, tags FROM contact WHERE json_array_length(tags) <> (
            SELECT COUNT(*) FROM contact_tag WHERE contact_id = contact.pk)""",
    "counters": """
        SELECT account, SUM(contacts), SUM(unassigned) FROM contact_count GROUP BY account
        HAVING SUM(contacts) <> (
            SELECT COUNT(*) FROM contact WHERE COALESCE(CAST(account_id AS text), 'none') = account)
        OR SUM(unassigned) <> (
            SELECT COUNT(*) FROM contact WHERE COALESCE(CAST(account_id AS text), 'none') = account
                AND assigned_to IS NULL)""",
    "merged_into": """
        SELECT source_id FROM contact_merge WHERE source_id IN (SELECT id FROM contact)
            OR merged_into NOT IN (SELECT id FROM contact UNION SELECT source_id FROM contact_merge)""",
    "messages of merges": """
        SELECT source_id FROM contact_merge WHERE survivor_id <> (
            SELECT MIN(contact_id) FROM message WHERE merged_from = source_id)""",
    **{
        kind: f"""
        SELECT id, {kind} FROM contact WHERE {kind} IS DISTINCT FROM (
            SELECT value FROM contact_identifier WHERE contact_id = pk AND kind = '{kind}' AND current)"""
        for kind in IDENTIFIER_KINDS
    },
}


def contradictions(database_url: str) -> dict[str, list[Any]]:
    """What contradicts the tables, by what it is about."""
    is_sqlite = database_url.startswith("sqlite")
    connect: Any = sqlite3.connect if is_sqlite else psycopg.connect
    with contextlib.closing(connect(sqlite_file(database_url) if is_sqlite else database_url)) as connection:
        found = {what: connection.execute(sql).fetchall() for what, sql in CONTRADICTIONS.items()}
        if is_sqlite:
            # Compares the index with the contacts too (sqlite.org/fts5.html, "The 'integrity-check' Command").
            connection.execute("INSERT INTO contact_search (contact_search, rank) VALUES ('integrity-check', 1)")
            found["foreign keys"] = connection.execute("PRAGMA foreign_key_check").fetchall()
        else:
            found["search"] = connection.execute(
                "SELECT pk FROM contact FULL JOIN contact_search ON pk = contact_id"
                " WHERE contact.search_text IS DISTINCT FROM contact_search.search_text"
            ).fetchall()
    return {what: rows for what, rows in found.items() if rows}
