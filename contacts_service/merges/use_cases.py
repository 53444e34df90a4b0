"""Use cases of merging two contacts, and of pairs that may be one person. See docs/decisions/merging.md."""

from datetime import UTC, datetime
from itertools import groupby

from peewee import Tuple

from contacts_service.contacts.events import delete_expired_tombstones
from contacts_service.contacts.merging import (
    UNDO_WINDOW,
    count_rows,
    filled_columns,
    forget_old_snapshots,
    merge_contacts,
    merged_columns,
)
from contacts_service.contacts.queries import Versions, lock_contacts
from contacts_service.contacts.tables import SUMMARY_COLUMNS, Contact, ContactDuplicate, ContactMerge
from contacts_service.contacts.writes import raise_not_found, require_contact, to_public, version_mismatch
from contacts_service.db.caller import AllowedAccounts, of_account, of_accounts, require_account
from contacts_service.db.database import reading, retried, writing
from contacts_service.db.prepared import Row
from contacts_service.errors import AccountMismatch, InvalidRequest
from schemas.constants import DUPLICATE_REASONS

_MAX_LISTED = 1000
_PAIR = (ContactDuplicate.contact_a, ContactDuplicate.contact_b)


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


@reading()
def list_duplicates(
    *, allowed_accounts: AllowedAccounts, limit: int, cursor: str | None = None, **account: str | None
) -> tuple[list[Row], str | None]:
    """Read pairs that were not dismissed, and the cursor that leads on. ``account`` may hold ``account_id``.

    Raises AccountForbidden.
    """
    columns = (*_PAIR, ContactDuplicate.reason, ContactDuplicate.seen_at)
    rows = (
        ContactDuplicate.select(*columns)
        .join(Contact, on=ContactDuplicate.contact_a)
        .where(~ContactDuplicate.dismissed)
    )
    if "account_id" in account:
        require_account(allowed_accounts, account["account_id"])
        rows = rows.where(of_account(Contact.account_id, account["account_id"]))
    elif allowed_accounts is not None:
        rows = rows.where(of_accounts(Contact.account_id, allowed_accounts))
    if cursor:
        rows = rows.where(Tuple(*_PAIR) > Tuple(*map(int, cursor.split("-"))))
    # A pair has a row for each reason.
    found = rows.order_by(*_PAIR, ContactDuplicate.reason).limit((limit + 1) * len(DUPLICATE_REASONS)).tuples()
    pairs = [(key, list(group)) for key, group in groupby(found, lambda row: row[:2])]
    shown, rest = pairs[:limit], pairs[limit:]
    keys = {key for pair, _ in shown for key in pair}
    summaries = Contact.select(Contact.pk, *SUMMARY_COLUMNS).where(Contact.pk.in_(keys)).dicts()
    contacts = {row["pk"]: to_public(row) for row in summaries}
    items = [
        {
            "contacts": [contacts[key] for key in pair],
            "reasons": [reason for *_, reason, _ in rows_of_pair],
            "seen_at": min(seen_at for *_, seen_at in rows_of_pair),
        }
        for pair, rows_of_pair in shown
        if contacts.keys() >= set(pair)  # Otherwise one was deleted between the two queries.
    ]
    return items, "{}-{}".format(*shown[-1][0]) if rest else None


@writing()
def dismiss_duplicate(contact_id: str, other_id: str, *, allowed_accounts: AllowedAccounts) -> None:
    """Say that two contacts are two persons, whatever is noticed later.

    Raises InvalidRequest, ContactNotFound, ContactMerged, AccountMismatch.
    """
    pair = lock_pair(contact_id, other_id, allowed_accounts, "ids")
    contact_a, contact_b = sorted(contact["pk"] for contact in pair)
    row = {"contact_a": contact_a, "contact_b": contact_b, "seen_at": datetime.now(UTC), "dismissed": True}
    dismissed = ContactDuplicate.insert_many([{**row, "reason": reason} for reason in DUPLICATE_REASONS])
    key = [*_PAIR, ContactDuplicate.reason]
    dismissed.on_conflict(conflict_target=key, preserve=[ContactDuplicate.dismissed]).execute()
