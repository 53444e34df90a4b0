"""Reading the table of contacts page by page."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from peewee import SQL, NodeList

from contacts_service.models.accounts import Accounts, of_accounts
from contacts_service.models.contact_count import count_all, count_of
from contacts_service.models.contacts import (
    CREATED_ORDER,
    RECENT_ORDER,
    SUMMARY,
    Contact,
    ContactTag,
)
from contacts_service.models.database import database
from contacts_service.models.prepared import Row, prepared

_SORTED_AT_ONCE = 1000  # So few matches are sorted within a millisecond or two.
_NO_MESSAGE = datetime(1, 1, 1, tzinfo=UTC)  # See NO_MESSAGE in models/contacts.py.


class Place(NamedTuple):
    """Where a contact stands in the order of a list; ``last_message_at`` counts in the recent order alone."""

    last_message_at: datetime | None
    created_at: datetime
    id: str


class Filters(NamedTuple):
    """What the contacts of a list have in common."""

    accounts: Accounts
    equal: dict[str, str | None]
    """Columns and their values, None for null."""
    ids: list[str] | None
    tags: list[str] | None
    """Any of which a contact has to have."""
    searches: list[list[str]]
    """Alternatives of a search: terms that all have to appear in the search text."""


class Count(NamedTuple):
    """How many contacts match, and of about how many; None where that was not found out on the way."""

    total: int
    among: int | None = None


def count(filters: Filters) -> Count:
    if not (filters.ids or filters.tags or filters.searches or filters.equal.keys() - {"account_id"}):
        return Count(count_of(filters.equal["account_id"]) if filters.equal else count_all(filters.accounts))
    if _searches_alone(filters) and (counted := database.count_matches(filters.searches)):
        return Count(*counted)
    return Count(int(_count(_values(filters))[0]["total"]))


def read_recent(
    filters: Filters, *, counted: Count, limit: int, offset: int = 0, after: Place | None = None
) -> list[Row]:
    """Read in the recent order, from an offset or from behind a place."""
    values = _values(filters, walks=_walks(counted, offset + limit))
    if after:
        return _recent_behind(values, limit, after.last_message_at or _NO_MESSAGE, after.created_at, after.id)
    return _recent_page(values, limit, offset) if offset else _recent_first(values, limit)


def read_created(
    filters: Filters, *, counted: Count, limit: int, offset: int = 0, after: Place | None = None
) -> list[Row]:
    """Read in the order of creation, oldest first, from an offset or from behind a place."""
    values = _values(filters, walks=_walks(counted, offset + limit))
    if after:
        return _created_behind(values, limit, after.created_at, after.id)
    return _created_page(values, limit, offset) if offset else _created_first(values, limit)


def _searches_alone(filters: Filters) -> bool:
    return bool(filters.searches) and filters.accounts is None and not (filters.equal or filters.ids or filters.tags)


def _walks(counted: Count, needed: int) -> bool:
    """Tell whether to walk the order of the list and look at each row, instead of sorting what the search finds.

    One match in twenty is met sooner than fifty thousand matches are sorted.
    """
    total, among = counted
    return among is not None and total >= _SORTED_AT_ONCE and needed * among < total * total


def _values(filters: Filters, *, walks: bool = False) -> tuple[Any, ...]:
    searches = [database.search_values(terms, by_row=walks) for terms in filters.searches]
    return (*filters[:-1], searches)


@prepared
def _count(filters: Any) -> Any:
    return _matching(*filters).select(SQL("COUNT(*)").alias("total"))


@prepared
def _recent_first(filters: Any, limit: Any) -> Any:
    return _read(_matching(*filters), RECENT_ORDER, limit)


@prepared
def _recent_page(filters: Any, limit: Any, offset: Any) -> Any:
    return _read_far(_matching(*filters), RECENT_ORDER, limit, offset)


@prepared
def _recent_behind(filters: Any, limit: Any, recency: Any, created_at: Any, contact_id: Any) -> Any:
    recency = recency.of(Contact.recency)
    place = _row(recency, created_at.of(Contact.created_at))
    # The first condition is a range of the index, so the cost is that of a first page; the second takes the
    # place itself and what shares its times out of that range.
    matches = _matching(*filters).where(
        NodeList((_row(Contact.recency, Contact.created_at), SQL("<="), place)),
        NodeList((Contact.recency, SQL("<"), recency)) | (Contact.created_at < created_at) | (Contact.id > contact_id),
    )
    return _read(matches, RECENT_ORDER, limit)


@prepared
def _created_first(filters: Any, limit: Any) -> Any:
    return _read(_matching(*filters), CREATED_ORDER, limit)


@prepared
def _created_page(filters: Any, limit: Any, offset: Any) -> Any:
    return _read_far(_matching(*filters), CREATED_ORDER, limit, offset)


@prepared
def _created_behind(filters: Any, limit: Any, created_at: Any, contact_id: Any) -> Any:
    place = _row(created_at.of(Contact.created_at), contact_id)
    matches = _matching(*filters).where(NodeList((_row(Contact.created_at, Contact.id), SQL(">"), place)))
    return _read(matches, CREATED_ORDER, limit)


def _read(matches: Any, order: Any, limit: Any) -> Any:
    return matches.select(*SUMMARY).order_by(*order).limit(limit)


def _read_far(matches: Any, order: Any, limit: Any, offset: Any) -> Any:
    """Skip to the offset in the index, which holds the ids, and look up only the rows that are shown."""
    ids = matches.select(Contact.id).order_by(*order).limit(limit).offset(offset)
    return Contact.select(*SUMMARY).where(Contact.id.in_(ids)).order_by(*order)


def _matching(accounts: Any, equal: dict[str, Any], ids: Any, tags: Any, searches: Any) -> Any:
    query = Contact.select()
    if accounts is not None and "account_id" not in equal:
        query = query.where(of_accounts(Contact.account_id, accounts))
    for column, value in equal.items():
        field = Contact._meta.fields[column]  # noqa: SLF001 - Peewee's documented place for fields by name.
        query = query.where(field.is_null() if value is None else field == value)
    if ids is not None:
        query = query.where(Contact.id.in_(ids))
    if tags is not None:
        query = query.where(Contact.pk.in_(ContactTag.select(ContactTag.contact).where(ContactTag.tag.in_(tags))))
    if searches:
        alternatives = [database.matches(Contact.pk, Contact.search_text, values) for values in searches]
        query = query.where(NodeList(alternatives, glue=" OR ", parens=True))
    return query


def _row(*values: Any) -> NodeList:
    return NodeList(values, glue=", ", parens=True)
