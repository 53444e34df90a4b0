"""Inserts the new contacts of a batch, and all that they are found by, with one statement for each table."""

from collections.abc import Callable, Iterator
from typing import Any

from contacts_service.contacts.metadata_terms import terms_of
from contacts_service.contacts.search_index import INDEXES
from contacts_service.contacts.tables import IDENTIFIER_KINDS, NO_ACCOUNT, Contact
from contacts_service.db.caller import actor, on_behalf_of
from contacts_service.db.database import database

_COLUMNS = [
    *("pk", "id", "account_id", *IDENTIFIER_KINDS, "username", "name", "profile_name", "avatar_url", "assigned_to"),
    *("tags", "marketing_opt_out", "marketing_opt_out_source", "metadata", "search_text", "unread_count", "version"),
]
_OTHERS = ("marketing_opt_out_at", "created_at", "updated_at", "changed_by", "on_behalf_of", "change_seq")
_OF_IDENTIFIER = ("account", "kind", "value", "contact_id", "current", "first_seen_at", "last_seen_at")
_WRITE_TIME = Contact.created_at.db_value
# While base is below 0, SQLite's triggers leave new contacts alone; once it no longer is, they do their work for all.
_BEGIN = "UPDATE change_feed SET base = -1 - base RETURNING -1 - base"
_END = "UPDATE change_feed SET base = ?"


def insert_contacts(contacts: list[dict[str, Any]], on_wait: Callable[[], object]) -> None:
    """Insert contacts. ``on_wait`` is called when the database has the contacts, and begins to write them."""
    identifiers, tags, terms = [], [], []
    for contact in contacts:
        pk, account, now = contact["pk"], contact["account_id"] or NO_ACCOUNT, _WRITE_TIME(contact["created_at"])
        values = [(kind, contact[kind]) for kind in IDENTIFIER_KINDS if contact[kind]]
        identifiers += [(account, *value, pk, True, now, now) for value in values]
        tags += [(pk, tag) for tag in contact["tags"].parsed()]
        terms += [(term, pk) for term in terms_of(contact["account_id"], contact["metadata"])]
    is_sqlite = database.kind == "sqlite"
    base = database.execute_sql(_BEGIN).fetchone()[0] if is_sqlite else 0  # PostgreSQL has triggers of statements.
    database.insert_rows("contact", [*_COLUMNS, *_OTHERS], _rows(contacts, base, on_wait))
    if is_sqlite:
        database.execute_sql(_END, (base + len(contacts),))
    INDEXES[database.kind].insert(contacts)
    database.insert_rows("contact_identifier", _OF_IDENTIFIER, sorted(identifiers))
    if tags:
        database.insert_rows("contact_tag", ("contact_id", "tag"), tags)
    if terms:
        database.insert_rows("contact_metadata", ("term", "contact_id"), sorted(terms))


def _rows(contacts: list[dict[str, Any]], base: int, on_wait: Callable[[], object]) -> Iterator[list[Any]]:
    by = actor.get(), on_behalf_of.get()
    for number, each in enumerate(contacts, base + 1):
        created_at = _WRITE_TIME(each["created_at"])
        times = _WRITE_TIME(each["marketing_opt_out_at"]), created_at, created_at
        yield [*map(each.get, _COLUMNS), *times, *by, number]
    on_wait()
