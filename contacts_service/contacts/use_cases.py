"""Use cases of contacts. A contact is a dict; times are aware datetimes, metadata and tags are JSONText.

``allowed_accounts`` limits a use case to the contacts of these accounts; others don't exist for it. ``expected`` are
the versions that a contact may have for a write to happen, None for any; the write itself compares.
"""

from typing import Any

from contacts_service.contacts import queries
from contacts_service.contacts.consent import NOT_SAID, with_consent
from contacts_service.contacts.erasure import erase_after_delete
from contacts_service.contacts.identifiers import IdentifierTaken
from contacts_service.contacts.queries import Versions
from contacts_service.contacts.tombstones import delete_expired_tombstones
from contacts_service.contacts.writes import (
    ONE_STATEMENT,
    insert,
    or_not_found,
    raise_identifier_taken,
    raise_why_not_written,
    tag,
    to_public,
    update,
)
from contacts_service.db.accounts import AllowedAccounts, require_account
from contacts_service.db.database import reading, retried, writing
from contacts_service.web.stored_responses import empty_stored_responses


@retried
@writing()
def create_contact(
    *, allowed_accounts: AllowedAccounts, account_id: str | None = None, **fields: Any
) -> dict[str, Any]:
    """Store a contact that its account doesn't have yet.

    ``fields`` are those of ContactCreate, ``phone_number`` (E.164) or ``bsuid`` among them. Raises AccountForbidden,
    ContactExists, IdentityConflict, ContactUnidentified.
    """
    require_account(allowed_accounts, account_id)
    try:
        return to_public(insert(account_id, with_consent(NOT_SAID, fields, "person")))
    except IdentifierTaken as error:
        raise_identifier_taken(account_id, fields, except_pk=error.contact_pk)
        raise  # The contact that had the identifier was deleted between the two queries.


@reading()
def get_contact(contact_id: str, *, allowed_accounts: AllowedAccounts) -> dict[str, Any]:
    """Raises ContactNotFound."""
    return to_public(or_not_found(queries.get_contact(contact_id, allowed_accounts), contact_id, allowed_accounts))


@retried
def update_contact(contact_id: str, changes: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Change the given fields of a contact; see writes.update."""
    with writing(one_statement=changes.keys() <= ONE_STATEMENT):
        return update(contact_id, changes, **options)


# Adds and removes tags of a contact; see writes.tag.
tag_contact = retried(writing()(tag))


@retried
@writing()
def delete_contact(contact_id: str, *, allowed_accounts: AllowedAccounts, expected: Versions = None) -> None:
    """Delete a contact and everything of it. Raises ContactNotFound, VersionMismatch."""
    contact = or_not_found(queries.lock_contact(contact_id, allowed_accounts), contact_id, allowed_accounts)
    sources = [merge["source_id"] for merge in queries.list_sources(contact["pk"])]
    if not queries.delete_contact(contact_id, allowed_accounts, expected):
        raise_why_not_written(contact_id, allowed_accounts, expected)
    for told_of in (contact_id, *sources):
        empty_stored_responses(told_of)
    delete_expired_tombstones()
    erase_after_delete()
