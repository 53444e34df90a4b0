"""Queries of contacts by id and by identifiers. They return rows as dicts."""

from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from peewee import Case, IntegrityError

from contacts_service.contacts.tables import (
    ALL_COLUMNS,
    IDENTIFIERS,
    INTERNAL_COLUMNS,
    Contact,
    ContactTag,
    FormerBsuid,
    by_id,
)
from contacts_service.db.accounts import AllowedAccounts, of_account
from contacts_service.db.actor import actor, on_behalf_of
from contacts_service.db.database import database
from contacts_service.db.prepared import ContextValue, Row, columns_of, prepared

_ACTOR = {"changed_by": ContextValue(actor), "on_behalf_of": ContextValue(on_behalf_of)}
Versions = list[int] | None
"""The versions that a contact may have for a write to happen; None for any."""


class IdentifierTaken(Exception):
    """Another contact of the account has the phone number or bsuid that a contact was to get."""


@prepared(one=True)
def get_contact(contact_id: Any, allowed_accounts: Any) -> Any:
    return Contact.select(*ALL_COLUMNS).where(by_id(contact_id, allowed_accounts))


@prepared(one=True)
def lock_contact(contact_id: Any, allowed_accounts: Any) -> Any:
    """Read a contact including internal columns, and lock it until the transaction ends."""
    return database.locked(Contact.select(*INTERNAL_COLUMNS, *ALL_COLUMNS).where(by_id(contact_id, allowed_accounts)))


def _by_identifiers(account_id: Any, phone_numbers: list[Any], bsuids: list[Any]) -> Any:
    # Each alternative names the account, and an empty one is left out, or SQLite would read the whole account.
    in_account = of_account(Contact.account_id, account_id)
    given = ((Contact.phone_number, phone_numbers), (Contact.bsuid, bsuids))
    alternatives = [in_account & column.in_(values) for column, values in given if values]
    contacts = Contact.select(*INTERNAL_COLUMNS, *ALL_COLUMNS)
    return contacts.where(reduce(or_, alternatives)).order_by(Contact.pk)


find_by_identifiers = prepared(_by_identifiers)
lock_by_identifiers = prepared(lambda *arguments: database.locked(_by_identifiers(*arguments)))


@prepared(one=True)
def lock_by_former_bsuid(key: Any) -> Any:
    """Read and lock the contact that had a bsuid; the key is that of FormerBsuid."""
    owner = FormerBsuid.select(FormerBsuid.contact).where(FormerBsuid.key == key)
    return database.locked(Contact.select(*INTERNAL_COLUMNS, *ALL_COLUMNS).where(Contact.pk == owner))


@prepared
def remember_former_bsuid(values: Row) -> Any:
    former = FormerBsuid.insert(columns_of(FormerBsuid, values))
    return former.on_conflict(conflict_target=[FormerBsuid.key], preserve=[FormerBsuid.contact])


@prepared(one=True)
def insert_contact(values: Row) -> Any:
    """Insert a contact and return it including internal columns; None if its account has an identifier already."""
    new = Contact.insert({**columns_of(Contact, values), **_ACTOR})
    return new.on_conflict("nothing").returning(*INTERNAL_COLUMNS, *ALL_COLUMNS)


def update_contact(
    contact_id: str, changes: Row, now: datetime, *, allowed_accounts: AllowedAccounts, expected: Versions = None
) -> Row | None:
    """Change columns, time and version, and return the contact; None if no contact has this id and version.

    Raises IdentifierTaken.
    """
    row: Row | None
    if not changes.keys() & IDENTIFIERS:
        row = _update(contact_id, allowed_accounts, expected, changes, now)
        return row
    try:
        with database.atomic():  # Without a savepoint PostgreSQL can't go on after a refused write.
            row = _update(contact_id, allowed_accounts, expected, changes, now)
    except IntegrityError as error:
        raise IdentifierTaken from error
    return row


@prepared(one=True)
def _update(contact_id: Any, allowed_accounts: Any, expected: Any, changes: Row, now: Any) -> Any:
    # A writer that waited for the lock may carry an older time.
    updated_at = Case(None, [(Contact.updated_at > now, Contact.updated_at)], now.of(Contact.updated_at))
    changes = {**columns_of(Contact, changes), "updated_at": updated_at, "version": Contact.version + 1}
    return (
        Contact.update({**changes, **_ACTOR})
        .where(_expected(contact_id, allowed_accounts, expected))
        .returning(*ALL_COLUMNS)
    )


def replace_tags(contact_pk: int, tags: list[str]) -> None:
    """Replace the tags that a contact is found by."""
    ContactTag.delete().where(ContactTag.contact == contact_pk).execute()
    if tags:
        ContactTag.insert_many([{"contact": contact_pk, "tag": tag} for tag in tags]).execute()


@prepared(one=True)
def delete_contact(contact_id: Any, allowed_accounts: Any, expected: Any) -> Any:
    """Delete a contact and by cascade everything of it; None if no contact has this id and version."""
    return Contact.delete().where(_expected(contact_id, allowed_accounts, expected)).returning(Contact.id)


def _expected(contact_id: Any, allowed_accounts: Any, versions: Any) -> Any:
    contact = by_id(contact_id, allowed_accounts)
    return contact if versions is None else contact & Contact.version.in_(versions)
