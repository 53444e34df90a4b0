"""Reading the table of contacts page by page."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from peewee import SQL, NodeList, Select

from contacts_service.models.accounts import Accounts, of_accounts
from contacts_service.models.conditions import NO_ACCOUNT
from contacts_service.models.contact_count import count_assigned, count_contacts
from contacts_service.models.contacts import (
    CREATED_ORDER,
    RECENT_ORDER,
    SUMMARY,
    Contact,
    ContactTag,
)
from contacts_service.models.database import database
from contacts_service.models.prepared import Row, Written, prepared

_SORTED_AT_ONCE = 200  # So few matches are sorted within a millisecond.
_PATIENCE = 8  # Times of the rows that are expected to hold a page: matches may stand together somewhere behind.
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


class Page(NamedTuple):
    """Which rows to read: from an offset, or from behind a place, in the recent order or that of creation."""

    limit: int
    offset: int = 0
    after: Place | None = None
    is_recent: bool = True


def read_page(filters: Filters, page: Page) -> tuple[int, list[Row]]:
    """Count all contacts that match, and read a page of them."""
    found = [database.search_values(terms) for terms in filters.searches]
    total, among = _counted(filters, found)
    if page.offset >= total:  # It would walk the whole index to find nothing.
        return total, []
    plain, read, place = filters[:-1], _recent if page.is_recent else _created, _place(page)
    # Where an index has the list's order, the best way is the same whatever is asked for; elsewhere it isn't.
    limit = Written(page.limit) if not (filters.ids or filters.tags or found) else page.limit
    if most := _walk(filters, page, total, among):
        compared = [database.search_values(terms, by_row=True) for terms in filters.searches]
        rows = read((*plain, compared), place, (limit, page.offset or None, most))
        if len(rows) == page.limit:
            return total, rows
        # The end of the list, or matches that stand together further behind.
    return total, read((*plain, found), place, (limit, page.offset or None, None))


def _counted(filters: Filters, found: list[dict[str, str]]) -> tuple[int, int | None]:
    """Count the contacts that match, and all of the same accounts or None where nobody needs to know."""
    accounts = _accounts_of(filters)
    if not (filters.ids or filters.tags or filters.equal.keys() - {"account_id", "assigned_to"}):
        is_assigned = "assigned_to" in filters.equal
        if not found:
            user_id = filters.equal.get("assigned_to")
            return count_assigned(user_id, accounts) if is_assigned else count_contacts(accounts), None
        if not is_assigned and (counted := database.count_matches(found, accounts)):
            return counted
    return int(_count((*filters[:-1], found))[0]["total"]), None


def _accounts_of(filters: Filters) -> list[str] | None:
    if "account_id" in filters.equal:
        return [filters.equal["account_id"] or NO_ACCOUNT]
    return None if filters.accounts is None else list(filters.accounts)


def _place(page: Page) -> tuple[Any, ...] | None:
    if page.after is None:
        return None
    last_message_at, *created = page.after
    return (last_message_at or _NO_MESSAGE, *created) if page.is_recent else tuple(created)


def _walk(filters: Filters, page: Page, total: int, among: int | None) -> int | None:
    """Tell how many rows of the list's order to look at, or None to sort what the search finds.

    One match in twenty is met sooner than fifty thousand matches are sorted.
    """
    has_order = filters.accounts is None or len(filters.accounts) == 1 or "account_id" in filters.equal
    if among is None or total < _SORTED_AT_ONCE or not has_order:
        return None
    expected = (page.offset + page.limit) * among // total
    return expected * _PATIENCE if expected < total else None


@prepared
def _count(filters: Any) -> Any:
    return _matching(*filters).select(SQL("COUNT(*)").alias("total"))


@prepared
def _recent(filters: Any, place: Any, span: Any) -> Any:
    *plain, searches = filters
    query = _matching(*plain)
    if place:
        recency, created_at, contact_id = place
        recency, created_at = recency.of(Contact.recency), created_at.of(Contact.created_at)
        # The first condition is a range of the index, so the cost is that of a first page; the second takes the
        # place itself and what shares its times out of that range.
        query = query.where(
            NodeList((_row(Contact.recency, Contact.created_at), SQL("<="), _row(recency, created_at))),
            NodeList((Contact.recency, SQL("<"), recency))
            | (Contact.created_at < created_at)
            | (Contact.id > contact_id),
        )
    return _page(query, searches, RECENT_ORDER, span)


@prepared
def _created(filters: Any, place: Any, span: Any) -> Any:
    *plain, searches = filters
    query = _matching(*plain)
    if place:
        created_at, contact_id = place
        there = _row(created_at.of(Contact.created_at), contact_id)
        query = query.where(NodeList((_row(Contact.created_at, Contact.id), SQL(">"), there)))
    return _page(query, searches, CREATED_ORDER, span)


def _page(query: Any, searches: Any, order: Any, span: Any) -> Any:
    """Read in an order what a search finds, or what it finds among the ``most`` first rows."""
    limit, offset, most = span
    if most:
        near = query.select(Contact.id, Contact.search_text).order_by(*order).limit(most).alias("near")
        found = Select([near], [near.c.id]).where(_any_of(searches, None, near.c.search_text)).limit(limit)
    else:
        query = query.where(_any_of(searches, Contact.pk, Contact.search_text)) if searches else query
        found = query.select(Contact.id).order_by(*order).limit(limit)
        if not offset:
            return query.select(*SUMMARY).order_by(*order).limit(limit)
    # The way there is in the index alone, or in few columns; whole are only the rows of the page.
    ids = found.offset(offset) if offset else found
    return Contact.select(*SUMMARY).where(Contact.id.in_(ids)).order_by(*order)


def _matching(accounts: Any, equal: dict[str, Any], ids: Any, tags: Any, searches: Any = None) -> Any:
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
        query = query.where(_any_of(searches, Contact.pk, Contact.search_text))
    return query


def _any_of(searches: Any, pk: Any, search_text: Any) -> Any:
    return NodeList([database.matches(pk, search_text, values) for values in searches], glue=" OR ", parens=True)


def _row(*values: Any) -> NodeList:
    return NodeList(values, glue=", ", parens=True)
