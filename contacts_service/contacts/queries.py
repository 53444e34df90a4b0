"""Queries of contacts by id and by identifiers. They return rows as dicts."""

from typing import Any

from peewee import CTE, SQL, Case, NodeList, Select

from contacts_service.contacts.tables import (
    ALL_COLUMNS,
    INTERNAL_COLUMNS,
    Contact,
    ContactIdentifier,
    ContactMerge,
    ContactTag,
    by_id,
)
from contacts_service.db.caller import actor, limited_to, on_behalf_of
from contacts_service.db.database import database
from contacts_service.db.prepared import ContextValue, Row, columns_of, prepared

_CHANGE_SEQ = {
    "sqlite": "(SELECT base + 1 FROM change_feed)",
    "postgresql": "(SELECT base + pg_current_xact_id()::text::bigint FROM change_feed)",
}
Versions = list[int] | None
"""The versions that a contact may have for a write to happen; None for any."""


def change_columns() -> Row:
    """Part of each change of a contact: its number in the change feed, and who makes it, for the trigger of events."""
    number = SQL(_CHANGE_SEQ[database.kind])
    return {"change_seq": number, "changed_by": ContextValue(actor), "on_behalf_of": ContextValue(on_behalf_of)}


@prepared(one=True)
def get_contact(contact_id: Any, allowed_accounts: Any) -> Any:
    return Contact.select(*ALL_COLUMNS).where(by_id(contact_id, allowed_accounts))


@prepared(one=True)
def lock_contact(contact_id: Any, allowed_accounts: Any) -> Any:
    """Read a contact including internal columns, and lock it until the transaction ends."""
    return database.locked(Contact.select(*INTERNAL_COLUMNS, *ALL_COLUMNS).where(by_id(contact_id, allowed_accounts)))


@prepared
def lock_contacts(contact_ids: Any, allowed_accounts: Any) -> Any:
    """Read and lock several contacts in the order of their keys; see identifiers.lock_owners."""
    contacts = Contact.select(*INTERNAL_COLUMNS, *ALL_COLUMNS)
    visible = limited_to(Contact.id.in_(contact_ids), Contact.account_id, allowed_accounts)
    return database.locked(contacts.where(visible).order_by(Contact.pk))


@prepared(one=True)
def find_survivor(contact_id: Any, allowed_accounts: Any) -> Any:
    """Read the id of the contact that another one, which ended, was merged into."""
    merged = limited_to(ContactMerge.source_id == contact_id, Contact.account_id, allowed_accounts)
    return Contact.select(Contact.id).join(ContactMerge).where(merged)


@prepared
def forget_merged_unread(contact_id: Any) -> Any:
    """Count nothing of what contacts had that were merged into this one as unread any more."""
    survivor = Contact.select(Contact.pk).where(Contact.id == contact_id)
    return ContactMerge.update(unread_count=0).where(ContactMerge.survivor == survivor, ContactMerge.unread_count > 0)


@prepared
def list_sources(contact_pk: Any) -> Any:
    return ContactMerge.select(ContactMerge.source_id).where(ContactMerge.survivor == contact_pk)


@prepared(one=True)
def insert_contact(values: Row) -> Any:
    """Insert a contact and return it including internal columns."""
    new = Contact.insert({**columns_of(Contact, values), **change_columns()})
    return new.returning(*INTERNAL_COLUMNS, *ALL_COLUMNS)


@prepared(one=True)
def insert_whole_contact(values: Row, identifier: Row, terms: Any, tags: Any) -> Any:
    """Do the same with its only identifier, its terms and its tags; None if the identifier exists. PostgreSQL only.

    Terms and tags are JSON arrays.
    """
    key = {"contact": SQL("nextval(pg_get_serial_sequence('contact', 'pk'))")}
    new = ContactIdentifier.insert({**columns_of(ContactIdentifier, identifier), **key}).on_conflict("nothing")
    identified = CTE("identified", new.returning(ContactIdentifier.contact))
    columns = {**columns_of(Contact, values), **change_columns(), "pk": identified.c.contact_id}
    selected = [SQL("NULL") if value is None else value for value in columns.values()]
    inserted = Contact.insert_from(Select([identified], selected), [*columns])
    derived = []
    for name, into, array, kind in (
        ("termed", "contact_metadata (contact_id, term)", terms, "bigint"),
        ("tagged", "contact_tag (contact_id, tag)", tags, "text"),
    ):
        if array is not None:  # Of an array there is one shape, however many it holds.
            select = f"INSERT INTO {into} SELECT contact_id, CAST(json_array_elements_text(CAST("
            derived.append(CTE(name, NodeList((SQL(select), array, SQL(f"AS json)) AS {kind}) FROM identified")))))
    return inserted.with_cte(identified, *derived).returning(*INTERNAL_COLUMNS, *ALL_COLUMNS)


@prepared(one=True)
def update_contact(contact_id: Any, allowed_accounts: Any, expected: Any, changes: Row, now: Any) -> Any:
    """Change columns, time and version, and return the contact; None if no contact has this id and version."""
    # A writer that waited for the lock may carry an older time.
    updated_at = Case(None, [(Contact.updated_at > now, Contact.updated_at)], now.of(Contact.updated_at))
    changes = {**columns_of(Contact, changes), "updated_at": updated_at, "version": Contact.version + 1}
    contact = by_id(contact_id, allowed_accounts)
    contact = contact if expected is None else contact & Contact.version.in_(expected)
    return Contact.update({**changes, **change_columns()}).where(contact).returning(*ALL_COLUMNS)


def replace_tags(contact_pk: int, tags: list[str]) -> None:
    ContactTag.delete().where(ContactTag.contact == contact_pk).execute()
    if tags:
        ContactTag.insert_many([{"contact": contact_pk, "tag": tag} for tag in tags]).execute()


@prepared
def delete_contact(contact_pk: Any) -> Any:
    """Delete a contact and by cascade everything of it."""
    return Contact.delete().where(Contact.pk == contact_pk)
