"""Use cases of contacts. A contact is a dict; times are aware datetimes, metadata and tags are JSONText."""

from datetime import UTC, datetime, timedelta
from typing import Any

import uuid_utils

from contacts_service.errors import ContactExists, IdentityConflict, NotFound, Unidentified
from contacts_service.models import contacts
from contacts_service.models.database import reading, writing
from contacts_service.services.merge_patch import merged_document
from contacts_service.services.search_text import searchable

# WhatsApp lets a business answer freely for 24 hours after the user's last message (Cloud API, "Customer service
# windows").
SERVICE_WINDOW = timedelta(hours=24)
_SEARCHED = {"name", "profile_name", "phone_number"}


@writing()
def create_contact(*, account_id: str | None = None, **fields: Any) -> dict[str, Any]:
    """Store a contact that its account doesn't have yet.

    ``fields`` are those that update_contact takes, ``phone_number`` (E.164) or ``bsuid`` among them. Raises
    ContactExists, IdentityConflict, Unidentified.
    """
    while True:
        if created := insert(account_id, fields):
            return shown(created)
        in_the_way = find(account_id, fields)
        if len(in_the_way) == 1:
            raise ContactExists(in_the_way[0]["id"])
        if in_the_way:
            raise IdentityConflict([contact["id"] for contact in in_the_way])
        # What was in the way was deleted between the two queries, so the identifiers are free again.


@reading()
def get_contact(contact_id: str) -> dict[str, Any]:
    """Raises NotFound."""
    return shown(_found(contacts.get_contact(contact_id), contact_id))


@writing()
def update_contact(contact_id: str, changes: dict[str, Any], *, merge: bool = False) -> dict[str, Any]:
    """Change the given fields; metadata is replaced whole, or with ``merge`` merged by RFC 7396.

    Raises NotFound, ContactExists, IdentityConflict, Unidentified.
    """
    return update(contact_id, changes, merge=merge)


@writing()
def assign_contact(contact_id: str, user_id: str | None) -> dict[str, Any]:
    """Say who looks after a contact, or with None that nobody does. Raises NotFound."""
    return update(contact_id, {"assigned_to": user_id})


@writing()
def mark_read(contact_id: str) -> dict[str, Any]:
    """Say that somebody has read all messages of a contact. Raises NotFound."""
    return update(contact_id, {"unread_count": 0})


@writing()
def delete_contact(contact_id: str) -> None:
    """Delete a contact with its messages, sessions and tags. Raises NotFound."""
    if not contacts.delete_contact(contact_id):
        raise NotFound("contact", contact_id)


def shown(contact: dict[str, Any]) -> dict[str, Any]:
    """Complete a row to what callers see."""
    contact.pop("pk", None)
    last_inbound_at = contact["last_inbound_at"]
    is_open = last_inbound_at is not None and datetime.now(UTC) - last_inbound_at < SERVICE_WINDOW
    return {**contact, "service_window_open": is_open}


def insert(account_id: str | None, fields: dict[str, Any]) -> dict[str, Any] | None:
    """Insert a contact and its tags within a transaction; None when an identifier is taken. Raises Unidentified."""
    if not any(fields.get(name) for name in contacts.IDENTIFIERS):
        raise Unidentified
    now = datetime.now(UTC)
    values = {
        "id": str(uuid_utils.uuid7()),
        "account_id": account_id,
        "tags": [],
        "marketing_opt_out": False,
        "metadata": {},
        "unread_count": 0,
        "created_at": now,
        "updated_at": now,
        "version": 1,
        **fields,
        "search_text": searchable(**{name: fields.get(name) for name in _SEARCHED}),
    }
    created = contacts.insert_contact(values)
    if created and values["tags"]:
        contacts.replace_tags(created["pk"], values["tags"])
    return created


def find(account_id: str | None, fields: dict[str, Any], *, lock: bool = False) -> list[dict[str, Any]]:
    """Find the contacts of an account that have the phone number or bsuid of these fields."""
    phone_numbers, bsuids = ([value] if (value := fields.get(name)) else [] for name in ("phone_number", "bsuid"))
    return contacts.find_by_identifiers(account_id, phone_numbers=phone_numbers, bsuids=bsuids, lock=lock)


def update(contact_id: str, changes: dict[str, Any], *, merge: bool = False) -> dict[str, Any]:
    """Change a contact within a transaction; see update_contact."""
    changes = dict(changes)
    merges = merge and "metadata" in changes
    if merges or changes.keys() & (_SEARCHED | contacts.IDENTIFIERS | {"tags"}):
        before = _found(contacts.lock_contact(contact_id), contact_id)
        if merges:
            changes["metadata"] = merged_document(before["metadata"], changes["metadata"])
        after = {**before, **changes}
        if not any(after[name] for name in contacts.IDENTIFIERS):
            raise Unidentified
        changes["search_text"] = searchable(**{name: after[name] for name in _SEARCHED})
        if "tags" in changes:
            contacts.replace_tags(before["pk"], changes["tags"])
    try:
        changed = contacts.update_contact(contact_id, changes, datetime.now(UTC))
    except contacts.IdentifierTaken:
        others = {contact["id"] for contact in find(before["account_id"], changes)} - {contact_id}
        raise (ContactExists(*others) if len(others) == 1 else IdentityConflict(sorted(others))) from None
    return shown(_found(changed, contact_id))


def _found(contact: dict[str, Any] | None, contact_id: str) -> dict[str, Any]:
    if contact is None:
        raise NotFound("contact", contact_id)
    return contact
