"""Use cases of contacts. A contact is a dict; times are aware datetimes, metadata and tags are JSONText.

``accounts`` limits a use case to the contacts of these accounts; any other doesn't exist for it. ``expected`` are the
versions that a contact may have for a write to happen, None for any; the write itself compares.
"""

from typing import Any

from contacts_service.errors import ContactExists, IdentityConflict, Unavailable
from contacts_service.models import contacts
from contacts_service.models.accounts import Accounts
from contacts_service.models.contacts import Versions
from contacts_service.models.database import reading, writing
from contacts_service.models.retries import empty_first_answers
from contacts_service.services import contact_steps
from contacts_service.services.access import require_account


@writing()
def create_contact(*, accounts: Accounts, account_id: str | None = None, **fields: Any) -> dict[str, Any]:
    """Store a contact that its account doesn't have yet.

    ``fields`` are those that update_contact takes, ``phone_number`` (E.164) or ``bsuid`` among them. Raises
    AccountForbidden, ContactExists, IdentityConflict, Unidentified.
    """
    require_account(accounts, account_id)
    for _ in range(contact_steps.ATTEMPTS):
        if created := contact_steps.insert(account_id, fields):
            return contact_steps.shown(created)
        in_the_way = contact_steps.find(account_id, fields)
        if len(in_the_way) == 1:
            raise ContactExists(in_the_way[0]["id"])
        if in_the_way:
            raise IdentityConflict([contact["id"] for contact in in_the_way])
        # What was in the way was deleted between the two queries, so the identifiers are free again.
    raise Unavailable


@reading()
def get_contact(contact_id: str, *, accounts: Accounts) -> dict[str, Any]:
    """Raises NotFound."""
    return contact_steps.shown(contact_steps.found(contacts.get_contact(contact_id, accounts), contact_id))


@writing()
def update_contact(
    contact_id: str, changes: dict[str, Any], *, accounts: Accounts, expected: Versions = None, merge: bool = False
) -> dict[str, Any]:
    """Change the given fields; metadata is replaced whole, or with ``merge`` merged by RFC 7396.

    Raises NotFound, VersionMismatch, ContactExists, IdentityConflict, Unidentified.
    """
    return contact_steps.update(contact_id, changes, accounts=accounts, expected=expected, merge=merge)


@writing()
def assign_contact(
    contact_id: str, user_id: str | None, *, accounts: Accounts, expected: Versions = None
) -> dict[str, Any]:
    """Say who looks after a contact, or with None that nobody does. Raises NotFound, VersionMismatch."""
    return contact_steps.update(contact_id, {"assigned_to": user_id}, accounts=accounts, expected=expected)


@writing()
def mark_read(contact_id: str, *, accounts: Accounts, expected: Versions = None) -> dict[str, Any]:
    """Say that somebody has read all messages of a contact. Raises NotFound, VersionMismatch."""
    return contact_steps.update(contact_id, {"unread_count": 0}, accounts=accounts, expected=expected)


@writing()
def delete_contact(contact_id: str, *, accounts: Accounts, expected: Versions = None) -> None:
    """Delete a contact with all that is kept of it. Raises NotFound, VersionMismatch."""
    if not contacts.delete_contact(contact_id, accounts=accounts, expected=expected):
        contact_steps.not_written(contact_id, accounts)
    empty_first_answers(contact_id)
