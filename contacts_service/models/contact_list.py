"""Reading the table of contacts page by page."""

from datetime import UTC, datetime
from functools import partial, reduce
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
_MOST_MERGED = 50  # Accounts whose lists are merged. A key of more reads all of its contacts.
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
    if "account_id" in filters.equal:
        filters = filters._replace(accounts=None)  # Whoever asks for it may see it.
    found = [database.search_values(terms) for terms in filters.searches]
    if found and _has_fewer(filters, found):
        found = [database.search_values(terms, by_row=True) for terms in filters.searches]
    total, among = _counted(filters, found)
    if page.offset >= total:  # It would walk the whole index to find nothing.
        return total, []
    plain, place, is_a_list = filters[:-1], _place(page), _is_a_list(filters)
    if is_a_list or not _has_others(filters):
        read = _recent_prepared if page.is_recent else _created_prepared
    else:
        read = _recent_planned if page.is_recent else _created_planned
    limit = Written(page.limit) if is_a_list else page.limit
    if most := _rows_to_walk(filters, page, total, among):
        compared = [database.search_values(terms, by_row=True) for terms in filters.searches]
        rows = read((*plain, compared), place, (limit, page.offset or None, most))
        if len(rows) == page.limit or not found:
            return total, rows
        # The end of the list, or matches that stand together further behind.
    return total, read((*plain, found), place, (limit, page.offset or None, None))


def _has_others(filters: Filters) -> bool:
    """Tell whether there are filters beside accounts and searches."""
    return bool(filters.ids or filters.tags or filters.equal.keys() - {"account_id"})


def _is_a_list(filters: Filters) -> bool:
    """Tell whether an index has all of these contacts, and no others, in the list's order."""
    accounts, equal, *others = filters
    if any(others) or len(equal) > 1 or not equal.keys() <= {"account_id", "assigned_to"}:
        return False
    return accounts is None or (len(accounts) == 1 and not equal)


def _has_fewer(filters: Filters, found: list[dict[str, str]]) -> bool:
    """Tell whether other filters leave fewer contacts than the search does, so that it is better done row by row."""
    if filters.ids or filters.equal.keys() & {"phone_number", "bsuid"}:
        return True
    if "assigned_to" not in filters.equal:
        return False
    accounts = _accounts_of(filters)
    matches = database.count_matches(found, accounts)
    return matches is not None and matches[0] > count_assigned(filters.equal["assigned_to"], accounts)


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


def _rows_to_walk(filters: Filters, page: Page, total: int, among: int | None) -> int | None:
    """Tell how many rows of the list's order to look at, or None to sort what the filters find.

    One match in twenty is met sooner than fifty thousand matches are sorted. Where they stand together somewhere
    behind, that was in vain: so it is no more than some times of the rows that should do. The order of several accounts
    is in no index, but that of each is.
    """
    needed, accounts = page.offset + page.limit, len(filters.accounts or ())
    if accounts > _MOST_MERGED or filters.ids or filters.tags:
        return None
    if not filters.searches:
        return needed if accounts > 1 else None
    if among is None or total < _SORTED_AT_ONCE:
        return None
    expected = needed * among // total
    return expected * _PATIENCE if expected < total else None


@partial(prepared, by_values=True)
def _count(filters: Any) -> Any:
    return _matching(*filters).select(SQL("COUNT(*)").alias("total"))


def _recent(filters: Any, place: Any, span: Any) -> Any:
    behind: list[Any] = []
    if place:
        recency, created_at, contact_id = place
        recency, created_at = recency.of(Contact.recency), created_at.of(Contact.created_at)
        # The first condition is a range of the index, so the cost is that of a first page; the second takes the
        # place itself and what shares its times out of that range.
        behind = [
            NodeList((_row(Contact.recency, Contact.created_at), SQL("<="), _row(recency, created_at))),
            NodeList((Contact.recency, SQL("<"), recency))
            | (Contact.created_at < created_at)
            | (Contact.id > contact_id),
        ]
    return _page(filters, behind, RECENT_ORDER, span)


