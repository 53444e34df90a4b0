"""Reads the contacts of a list page by page.

There are four ways to read a page; ``read_page`` chooses by counts. Times are of a million contacts on SQLite.

``index``: no filter, or one account, or one user's, or a range of times by which the list is sorted. An index has these
contacts, and no others, in the list's order; the page is a range of it. Any place in the order is found at once.

``merge``: the accounts of a key that has several. The first rows of each account's own index are merged: 1.1 ms for a
key of three accounts, where sorting all contacts of the accounts takes 59.6 ms.

``walk``: filters or a search that match a good part of the list. Rows are looked at in the list's order until the page
is full: 4.9 ms for one match in twenty, where sorting the matches takes 54 ms. Matches may stand together somewhere
behind, so it looks at no more than eight times the rows that are expected to do, and then falls back to ``sort``.

``sort``: everything else. The index that has the fewest contacts finds them, the other filters are compared with each,
and what is left is sorted.

A page that begins at an offset is read in two steps: ids from the index, then whole rows for this page alone.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial, reduce
from typing import Any, NamedTuple

from peewee import SQL, Node, Select, Tuple, fn

from contacts_service.contacts.filters import (
    INDEXES,
    METADATA,
    NO_MESSAGE,
    PARTIAL,
    Filters,
    columns_of_filter,
    condition,
    lookup,
    matching,
)
from contacts_service.contacts.search_index import by_row
from contacts_service.contacts.tables import IDENTIFIER_KINDS, ORDERS, SUMMARY_COLUMNS, Contact, ContactCount
from contacts_service.db.database import database
from contacts_service.db.prepared import InlineInt, Row, prepared

_MIN_DENSE_MATCHES = 200  # Fewer matches are sorted within a millisecond.
_MAX_MERGED_ACCOUNTS = 50  # The contacts of a key with more accounts are sorted.
_WALK_FACTOR = 8  # How many times the expected rows a walk looks at.
UNREACHED = SQL(str(10**12))  # A limit that keeps planners from dissolving a subquery into the query around it.
# How far the contacts of each index are counted to find the one that has the fewest: by steps, as a small one ends it.
_COUNTED = (1000, 30_000, 1_000_000)
_FEW = {"ids", "username", *IDENTIFIER_KINDS}
_BEGIN_WITH_ACCOUNT = {"created", "last_message", *PARTIAL}  # What stands in indexes behind the account.
_NOT_OTHERS = {"account_id", "search"}  # Filters whose matches are counted without reading contacts.
_SORTED_BY = {"recent": "last_message", "created": "created", "-created": "created"}

Names = dict[str, None]
"""Names of filters. They are part of a prepared query, as the keys of a dict are."""


class Position(NamedTuple):
    """Where a contact stands in the order of a list. The order of creation ignores ``last_message_at``."""

    last_message_at: datetime | None
    created_at: datetime
    id: str


class Span(NamedTuple):
    """Which rows of the order to read: ``limit`` after a position or an offset."""

    limit: int
    offset: int | None
    after: Position | None


class _Plan(NamedTuple):
    """How to find contacts: by the filters that are looked up, comparing each contact with the others."""

    looked_up: Names
    compared: Names
    is_fenced: bool = False
    """Whether all are found before they are sorted, so that a planner can't walk the list's order instead."""
    walked: int | None = None
    """How many rows of the list's order to look at."""


def read_page(filters: Filters, span: Span, sort: str) -> tuple[int, list[Row]]:
    """Count the contacts that match, and read a page of them in an order of ORDERS."""
    names = filters.names
    others = names - _NOT_OTHERS
    in_front = {"account_id"} if sort != "recent" or "account_id" in names else {"assigned_to"}
    in_order = dict.fromkeys(sorted(names & {_SORTED_BY[sort], *in_front}))
    rest = dict.fromkeys(sorted(names - in_order.keys()))
    is_index = not rest and len(filters.allowed_accounts or ()) <= 1
    found_by, plan = (filters, _Plan(in_order, {})) if is_index else _planned(filters, names)
    total, contacts = _count(found_by, plan, others)
    if (span.offset or 0) >= total:  # Reading would walk the whole index to find nothing.
        return total, []
    read = _READERS[sort, is_index or not others]
    if sort == "recent" and span.after:
        span = span._replace(after=span.after._replace(last_message_at=span.after.last_message_at or NO_MESSAGE))
    if is_index:
        span = span._replace(limit=InlineInt(span.limit))
    elif walked := _rows_to_walk(filters, span, rest, total, contacts):
        compared = filters._replace(searches=[by_row(each) for each in filters.searches])
        rows = read(compared, _Plan(in_order, rest, walked=walked), span)
        if len(rows) == span.limit or not rest:
            return total, rows
        # It is the end of the list, or the matches stand together further behind.
    return total, read(found_by, plan, span)


