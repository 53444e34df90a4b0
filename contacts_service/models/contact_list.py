"""Reading the table of contacts page by page."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from peewee import SQL, NodeList

from contacts_service.models.accounts import Accounts, of_accounts
from contacts_service.models.contacts import (
    CREATED_ORDER,
    RECENT_ORDER,
    SUMMARY,
    Contact,
    ContactTag,
)
from contacts_service.models.database import database
from contacts_service.models.prepared import Row, prepared

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
    searches: list[dict[str, str]]
    """Alternatives of a search, one of whose conditions all have to hold; see search_values."""


def search_values(terms: list[str]) -> dict[str, str]:
    """Turn terms that all have to appear in the search text into values of conditions."""
    values: dict[str, str] = database.search_values(terms)
    return values


def count(filters: Filters) -> int:
    return int(_count(tuple(filters))[0]["total"])


def read_recent(filters: Filters, *, limit: int, offset: int = 0, after: Place | None = None) -> list[Row]:
    """Read in the recent order, from an offset or from behind a place."""
    if after is None:
        return _recent_page(tuple(filters), limit, offset)
    return _recent_behind(tuple(filters), limit, after.last_message_at or _NO_MESSAGE, after.created_at, after.id)


def read_created(filters: Filters, *, limit: int, offset: int = 0, after: Place | None = None) -> list[Row]:
    """Read in the order of creation, oldest first, from an offset or from behind a place."""
    if after is None:
        return _created_page(tuple(filters), limit, offset)
    return _created_behind(tuple(filters), limit, after.created_at, after.id)


@prepared
def _count(filters: Any) -> Any:
    return _matching(*filters).select(SQL("COUNT(*)").alias("total"))


@prepared
def _recent_page(filters: Any, limit: Any, offset: Any) -> Any:
    return _read(_matching(*filters), RECENT_ORDER, limit).offset(offset)


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
def _created_page(filters: Any, limit: Any, offset: Any) -> Any:
    return _read(_matching(*filters), CREATED_ORDER, limit).offset(offset)


@prepared
def _created_behind(filters: Any, limit: Any, created_at: Any, contact_id: Any) -> Any:
    place = _row(created_at.of(Contact.created_at), contact_id)
    matches = _matching(*filters).where(NodeList((_row(Contact.created_at, Contact.id), SQL(">"), place)))
    return _read(matches, CREATED_ORDER, limit)


def _read(matches: Any, order: Any, limit: Any) -> Any:
    return matches.select(*SUMMARY).order_by(*order).limit(limit)


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