def _created(filters: Any, place: Any, span: Any) -> Any:
    behind: list[Any] = []
    if place:
        created_at, contact_id = place
        there = _row(created_at.of(Contact.created_at), contact_id)
        behind = [NodeList((_row(Contact.created_at, Contact.id), SQL(">"), there))]
    return _page(filters, behind, CREATED_ORDER, span)


_recent_prepared, _created_prepared = prepared(_recent), prepared(_created)
# The best way to what several filters leave depends on how many contacts each leaves.
_recent_planned, _created_planned = prepared(_recent, by_values=True), prepared(_created, by_values=True)


def _page(filters: Any, behind: list[Any], order: Any, span: Any) -> Any:
    """Read in an order what the filters find, or what they find among the ``most`` first rows of each account."""
    limit, offset, most = span
    if most:
        near, near_order = _near(filters, behind, order, most)
        found = Select([near], [near.c.id]).order_by(*near_order)
        found = found.where(_any_of(filters[-1], None, near.c.search_text)) if filters[-1] else found
    else:
        query = _behind(_matching(*filters), behind)
        if not offset:
            return query.select(*SUMMARY).order_by(*order).limit(limit)
        found = query.select(Contact.id).order_by(*order)
    # The way there is in the index alone, or in few columns; whole are only the rows of the page.
    ids = found.limit(limit).offset(offset) if offset else found.limit(limit)
    return Contact.select(*SUMMARY).where(Contact.id.in_(ids)).order_by(*order)


def _near(filters: Any, behind: list[Any], order: Any, most: Any) -> tuple[Any, list[Any]]:
    """Make the query for the first rows of an order, as a table, and the order that is still to be made of them."""
    accounts, *others, _ = filters
    columns = (Contact.id, Contact.search_text, Contact.recency, Contact.created_at)
    firsts = [
        _behind(_matching(each, *others), behind).select(*columns).order_by(*order).limit(most)
        for each in ([[account] for account in accounts] if accounts else [None])
    ]
    if len(firsts) == 1:
        return firsts[0].alias("near"), []  # Both databases keep the order of what they read from.
    parts = [Select([query.alias(f"near_{number}")], [SQL("*")]) for number, query in enumerate(firsts)]
    near = reduce(lambda merged, part: merged.union_all(part), parts).alias("near")
    return near, [near.c.recency.desc(), near.c.created_at.desc(), near.c.id] if order is RECENT_ORDER else [
        near.c.created_at,
        near.c.id,
    ]


def _matching(accounts: Any, equal: dict[str, Any], ids: Any, tags: Any, searches: Any = None) -> Any:
    query = Contact.select()
    if accounts is not None:
        query = query.where(of_accounts(Contact.account_id, accounts))
    for column, value in equal.items():
        field = Contact._meta.fields[column]  # noqa: SLF001 - Peewee's documented place for fields by name.
        query = query.where(field.is_null() if value is None else field == value)
    if ids is not None:
        query = query.where(Contact.id.in_(ids))
    tagged = ContactTag.select(ContactTag.contact).where(ContactTag.tag.in_(tags)) if tags else None
    if searches:
        return query.where(_any_of(searches, Contact.pk, Contact.search_text, tagged))
    return query if tagged is None else query.where(Contact.pk.in_(tagged))


def _behind(query: Any, conditions: list[Any]) -> Any:
    return query.where(*conditions) if conditions else query


def _any_of(searches: Any, pk: Any, search_text: Any, tagged: Any = None) -> Any:
    alternatives = [database.matches(pk, search_text, values, tagged) for values in searches]
    return NodeList(alternatives, glue=" OR ", parens=True)


def _row(*values: Any) -> NodeList:
    return NodeList(values, glue=", ", parens=True)