def read_keys(filters: Filters, after: int, limit: int) -> tuple[int, list[int]]:
    """Count the contacts that match, and read so many of their keys above ``after``, in order."""
    names = filters.names
    found_by, plan = _planned(filters, names)
    keys = [row["pk"] for row in _list_keys(found_by, plan, after, limit)]
    is_whole = not after and len(keys) < limit
    return (len(keys) if is_whole else _count(found_by, plan, names - _NOT_OTHERS)[0]), keys


def _planned(filters: Filters, names: set[str]) -> tuple[Filters, _Plan]:
    """Look up the filter whose index has the fewest contacts, and compare the others. Runs queries.

    Returns the filters with a search as it is asked then.
    """
    terms, index = filters.searches, INDEXES[database.kind]
    filters = filters._replace(searches=[index.indexed(each) for each in terms])
    indexed = {name for name in names - _NOT_OTHERS if filters.has_index(name)}
    if not indexed:
        return filters, _Plan(dict.fromkeys(sorted(names)), {})
    first = min(indexed & _FEW, default=None) or _fewest(filters, names, indexed)
    looked_up = {first}
    if first == "search":
        looked_up |= names & {"tags", "account_id"}
    elif terms:
        filters = filters._replace(searches=[by_row(each) for each in terms])
    if first in _BEGIN_WITH_ACCOUNT:
        looked_up |= names & {"account_id"}
    compared = dict.fromkeys(sorted(names - looked_up))
    return filters, _Plan(dict.fromkeys(sorted(looked_up)), compared, is_fenced=bool(compared) or first not in _FEW)


def _fewest(filters: Filters, names: set[str], indexed: set[str]) -> str:
    """The filter whose index has the fewest contacts, as far as they are counted."""
    limited, known = {"account_id"} & names, {}
    if limited and not indexed & _BEGIN_WITH_ACCOUNT:
        known["account_id"] = int(_count_contacts(filters.account_ids)["total"])
    if len(indexed) + len(known) == 1 and not filters.searches:
        return min(indexed)
    for limit in _COUNTED:
        counts = {}
        for name in indexed:
            counted = sorted({name, *limited} if name in _BEGIN_WITH_ACCOUNT else {name})
            counts[name] = int(_count_some(filters, dict.fromkeys(counted), InlineInt(limit))["total"])
        counts |= known
        fewest = min(counts, key=lambda name: counts[name])
        if counts[fewest] < limit:
            break
        if filters.searches and "search" not in known:  # Late, as all that match have to be counted.
            found = INDEXES[database.kind].count(filters.searches, filters.account_ids)
            known["search"] = found.matches if found else _COUNTED[-1]
    return fewest


def _count(filters: Filters, plan: _Plan, others: set[str]) -> tuple[int, int | None]:
    """Count the contacts that match; and those of the same accounts, which is None where it isn't known."""
    if not others and not filters.searches:
        return int(_count_contacts(filters.account_ids)["total"]), None
    if not others and (found := INDEXES[database.kind].count(filters.searches, filters.account_ids)):
        return found.matches, found.contacts
    only = min(others) if len(others) == 1 and not filters.searches else ""
    if only == "assigned_to" and filters.equal[only] is None:
        return int(_count_unassigned(filters.account_ids)["total"]), None
    if only and not filters.has_index(only):
        contacts = int(_count_contacts(filters.account_ids)["total"])
        opposite = filters.opposite(only)
        return contacts - _count(*_planned(opposite, opposite.names), others)[0], contacts
    if only.startswith(METADATA):
        return int(_count_some(filters, {only: None}, None)["total"]), None
    is_kept = only == "assigned_to" and not plan.is_fenced
    return int((_count_assigned_to if is_kept else _count_matching)(filters, plan)["total"]), None


def _rows_to_walk(filters: Filters, span: Span, rest: Names, total: int, contacts: int | None) -> int | None:
    """How many rows of the list's order to look at (see ``merge`` and ``walk`` above); None to read otherwise."""
    needed = (span.offset or 0) + span.limit
    if len(filters.allowed_accounts or ()) > _MAX_MERGED_ACCOUNTS or rest.keys() & _FEW:
        return None
    if not rest:
        return needed
    if total < _MIN_DENSE_MATCHES or (contacts is None and rest.keys() == {"search"}):
        return None
    if contacts is None:
        contacts = int(_count_contacts(filters.account_ids)["total"])
    expected = needed * contacts // total
    return expected * _WALK_FACTOR if expected < total else None


@prepared(one=True)
def _count_contacts(account_ids: Any) -> Any:
    return _sum(ContactCount.contacts, account_ids)


@prepared(one=True)
def _count_unassigned(account_ids: Any) -> Any:
    return _sum(ContactCount.unassigned, account_ids)


def _sum(column: Any, account_ids: Any) -> Any:
    query = ContactCount.select(fn.COALESCE(fn.SUM(column), SQL("0")).alias("total"))
    return query if account_ids is None else query.where(ContactCount.account.in_(account_ids))


