"""Use case of reading contacts page by page, and the cursor that leads from one page to the next."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from contacts_service.errors import InvalidCursor
from contacts_service.models import contact_list
from contacts_service.models.accounts import Accounts
from contacts_service.models.contact_list import Filters, Place, read_page
from contacts_service.models.database import reading
from contacts_service.services.access import require_account
from contacts_service.services.contact_steps import shown
from contacts_service.services.paging import Page, page_of
from contacts_service.services.search_text import alternatives

_CURSOR_VERSION = 1


@reading()
def list_contacts(  # noqa: PLR0913 - They are the list's query parameters.
    *,
    accounts: Accounts,
    limit: int,
    page: int | None = None,
    cursor: str | None = None,
    sort: str = "recent",
    search: str = "",
    ids: list[str] | None = None,
    tags: list[str] | None = None,
    **equal: str | None,
) -> Page:
    """Read one page of contacts without their metadata.

    ``page`` counts from 1 and is the first by default; a ``cursor`` of an earlier page leads on instead. ``sort`` is
    ``recent``, those with the newest message first, or ``created``, oldest first. ``equal`` holds the filters by a
    column's value, None for those that have none. Raises AccountForbidden, InvalidCursor.
    """
    if "account_id" in equal:
        require_account(accounts, equal["account_id"])
    filters = orjson.dumps([sort, search, ids, tags, sorted(equal.items())])
    after = _decode(cursor, filters) if cursor else None
    matches = Filters(accounts, equal, ids, tags, alternatives(search))
    offset = 0 if after else ((page or 1) - 1) * limit
    total, rows = read_page(matches, contact_list.Page(limit + 1, offset, after, is_recent=sort == "recent"))
    now = datetime.now(UTC)
    items = [shown(row, now) for row in rows[:limit]]
    has_more = len(rows) > limit
    # The count is a query of its own: it may miss what came between the two.
    total = max(total, offset + len(items) if items else 0)
    return {
        **page_of(items, total=total, page=None if after else page or 1, limit=limit),
        "next_cursor": _encode(items[-1], filters) if has_more else None,
    }


def _encode(contact: dict[str, Any], filters: bytes) -> str:
    place = [_CURSOR_VERSION, *Place(contact["last_message_at"], contact["created_at"], contact["id"])]
    text = orjson.dumps(place)
    return urlsafe_b64encode(_digest(text, filters) + text).decode().rstrip("=")


def _decode(cursor: str, filters: bytes) -> Place:
    try:
        decoded = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        digest, text = decoded[:_DIGEST_BYTES], decoded[_DIGEST_BYTES:]
        if digest != _digest(text, filters):
            raise InvalidCursor
        # Whoever knows the digest can write anything behind it, so nothing is taken for granted.
        version, message_at, created_at, contact_id = orjson.loads(text)
        if version != _CURSOR_VERSION or isinstance(version, bool):
            raise InvalidCursor
        last_message_at = None if message_at is None else _moment(message_at)
        return Place(last_message_at, _moment(created_at), str(UUID(contact_id)))
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidCursor from error


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment without offset")
    return moment.astimezone(UTC)


_DIGEST_BYTES = 6


def _digest(text: bytes, filters: bytes) -> bytes:
    """Tell a cursor of this list from one that was cut, changed or made for other filters.

    No secret is needed: whoever makes a place up reads from there what the list shows anyway.
    """
    return hashlib.blake2b(text + filters, digest_size=_DIGEST_BYTES).digest()
