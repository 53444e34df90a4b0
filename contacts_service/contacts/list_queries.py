"""Queries of the list: counts of contacts, and pages of them in any of the ways that ``list_planning`` chooses."""

from collections.abc import Callable
from datetime import datetime
from functools import partial, reduce
from typing import Any, NamedTuple

from peewee import SQL, Alias, Node, Select, Tuple, fn

from contacts_service.contacts.filters import Filters, columns_of_filter, condition, lookup, matching
from contacts_service.contacts.tables import ORDERS, SUMMARY_COLUMNS, Contact, ContactCount
from contacts_service.db.database import database
from contacts_service.db.prepared import Row, prepared

UNREACHED = SQL(str(10**12))  # A limit that keeps planners from dissolving a subquery into the query around it.

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


class Plan(NamedTuple):
    """How to find contacts: by the filters that are looked up, comparing each contact with the others."""

    looked_up: Names
    compared: Names
    is_fenced: bool = False
    """Whether all are found before they are sorted, so that a planner can't walk the list's order instead."""
    walked: int | None = None
    """How many rows of the list's order to look at."""


@prepared(one=True)
def count_contacts(account_ids: Any) -> Any:
    return _sum(ContactCount.contacts, account_ids)


@prepared(one=True)
def count_unassigned(account_ids: Any) -> Any:
    return _sum(ContactCount.unassigned, account_ids)


def _sum(column: Any, account_ids: Any) -> Any:
    query = ContactCount.select(fn.COALESCE(fn.SUM(column), SQL("0")).alias("total"))
    return query if account_ids is None else query.where(ContactCount.account.in_(account_ids))


@prepared(one=True, replan=True)
def count_some(filters: Filters, names: Names, limit: Any) -> Any:
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


count_matching = prepared(_count_query, one=True, replan=True)
count_assigned_to = prepared(_count_query, one=True)


@prepared(replan=True)
def list_keys(filters: Filters, plan: Any, after: Any, limit: Any) -> Any:
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


def _counted_page(sort: str, filters: Filters, plan: Any, span: Any) -> Any:
    """A page whose rows also have ``total``, which is read once: a query of its own takes 22 of 147 µs of Python."""
    total = _sum(ContactCount.contacts, filters.account_ids)
    return _page(sort, filters, plan, span).select_extend(Alias(total, "total"))


# By the order: pages that begin at no offset, of an index whose contacts are counted by their accounts.
COUNTED_READERS = {sort: prepared(partial(_counted_page, sort)) for sort in ORDERS}
# By the order, and whether one plan is the best for any values.
READERS: dict[tuple[str, bool], Callable[..., list[Row]]] = {
    (sort, is_kept): prepared(partial(_page, sort), replan=not is_kept) for sort in ORDERS for is_kept in (True, False)
}