@prepared(one=True, replan=True)
def _count_some(filters: Filters, names: Names, limit: Any) -> Any:
    """Count the rows that the index of a filter has, at most so many."""
    rows = lookup(filters, min(names))
    rows = (matching(filters, names) if rows is None else rows).select(SQL("1"))
    rows = rows if limit is None else rows.limit(limit)
    return Select([rows.alias("some")], [SQL("COUNT(*)").alias("total")]).bind(database)


def _count_query(filters: Filters, plan: Any) -> Any:
    total = SQL("COUNT(*)").alias("total")
    if not plan.compared:
        return matching(filters, plan.looked_up).select(total)
    rows = _fenced(filters, plan)
    return Select([rows], [total]).where(*_comparisons(filters, plan, rows)).bind(database)


_count_matching = prepared(_count_query, one=True, replan=True)
_count_assigned_to = prepared(_count_query, one=True)


@prepared(replan=True)
def _list_keys(filters: Filters, plan: Any, after: Any, limit: Any) -> Any:
    rows = _fenced(filters, plan)
    keys = Select([rows], [rows.c.pk.alias("pk")]).where(rows.c.pk > after, *_comparisons(filters, plan, rows))
    return keys.order_by(rows.c.pk).limit(limit).bind(database)


def _page(sort: str, filters: Filters, plan: Any, span: Any) -> Any:
    order = ORDERS[sort]
    if plan.walked is None and not plan.is_fenced:
        query = _where(matching(filters, plan.looked_up), _after(sort, span, Contact))
        if span.offset is None:
            return query.select(*SUMMARY_COLUMNS).order_by(*order(Contact)).limit(span.limit)
        found = query.select(Contact.id).order_by(*order(Contact))
    else:
        rows = _fenced(filters, plan) if plan.walked is None else _first_rows(sort, filters, plan, span)
        # SQLite keeps the order of one subquery, and would otherwise read it to its end.
        is_sorted = plan.walked is not None and database.kind == "sqlite" and len(filters.allowed_accounts or ()) <= 1
        after = _after(sort, span, rows.c) if plan.walked is None else []
        found = _where(Select([rows], [rows.c.id]), [*_comparisons(filters, plan, rows), *after])
        found = found if is_sorted else found.order_by(*order(rows.c))
    ids = found.limit(span.limit)
    ids = ids if span.offset is None else ids.offset(span.offset)
    return Contact.select(*SUMMARY_COLUMNS).where(Contact.id.in_(ids)).order_by(*order(Contact))


def _where(query: Any, conditions: list[Node]) -> Any:
    return query.where(*conditions) if conditions else query


def _after(sort: str, span: Any, columns: Any) -> list[Node]:
    """Conditions: a contact stands behind the position."""
    if span.after is None:
        return []
    created_at = span.after.created_at.of(Contact.created_at)
    if sort != "recent":
        place, position = Tuple(columns.created_at, columns.id), Tuple(created_at, span.after.id)
        return [place > position if sort == "created" else place < position]
    recency = span.after.last_message_at.of(Contact.recency)
    # The first condition is a range of the index, so that it costs as much as a first page; the second takes out the
    # position itself and the contacts of the same times in front of it.
    return [
        Tuple(columns.recency, columns.created_at) <= Tuple(recency, created_at),
        (columns.recency < recency) | (columns.created_at < created_at) | (columns.id > span.after.id),
    ]


def _comparisons(filters: Filters, plan: Any, rows: Any) -> list[Node]:
    return [condition(filters, name, rows.c) for name in plan.compared]


def _columns(plan: Any) -> list[Any]:
    needed = [Contact.pk, Contact.id, Contact.recency, Contact.created_at]
    return [*dict.fromkeys([*needed, *[each for name in plan.compared for each in columns_of_filter(name)]])]


def _fenced(filters: Filters, plan: Any) -> Any:
    """The contacts that are looked up, as a table."""
    return matching(filters, plan.looked_up).select(*_columns(plan)).limit(UNREACHED).alias("near")


def _first_rows(sort: str, filters: Filters, plan: Any, span: Any) -> Any:
    """The first rows of the order, of each account, as a table."""
    order, after = ORDERS[sort], _after(sort, span, Contact)
    accounts = [[account] for account in filters.allowed_accounts] if filters.allowed_accounts else [None]
    queries = [matching(filters._replace(allowed_accounts=each), plan.looked_up) for each in accounts]  # type: ignore[arg-type]
    queries = [
        _where(query, after).select(*_columns(plan)).order_by(*order(Contact)).limit(plan.walked) for query in queries
    ]
    if len(queries) == 1:
        return queries[0].alias("near")
    parts = [Select([query.alias(f"near_{number}")], [SQL("*")]) for number, query in enumerate(queries)]
    return reduce(lambda merged, part: merged.union_all(part), parts).alias("near")


# By the order, and whether one plan is the best for any values.
_READERS: dict[tuple[str, bool], Callable[..., list[Row]]] = {
    (sort, is_kept): prepared(partial(_page, sort), replan=not is_kept) for sort in ORDERS for is_kept in (True, False)
}
