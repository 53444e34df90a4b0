"""Steps that several use cases of contacts take, within the transaction of the use case."""

from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import uuid_utils

from contacts_service.errors import (
    ContactExists,
    IdentityConflict,
    NotFound,
    Unavailable,
    Unidentified,
    VersionMismatch,
)
from contacts_service.models import contacts, identity
from contacts_service.models.accounts import Accounts
from contacts_service.services.merge_patch import merged_document
from contacts_service.services.search_text import searchable

# WhatsApp lets a business answer freely for 24 hours after the user's last message (Cloud API, "Customer service
# windows").
SERVICE_WINDOW = timedelta(hours=24)
# How often a use case tries again when others create and delete what it looks for, before it gives up.
ATTEMPTS = 5
_INSIDE = [column.name for column in contacts.INSIDE]
_SEARCHED = {"name", "profile_name", "phone_number"}


def shown(contact: dict[str, Any], now: datetime | None = None) -> dict[str, Any]:
    """Turn a row into what callers see, in its place."""
    last_inbound_at = contact["last_inbound_at"]
    is_open = last_inbound_at is not None and (now or datetime.now(UTC)) - last_inbound_at < SERVICE_WINDOW
    contact["service_window_open"] = is_open
    for inside in _INSIDE:
        contact.pop(inside, None)
    return contact


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
    return identity.find_by_identifiers(account_id, phone_numbers=phone_numbers, bsuids=bsuids, lock=lock)


def update(
    contact_id: str,
    changes: dict[str, Any],
    *,
    accounts: Accounts,
    expected: contacts.Versions = None,
    merge: bool = False,
) -> dict[str, Any]:
    """Change a contact within a transaction; see update_contact."""
    changes = dict(changes)
    merges = merge and "metadata" in changes
    if merges or changes.keys() & (_SEARCHED | contacts.IDENTIFIERS | {"tags"}):
        before = found(contacts.lock_contact(contact_id, accounts), contact_id)
        if expected is not None and before["version"] not in expected:
            raise VersionMismatch(shown(before))
        if merges:
            changes["metadata"] = merged_document(before["metadata"], changes["metadata"])
        after = {**before, **changes}
        if not any(after[name] for name in contacts.IDENTIFIERS):
            raise Unidentified
        changes["search_text"] = searchable(**{name: after[name] for name in _SEARCHED})
        if "tags" in changes:
            contacts.replace_tags(before["pk"], changes["tags"])
    for _ in range(ATTEMPTS):
        try:
            changed = contacts.update_contact(
                contact_id, changes, datetime.now(UTC), accounts=accounts, expected=expected
            )
        except contacts.IdentifierTaken:
            others = {contact["id"] for contact in find(before["account_id"], changes)} - {contact_id}
            if others:
                raise (ContactExists(*others) if len(others) == 1 else IdentityConflict(sorted(others))) from None
            # Whoever had the identifier was deleted between the two queries.
        else:
            return shown(changed) if changed else not_written(contact_id, accounts)
    raise Unavailable


def not_written(contact_id: str, accounts: Accounts) -> NoReturn:
    """Say why a write met no contact. Raises NotFound, or VersionMismatch with the contact as it is."""
    raise VersionMismatch(shown(found(contacts.get_contact(contact_id, accounts), contact_id)))


def found(contact: dict[str, Any] | None, contact_id: str) -> dict[str, Any]:
    """Refuse to go on without a contact. Raises NotFound."""
    if contact is None:
        raise NotFound("contact", contact_id)
    return contact
