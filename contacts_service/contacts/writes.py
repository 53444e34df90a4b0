"""Steps that several use cases of contacts share. They run within the transaction of the use case."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NoReturn

import uuid_utils

from contacts_service.contacts.etags import contact_etag
from contacts_service.contacts.queries import (
    IdentifierTaken,
    Versions,
    find_by_identifiers,
    get_contact,
    insert_contact,
    lock_contact,
    replace_tags,
    update_contact,
)
from contacts_service.contacts.search_text import searchable
from contacts_service.contacts.tables import IDENTIFIERS, INTERNAL_COLUMNS
from contacts_service.db.accounts import AllowedAccounts
from contacts_service.db.merge_patch import patched_document
from contacts_service.errors import (
    ContactExists,
    ContactNotFound,
    ContactUnidentified,
    IdentityConflict,
    Unavailable,
    VersionMismatch,
)

# WhatsApp lets a business answer freely for 24 hours after the user's last message (Cloud API, "Customer service
# windows").
SERVICE_WINDOW = timedelta(hours=24)
MAX_ATTEMPTS = 5
"""How often a use case tries again while others create and delete what it looks for."""
_INTERNAL_NAMES = [column.name for column in INTERNAL_COLUMNS]
_SEARCHED = {"name", "profile_name", "phone_number"}


def to_public(contact: dict[str, Any], now: datetime | None = None) -> dict[str, Any]:
    """Turn a row into what callers see, in place."""
    last_inbound_at = contact["last_inbound_at"]
    is_open = last_inbound_at is not None and (now or datetime.now(UTC)) - last_inbound_at < SERVICE_WINDOW
    contact["service_window_open"] = is_open
    for name in _INTERNAL_NAMES:
        contact.pop(name, None)
    return contact


def insert(account_id: str | None, fields: dict[str, Any]) -> dict[str, Any] | None:
    """Insert a contact and its tags; None if an identifier is taken. Raises ContactUnidentified."""
    if not any(fields.get(name) for name in IDENTIFIERS):
        raise ContactUnidentified
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
    created: dict[str, Any] | None = insert_contact(values)
    if created and values["tags"]:
        replace_tags(created["pk"], values["tags"])
    return created


def raise_identifier_taken(account_id: str | None, fields: dict[str, Any], *, except_id: str | None = None) -> None:
    """Raise ContactExists or IdentityConflict if other contacts of the account have these identifiers."""
    phone_numbers, bsuids = ([value] if (value := fields.get(name)) else [] for name in ("phone_number", "bsuid"))
    if not phone_numbers and not bsuids:
        return
    others = [row["id"] for row in find_by_identifiers(account_id, phone_numbers, bsuids) if row["id"] != except_id]
    if others:
        raise ContactExists(others[0]) if len(others) == 1 else IdentityConflict(sorted(others))


def update(
    contact_id: str,
    changes: dict[str, Any],
    *,
    allowed_accounts: AllowedAccounts,
    expected: Versions = None,
    merge: bool = False,
) -> dict[str, Any]:
    """Change the given fields; metadata is replaced, or with ``merge`` merged (RFC 7396).

    Raises ContactNotFound, VersionMismatch, ContactExists, IdentityConflict, ContactUnidentified, DocumentTooLarge.
    """
    changes = dict(changes)
    account_id = None
    merges_metadata = merge and "metadata" in changes
    if merges_metadata or changes.keys() & (_SEARCHED | IDENTIFIERS | {"tags"}):
        before = or_not_found(lock_contact(contact_id, allowed_accounts), contact_id)
        account_id = before["account_id"]
        if expected is not None and before["version"] not in expected:
            raise version_mismatch(before)
        if merges_metadata:
            changes["metadata"] = patched_document(before["metadata"], changes["metadata"])
        after = {**before, **changes}
        if not any(after[name] for name in IDENTIFIERS):
            raise ContactUnidentified
        changes["search_text"] = searchable(**{name: after[name] for name in _SEARCHED})
        if "tags" in changes:
            replace_tags(before["pk"], changes["tags"])
    for _ in range(MAX_ATTEMPTS):
        try:
            changed = update_contact(
                contact_id, changes, datetime.now(UTC), allowed_accounts=allowed_accounts, expected=expected
            )
        except IdentifierTaken:
            raise_identifier_taken(account_id, changes, except_id=contact_id)
            # The contact that had the identifier was deleted between the two queries.
        else:
            return to_public(changed) if changed else raise_why_not_written(contact_id, allowed_accounts)
    raise Unavailable


def raise_why_not_written(contact_id: str, allowed_accounts: AllowedAccounts) -> NoReturn:
    """Raise ContactNotFound, or VersionMismatch with the contact as it is now."""
    raise version_mismatch(or_not_found(get_contact(contact_id, allowed_accounts), contact_id))


def version_mismatch(contact: dict[str, Any]) -> VersionMismatch:
    current = to_public(contact)
    return VersionMismatch(current, contact_etag(current), partial(lock_contact, current["id"], None))


def or_not_found(contact: dict[str, Any] | None, contact_id: str) -> dict[str, Any]:
    """Return the contact. Raises ContactNotFound if it is None."""
    if contact is None:
        raise ContactNotFound(contact_id)
    return contact
