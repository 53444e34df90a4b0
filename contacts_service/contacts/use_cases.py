"""Use cases of contacts. A contact is a dict; times are aware datetimes, metadata and tags are JSONText.

``allowed_accounts`` limits a use case to the contacts of these accounts; others don't exist for it. ``expected`` are
the versions that a contact may have for a write to happen, None for any; the write itself compares.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from contacts_service.contacts import queries, writes
from contacts_service.contacts.consent import NOT_SAID, with_consent
from contacts_service.contacts.erasure import erase_after_delete
from contacts_service.contacts.events import delete_expired_tombstones
from contacts_service.contacts.identifiers import IdentifierTaken
from contacts_service.contacts.queries import Versions
from contacts_service.contacts.tables import IDENTIFIER_KINDS
from contacts_service.contacts.writes import to_public
from contacts_service.db.caller import AllowedAccounts, require_account
from contacts_service.db.database import database, reading, retried, writing
from contacts_service.db.merge_patch import patched_document
from contacts_service.web.stored_responses import empty_stored_responses

_NEED_CONTACT = {*writes.SEARCHED, *IDENTIFIER_KINDS, "tags", "metadata", "marketing_opt_out"}
_ONE_STATEMENT = {"assigned_to", "avatar_url"}  # Columns that are changed by a single statement.


@retried
def create_contact(
    *, allowed_accounts: AllowedAccounts, account_id: str | None = None, **fields: Any
) -> dict[str, Any]:
    """Store a contact that its account doesn't have yet.

    ``fields`` are those of ContactCreate, ``phone_number`` (E.164) or ``bsuid`` among them. Raises AccountForbidden,
    ContactExists, IdentityConflict, ContactUnidentified.
    """
    require_account(allowed_accounts, account_id)
    fields = with_consent(NOT_SAID, fields, "person")
    if database.kind == "postgresql" and not database.in_transaction():
        with writing(one_statement=True):
            if created := writes.insert_at_once(account_id, fields):
                return to_public(created)
    with writing():
        try:
            return to_public(writes.insert(account_id, fields))
        except IdentifierTaken as error:
            writes.raise_identifier_taken(account_id, fields, except_pk=error.contact_pk)
            raise  # The contact that had the identifier was deleted between the two queries.


@reading()
def get_contact(contact_id: str, *, allowed_accounts: AllowedAccounts) -> dict[str, Any]:
    """Raises ContactNotFound."""
    return to_public(writes.require_contact(contact_id, allowed_accounts))


@retried
def update_contact(
    contact_id: str,
    changes: dict[str, Any],
    *,
    allowed_accounts: AllowedAccounts,
    expected: Versions = None,
    merge: bool = False,
) -> dict[str, Any]:
    """Change the given fields; metadata is replaced, or with ``merge`` merged (RFC 7396). Consent is a person's word.

    Raises ContactNotFound, VersionMismatch, ContactExists, IdentityConflict, ContactUnidentified, DocumentTooLarge.
    """
    with writing(one_statement=changes.keys() <= _ONE_STATEMENT):
        if not changes.keys() & _NEED_CONTACT:
            changed = queries.update_contact(contact_id, allowed_accounts, expected, changes, datetime.now(UTC))
            if changed is None:
                writes.raise_why_not_written(contact_id, allowed_accounts, expected)
            if "unread_count" in changes:
                queries.forget_merged_unread(contact_id)
            return to_public(changed)
        before = writes.require_lock(contact_id, allowed_accounts, expected)
        if merge and "metadata" in changes:
            changes = {**changes, "metadata": patched_document(before["metadata"], changes["metadata"])}
        if "marketing_opt_out" in changes:
            changes = with_consent(before, changes, "person")
        try:
            return to_public(writes.change(before, changes))
        except IdentifierTaken as error:
            writes.raise_identifier_taken(before["account_id"], changes, except_pk=error.contact_pk)
            raise  # The contact that had the identifier was deleted between the two queries.


@retried
@writing()
def tag_contact(
    contact_id: str,
    *,
    add: Collection[str] = (),
    remove: Collection[str] = (),
    allowed_accounts: AllowedAccounts,
    expected: Versions = None,
) -> dict[str, Any]:
    """Add and remove tags, and return the contact also if it has them so. Raises as update_contact; InvalidRequest."""
    before = writes.require_lock(contact_id, allowed_accounts, expected)
    tags = writes.changed_tags(before["tags"], add, remove)
    return to_public(before if tags is None else writes.change(before, {"tags": tags}))


@retried
@writing()
def delete_contact(contact_id: str, *, allowed_accounts: AllowedAccounts, expected: Versions = None) -> None:
    """Delete a contact and everything of it. Raises ContactNotFound, VersionMismatch."""
    contact = writes.require_lock(contact_id, allowed_accounts, expected)
    sources = [merge["source_id"] for merge in queries.list_sources(contact["pk"])]
    queries.delete_contact(contact["pk"])
    for told_of in (contact_id, *sources):
        empty_stored_responses(told_of)
    delete_expired_tombstones()
    erase_after_delete()
