"""Use cases of contacts. A contact is a dict; its times are aware datetimes, its metadata is JSONText."""

from datetime import UTC, datetime
from typing import Any

import uuid_utils

from contacts_service.errors import ContactExists, NotFound
from contacts_service.models import contacts
from contacts_service.models.database import reading, writing
from contacts_service.services.paging import Page, page_of
from contacts_service.services.search_text import alternatives, searchable


@writing()
def create_contact(
    *,
    phone_number: str,
    name: str | None = None,
    account_id: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Store a contact that its account doesn't have yet; ``phone_number`` is E.164. Raises ContactExists."""
    now = datetime.now(UTC)
    values = {
        "id": str(uuid_utils.uuid7()),
        "account_id": account_id,
        "phone_number": phone_number,
        "name": name,
        "metadata": metadata or {},
        "search_text": searchable(name=name, profile_name=None, phone_number=phone_number),
        "created_at": now,
        "updated_at": now,
    }
    while True:
        if created := contacts.insert_contact(values):
            return created
        if existing_id := contacts.find_by_phone(account_id, phone_number):
            raise ContactExists(existing_id)
        # The contact in the way was deleted between the two queries, so the number is free again.


@reading()
def get_contact(contact_id: str) -> dict[str, Any]:
    """Raises NotFound."""
    return _found(contacts.get_contact(contact_id), contact_id)


@reading()
def list_contacts(*, page: int, limit: int, search: str = "", account_id: str | None = None) -> Page:
    """Read one page of contacts without their metadata, those with the newest message first."""
    items, total = contacts.list_contacts(
        account_id=account_id, any_of=alternatives(search), limit=limit, offset=(page - 1) * limit
    )
    return page_of(items, total=total, page=page, limit=limit)


@writing()
def update_contact(contact_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Change the given fields of a contact; its metadata is replaced whole. Raises NotFound."""
    changes = {**changes, "updated_at": datetime.now(UTC)}
    if changes.keys() & {"name", "profile_name"}:
        before = _found(contacts.lock_contact(contact_id), contact_id)
        after = {**before, **changes}
        changes["search_text"] = searchable(
            name=after["name"], profile_name=after["profile_name"], phone_number=after["phone_number"]
        )
    return _found(contacts.update_contact(contact_id, changes), contact_id)


@writing()
def assign_contact(contact_id: str, user_id: str | None) -> dict[str, Any]:
    """Say who looks after a contact, or with None that nobody does. Raises NotFound."""
    changes = {"assigned_to": user_id, "updated_at": datetime.now(UTC)}
    return _found(contacts.update_contact(contact_id, changes), contact_id)


@writing()
def delete_contact(contact_id: str) -> None:
    """Delete a contact with its sessions. Raises NotFound."""
    if not contacts.delete_contact(contact_id):
        raise NotFound("contact", contact_id)


def _found(contact: dict[str, Any] | None, contact_id: str) -> dict[str, Any]:
    if contact is None:
        raise NotFound("contact", contact_id)
    return contact
