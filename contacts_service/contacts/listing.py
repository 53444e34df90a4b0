"""Use case of reading contacts page by page, and the cursor that leads from one page to the next."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from contacts_service.contacts.filters import make_filters
from contacts_service.contacts.list_planning import read_page
from contacts_service.contacts.list_queries import Position, Span
from contacts_service.contacts.writes import to_public
from contacts_service.db.caller import AllowedAccounts
from contacts_service.db.database import reading
from contacts_service.errors import InvalidRequest

_CURSOR_VERSION = 1
_DIGEST_BYTES = 6
_BAD_CURSOR = {"cursor": ["Not a cursor of this list with these filters and this sort."]}


@reading()
def list_contacts(
    *,
    allowed_accounts: AllowedAccounts,
    limit: int,
    page: int | None = None,
    cursor: str | None = None,
    sort: str = "recent",
    **filters: Any,
) -> tuple[list[dict[str, Any]], int, str | None]:
    """Read one page of contacts without their metadata. Returns it, the number of all matches and the next cursor.

    ``page`` counts from 1 and is the first by default; a ``cursor`` of an earlier page leads on instead. ``sort`` is
    ``recent``, the newest message first, ``created``, oldest first, or ``-created``. ``filters`` are those of
    ContactFilters. Raises AccountForbidden, InvalidRequest.
    """
    chosen = make_filters(allowed_accounts, **filters)
    fingerprint = orjson.dumps([sort, filters], option=orjson.OPT_SORT_KEYS)
    after = _decode_cursor(cursor, fingerprint) if cursor else None
    offset = 0 if after else ((page or 1) - 1) * limit
    total, rows = read_page(chosen, Span(limit + 1, offset or None, after), sort)
    now = datetime.now(UTC)
    items = [to_public(row, now) for row in rows[:limit]]
    next_cursor = _encode_cursor(items[-1], fingerprint) if len(rows) > limit else None
    # The count is a query of its own: it may miss what came between the two.
    return items, max(total, offset + len(items) if items else 0), next_cursor


def _encode_cursor(contact: dict[str, Any], fingerprint: bytes) -> str:
    position = Position(contact["last_message_at"], contact["created_at"], contact["id"])
    text = orjson.dumps([_CURSOR_VERSION, *position])
    return urlsafe_b64encode(_digest(text, fingerprint) + text).decode().rstrip("=")


def _decode_cursor(cursor: str, fingerprint: bytes) -> Position:
    try:
        decoded = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        digest, text = decoded[:_DIGEST_BYTES], decoded[_DIGEST_BYTES:]
        # A caller can compute the digest of any text, so the text is checked too.
        version, message_at, created_at, contact_id = orjson.loads(text)
        last_message_at = None if message_at is None else _utc_datetime(message_at)
        position = Position(last_message_at, _utc_datetime(created_at), str(UUID(contact_id)))
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidRequest(_BAD_CURSOR) from error
    if digest != _digest(text, fingerprint) or version != _CURSOR_VERSION or isinstance(version, bool):
        raise InvalidRequest(_BAD_CURSOR)
    return position


def _utc_datetime(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError("no offset")
    return parsed.astimezone(UTC)


def _digest(text: bytes, fingerprint: bytes) -> bytes:
    """Tell a cursor of this list from one that was cut, changed or made for other filters.

    It needs no secret: a caller who makes up a position reads what the list shows anyway.
    """
    return hashlib.blake2b(text + fingerprint, digest_size=_DIGEST_BYTES).digest()
