"""Pairs of contacts that may be one person."""

from datetime import UTC, datetime
from itertools import groupby

from peewee import Tuple

from contacts_service.contacts.tables import SUMMARY_COLUMNS, Contact, ContactDuplicate
from contacts_service.contacts.writes import to_public
from contacts_service.db.accounts import AllowedAccounts, of_account, of_accounts, require_account
from contacts_service.db.database import reading, writing
from contacts_service.db.prepared import Row
from contacts_service.merges.use_cases import lock_pair
from schemas.constants import DUPLICATE_REASONS

_PAIR = (ContactDuplicate.contact_a, ContactDuplicate.contact_b)


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
