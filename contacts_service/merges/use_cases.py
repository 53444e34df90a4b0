"""Use cases of merging two contacts and of undoing it. See docs/decisions/merging.md."""

from datetime import UTC, datetime

from contacts_service.contacts.merging import (
    UNDO_WINDOW,
    count_rows,
    filled_columns,
    forget_old_snapshots,
    merge_contacts,
    merged_columns,
)
from contacts_service.contacts.queries import Versions, lock_contacts
from contacts_service.contacts.tables import Contact, ContactMerge
from contacts_service.contacts.tombstones import delete_expired_tombstones
from contacts_service.contacts.writes import raise_not_found, require_contact, to_public, version_mismatch
from contacts_service.db.accounts import AllowedAccounts
from contacts_service.db.database import reading, retried, writing
from contacts_service.db.prepared import Row
from contacts_service.errors import AccountMismatch, InvalidRequest

_MAX_LISTED = 1000


@retried
@writing()
def merge(
    contact_id: str,
    source_id: str,
    *,
    allowed_accounts: AllowedAccounts,
    expected: Versions = None,
    dry_run: bool = False,
) -> Row:
    """End a contact by merging it into another, which survives; with ``dry_run`` only say what that would do.

    Returns the survivor with ``merge``. Raises ContactNotFound,
    ContactMerged, VersionMismatch, AccountMismatch, InvalidRequest, DocumentTooLarge.
    """
    survivor, source = lock_pair(contact_id, source_id, allowed_accounts, "source_id")
    if expected is not None and survivor["version"] not in expected:
        raise version_mismatch(survivor)
    told = {"source_id": source_id, "fields": filled_columns(survivor, source), **count_rows(source["pk"])}
    if dry_run:
        now = max(survivor["updated_at"], datetime.now(UTC))
        merged = {**survivor, **merged_columns(survivor, source), "version": survivor["version"] + 1, "updated_at": now}
    else:
        merged = merge_contacts(survivor, source)
        forget_old_snapshots()
        delete_expired_tombstones()
    return {**to_public(merged), "merge": told}


@reading()
def list_merges(contact_id: str, *, allowed_accounts: AllowedAccounts) -> list[Row]:
    """Read which contacts ended in this one, the latest first, at most 1,000. Raises ContactNotFound, ContactMerged."""
    require_contact(contact_id, allowed_accounts)
    columns = (ContactMerge.source_id, ContactMerge.merged_into, ContactMerge.at, ContactMerge.actor)
    merges = ContactMerge.select(*columns, ContactMerge.messages, ContactMerge.sessions).join(Contact)
    latest = merges.where(Contact.id == contact_id).order_by(ContactMerge.at.desc(), ContactMerge.source_id)
    return [{**each, "undo_until": each["at"] + UNDO_WINDOW} for each in latest.limit(_MAX_LISTED).dicts()]


def lock_pair(contact_id: str, other_id: str, allowed_accounts: AllowedAccounts, field: str) -> tuple[Row, Row]:
    """Lock two contacts of one account. ``field`` is where the request names the other one.

    Raises InvalidRequest, ContactNotFound, ContactMerged, AccountMismatch.
    """
    if contact_id == other_id:
        raise InvalidRequest({field: ["The same contact twice."]})
    locked = {contact["id"]: contact for contact in lock_contacts([contact_id, other_id], allowed_accounts)}
    contact, other = (locked.get(each) or raise_not_found(each, allowed_accounts) for each in (contact_id, other_id))
    if contact["account_id"] != other["account_id"]:
        raise AccountMismatch
    return contact, other
