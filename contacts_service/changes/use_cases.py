"""Use cases of the change feed."""

from datetime import UTC, datetime

from contacts_service.changes import queries
from contacts_service.changes.tokens import Place, Token, decode_token, encode_token, fingerprint_of
from contacts_service.contacts.writes import to_public
from contacts_service.db import pages
from contacts_service.db.caller import AllowedAccounts, require_account
from contacts_service.db.database import reading, writing
from contacts_service.db.prepared import InlineInt, Row
from contacts_service.errors import RestoreUnfinished, TokenExpired
from contacts_service.metrics import CHANGES_HELD_SECONDS

_NO_TOMBSTONES = 2**63 - 1


@reading()
def list_changes(
    *, allowed_accounts: AllowedAccounts, limit: int, after: str | None = None, **account_filter: str | None
) -> Row:
    """Read contacts in the order of their last change, and tombstones of those that ended.

    ``after`` is the ``next`` of an earlier page, ``now``, or None for the beginning. ``account_filter`` may hold
    ``account_id``, None for contacts of no account. Raises AccountForbidden, InvalidRequest, TokenExpired,
    RestoreUnfinished.
    """
    accounts: queries.Accounts = None if allowed_accounts is None else [*sorted(allowed_accounts)]
    if account_filter:
        require_account(allowed_accounts, account_filter["account_id"])
        accounts = [account_filter["account_id"]]
    fingerprint = fingerprint_of(allowed_accounts, list(account_filter.values()))
    token = decode_token(after) if after not in {None, "now"} else None
    place, tombstones_from = (token.place, token.tombstones_from) if token else (Place(0, 0), _NO_TOMBSTONES)
    feed = queries.read_feed(place.change_seq, max(place.change_seq, tombstones_from), accounts)
    held_since = feed["held_since"]
    CHANGES_HELD_SECONDS.set((datetime.now(UTC) - held_since).total_seconds() if held_since else 0)
    if feed["is_ahead"]:
        raise RestoreUnfinished
    if token is None:
        tombstones_from = feed["bound"]
    elif (token.generation, token.fingerprint) != (feed["generation"], fingerprint) or place > (feed["bound"], 0):
        raise TokenExpired
    _require_tombstones(place, tombstones_from, feed["horizon"])
    rows: list[Row] = []
    has_more = False
    if after != "now" and (feed["has_contacts"] or feed["has_tombstones"]):
        rows, has_more = _read_page(place, tombstones_from, feed, accounts, limit)
    place = _place_of(rows[-1]) if has_more else Place(feed["bound"], 0)
    following = Token(feed["generation"], place, tombstones_from, fingerprint)
    return {"items": _to_items(rows), "next": encode_token(following), "has_more": has_more}


@writing()
def renew_feed() -> None:
    """Begin the feed anew after a backup was restored: tokens of before are refused."""
    queries.renew()


def _require_tombstones(place: Place, tombstones_from: int, horizon: int) -> None:
    """Raise TokenExpired if tombstones that the reader is yet to see were deleted."""
    if max(place.change_seq, tombstones_from) <= horizon:
        raise TokenExpired


def _read_page(
    place: Place, tombstones_from: int, feed: Row, accounts: queries.Accounts, limit: int
) -> tuple[list[Row], bool]:
    """Read contacts and tombstones in one order. Returns them and whether there are more."""
    span = (feed["bound"], accounts)
    rows: list[Row] = []
    size = limit
    if feed["has_contacts"]:
        while size > 1 and (queries.measure_contacts(place, *span, InlineInt(size))["bytes"] or 0) > pages.PAGE_BYTES:
            size //= 2
        rows = queries.list_contacts(place, *span, InlineInt(size + 1))
    is_cut = size < limit and len(rows) > size
    rows = rows[:size] if is_cut else rows
    if feed["has_tombstones"]:
        tombstones = queries.list_tombstones(place, tombstones_from, *span, InlineInt(limit + 1))
        _require_tombstones(place, tombstones_from, tombstones[0]["horizon"])
        last = _place_of(rows[-1]) if is_cut and rows else None  # Contacts may come before later tombstones.
        rows += [row for row in tombstones if row["id"] and (last is None or _place_of(row) < last)]
        rows.sort(key=_place_of)
    return rows[:limit], is_cut or len(rows) > limit


def _place_of(row: Row) -> Place:
    return Place(row["change_seq"], row["pk"])


def _to_items(rows: list[Row]) -> list[Row]:
    now = datetime.now(UTC)
    for row in rows:
        del row["change_seq"]
    return [
        {"id": row["id"], "deleted": True, "merged_into": row["merged_into"], "contact": None}
        if "merged_into" in row
        else {"id": row["id"], "deleted": False, "merged_into": None, "contact": to_public(row, now)}
        for row in rows
    ]
