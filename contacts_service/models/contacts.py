"""The table of contacts and the verbs on it."""

from collections.abc import Sequence
from typing import Any

from peewee import SQL, BigAutoField, Check, NodeList, TextField

from contacts_service.models.database import Table, database
from contacts_service.models.fields import IdField, JSONTextField, NewestFirst, TimeField


class Contact(Table):
    pk = BigAutoField()  # FTS5 and foreign keys want a small integer; callers see only the id.
    id = IdField(unique=True)
    account_id = IdField(null=True)
    phone_number = TextField(
        constraints=[Check("substr(phone_number, 1, 1) = '+' AND length(phone_number) BETWEEN 8 AND 16")]
    )
    name = TextField(null=True)
    profile_name = TextField(null=True)
    avatar_url = TextField(null=True)
    assigned_to = IdField(null=True)
    metadata = JSONTextField()
    search_text = TextField()
    last_message_at = TimeField(null=True)
    created_at = TimeField()
    updated_at = TimeField()


RECENT_ORDER = (NewestFirst(Contact.last_message_at), NewestFirst(Contact.created_at), Contact.id)
Contact.add_index(Contact.index(*RECENT_ORDER, name="contact_recent"))
Contact.add_index(Contact.index(Contact.account_id, *RECENT_ORDER, name="contact_account_recent"))
# NULL equals nothing in a unique index, so contacts without account have one of their own.
Contact.add_index(
    Contact.index(Contact.account_id, Contact.phone_number, unique=True, name="contact_account_phone").where(
        Contact.account_id.is_null(False)
    )
)
Contact.add_index(
    Contact.index(Contact.phone_number, unique=True, name="contact_phone").where(Contact.account_id.is_null())
)

SUMMARY = (
    Contact.id,
    Contact.phone_number,
    Contact.name,
    Contact.profile_name,
    Contact.avatar_url,
    Contact.account_id,
    Contact.assigned_to,
    Contact.last_message_at,
    Contact.created_at,
    Contact.updated_at,
)
WHOLE = (*SUMMARY, Contact.metadata)


def insert_contact(values: dict[str, Any]) -> dict[str, Any] | None:
    """Store a contact and return it whole; None when its account has the phone number already."""
    stored = Contact.insert(values).on_conflict("nothing").returning(*WHOLE).dicts().execute()
    return next(iter(stored), None)


def find_by_phone(account_id: str | None, phone_number: str) -> str | None:
    """Find the id of the one contact of an account that has the phone number."""
    found = Contact.select(Contact.id).where(_of_account(account_id), Contact.phone_number == phone_number)
    return next((contact_id for (contact_id,) in found.tuples()), None)


def get_contact(contact_id: str) -> dict[str, Any] | None:
    return next(iter(Contact.select(*WHOLE).where(Contact.id == contact_id).dicts()), None)


def lock_contact(contact_id: str) -> dict[str, Any] | None:
    """Read a contact's key and names, and keep others from writing to it until the transaction ends."""
    query = Contact.select(Contact.pk, Contact.name, Contact.profile_name, Contact.phone_number)
    query = query.where(Contact.id == contact_id)
    if database.for_update:  # SQLite has locked the whole database already.
        query = query.for_update()
    return next(iter(query.dicts()), None)


def list_contacts(
    *, account_id: str | None, any_of: Sequence[list[str]], limit: int, offset: int
) -> tuple[list[dict[str, Any]], int]:
    """Read one page in recent order and count the matches on all pages.

    ``any_of`` holds alternatives; a contact matches one when its search text has every term of it.
    """
    matching = Contact.select()
    if account_id:
        matching = matching.where(_of_account(account_id))
    if any_of:
        alternatives = [database.matches(Contact.pk, Contact.search_text, terms) for terms in any_of]
        matching = matching.where(NodeList(alternatives, glue=" OR ", parens=True))
    total = matching.select(SQL("COUNT(*)")).scalar()
    page = matching.select(*SUMMARY).order_by(*RECENT_ORDER).limit(limit).offset(offset)
    return list(page.dicts()), total


def update_contact(contact_id: str, changes: dict[str, Any]) -> dict[str, Any] | None:
    """Change the given columns and return the contact whole; None when there is none."""
    changed = Contact.update(changes).where(Contact.id == contact_id).returning(*WHOLE).dicts().execute()
    return next(iter(changed), None)


def delete_contact(contact_id: str) -> bool:
    """Delete a contact; the schema takes everything of it along. False when there is none."""
    return bool(Contact.delete().where(Contact.id == contact_id).execute())


def _of_account(account_id: str | None) -> Any:
    return Contact.account_id == account_id if account_id else Contact.account_id.is_null()
