"""Reads the contacts of a list page by page.

There are four ways to read a page; ``read_page`` chooses by counts. Times are of a million contacts on SQLite.

``index``: no filter, or one account, or one user's. An index has these contacts, and no others, in the list's order;
the page is a range of it. Any place in the order is found at once.

``merge``: the accounts of a key that has several. The first rows of each account's own index are merged: 1.1 ms for a
key of three accounts, where sorting all contacts of the accounts takes 59.6 ms.

``walk``: a search that matches a good part of the list. Rows are looked at in the list's order until the page is full:
4.9 ms for one match in twenty, where sorting the matches takes 54 ms. Matches may stand together somewhere behind, so
it looks at no more than eight times the rows that are expected to do, and then falls back to ``sort``.

``sort``: everything else. The contacts that match are found by the filters' indexes, and sorted.

A page that begins at an offset is read in two steps: ids from the index, then whole rows for this page alone.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import reduce
from typing import Any, NamedTuple

from peewee import SQL, Node, NodeList, Select, Tuple, fn

from contacts_service.contacts.search_index import IndexQuery, by_row
from contacts_service.contacts.search_postgresql import PostgresqlSearchIndex
from contacts_service.contacts.search_sqlite import SqliteSearchIndex
from contacts_service.contacts.tables import (
    CREATED_ORDER,
    IDENTIFIER_KINDS,
    NO_ACCOUNT,
    RECENT_ORDER,
    SUMMARY_COLUMNS,
    Contact,
    ContactCount,
    ContactIdentifier,
    ContactTag,
)
from contacts_service.db.accounts import AllowedAccounts, of_accounts
from contacts_service.db.database import database
from contacts_service.db.prepared import InlineInt, Row, prepared

_MIN_DENSE_MATCHES = 200  # Fewer matches are sorted within a millisecond.
_MAX_MERGED_ACCOUNTS = 50  # The contacts of a key with more accounts are sorted.
_WALK_FACTOR = 8  # How many times the expected rows a walk looks at.
_NO_MESSAGE = datetime(1, 1, 1, tzinfo=UTC)  # The recency of contacts without a message.
_Index = SqliteSearchIndex | PostgresqlSearchIndex
_INDEXES: dict[str, _Index] = {"sqlite": SqliteSearchIndex(), "postgresql": PostgresqlSearchIndex()}


class Position(NamedTuple):
    """Where a contact stands in the order of a list. The order of creation ignores ``last_message_at``."""

    last_message_at: datetime | None
    created_at: datetime
    id: str


class Filters(NamedTuple):
    """Which contacts a list shows."""

    allowed_accounts: AllowedAccounts
    equal: dict[str, str | None]
    """Columns and their values, None for null."""
    ids: list[str] | None
    tags: list[str] | None
    """A contact has at least one of them."""
    searches: list[Any]
    """Alternatives of a search, a contact matches at least one: lists of terms, or IndexQuery in queries."""

    @property
    def account_ids(self) -> list[str] | None:
        """The accounts as their counters name them; None for all."""
        if "account_id" in self.equal:
            return [self.equal["account_id"] or NO_ACCOUNT]
        return None if self.allowed_accounts is None else list(self.allowed_accounts)

    @property
    def others(self) -> set[str]:
        """Names of the filters other than accounts and search."""
        return {*self.equal, *(["ids"] if self.ids else ()), *(["tags"] if self.tags else ())} - {"account_id"}


class Span(NamedTuple):
    """Which rows of the order to read: ``limit`` after a position or an offset, among the first ``walked`` rows."""

    limit: int
    offset: int | None
    after: Position | None
    walked: int | None = None


def read_page(filters: Filters, span: Span, *, is_recent: bool) -> tuple[int, list[Row]]:
    """Count the contacts that match, and read a page of them in the recent order or in the order of creation."""
    if "account_id" in filters.equal:
        filters = filters._replace(allowed_accounts=None)  # The caller was checked to be allowed this account.
    index, terms = _INDEXES[database.kind], filters.searches
    others = filters.others
    filters = filters._replace(searches=[index.indexed(each) for each in terms])
    if terms and _filters_leave_fewer(index, filters, others):
        filters = filters._replace(searches=[by_row(each) for each in terms])
    total, contacts = _count(index, filters, others)
    if (span.offset or 0) >= total:  # Reading would walk the whole index to find nothing.
        return total, []
    is_index = _is_in_index(filters, others)
    read = _READERS[is_recent, is_index or not others]
    if is_recent and span.after:
        span = span._replace(after=span.after._replace(last_message_at=span.after.last_message_at or _NO_MESSAGE))
    if is_index:
        span = span._replace(limit=InlineInt(span.limit))
    if walked := _rows_to_walk(filters, span, total, contacts):
        compared = filters._replace(searches=[by_row(each) for each in terms])
        rows = read(compared, span._replace(walked=walked))
        if len(rows) == span.limit or not terms:
            return total, rows
        # It is the end of the list, or the matches stand together further behind.
    return total, read(filters, span)


def _is_in_index(filters: Filters, others: set[str]) -> bool:
    """Whether an index has these contacts, and no others, in the list's order."""
    if filters.searches or not others <= {"assigned_to"} or len(filters.equal) > 1:
        return False
    return filters.allowed_accounts is None or (len(filters.allowed_accounts) == 1 and not filters.equal)


def _filters_leave_fewer(index: _Index, filters: Filters, others: set[str]) -> bool:
    """Whether other filters leave fewer contacts than the search matches, so that rows are better compared."""
    if others & {"ids", "username", *IDENTIFIER_KINDS}:
        return True
    if "assigned_to" not in others:
        return False
    found = index.count(filters.searches, filters.account_ids)
    return found is not None and found.matches > _count_assigned(filters)


def _count(index: _Index, filters: Filters, others: set[str]) -> tuple[int, int | None]:
    """Count the contacts that match, and those of the same accounts, which is None where it isn't needed."""
    if filters.searches and not others and (found := index.count(filters.searches, filters.account_ids)):
        return found.matches, found.contacts
    if not filters.searches and not others:
        return int(_count_contacts(filters.account_ids)["total"]), None
    if not filters.searches and others == {"assigned_to"}:
        return _count_assigned(filters), None
    return int(_count_matching(filters)["total"]), None


def _count_assigned(filters: Filters) -> int:
    """Count the contacts of a user, or of no one, in the accounts; no other filter may be set."""
    if filters.equal["assigned_to"] is None:
        return int(_count_unassigned(filters.account_ids)["total"])
    assigned = Filters(filters.allowed_accounts, filters.equal, None, None, [])
    count = _count_assigned_to if filters.account_ids is None else _count_matching
    return int(count(assigned)["total"])


def _rows_to_walk(filters: Filters, span: Span, total: int, contacts: int | None) -> int | None:
    """How many rows of the list's order to look at (see ``merge`` and ``walk`` above); None to read otherwise."""
    needed, accounts = (span.offset or 0) + span.limit, len(filters.allowed_accounts or ())
    if accounts > _MAX_MERGED_ACCOUNTS or filters.ids or filters.tags:
        return None
    if not filters.searches:
        return needed if accounts > 1 else None
    if contacts is None or total < _MIN_DENSE_MATCHES:
        return None
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


def _count_query(filters: Filters) -> Any:
    return _matching(filters).select(SQL("COUNT(*)").alias("total"))


_count_matching = prepared(_count_query, one=True, replan=True)
_count_assigned_to = prepared(_count_query, one=True)


def _recent_page(filters: Filters, span: Any) -> Any:
    after: list[Node] = []
    if span.after is not None:
        recency = span.after.last_message_at.of(Contact.recency)
        created_at = span.after.created_at.of(Contact.created_at)
        # The first condition is a range of the index, so that it costs as much as a first page; the second takes out
        # the position itself and the contacts of the same times in front of it.
        after = [
            Tuple(Contact.recency, Contact.created_at) <= Tuple(recency, created_at),
            (Contact.recency < recency) | (Contact.created_at < created_at) | (Contact.id > span.after.id),
        ]
    return _page(filters, span, after, RECENT_ORDER)


def _created_page(filters: Filters, span: Any) -> Any:
    after: list[Node] = []
    if span.after is not None:
        position = Tuple(span.after.created_at.of(Contact.created_at), span.after.id)
        after = [Tuple(Contact.created_at, Contact.id) > position]
    return _page(filters, span, after, CREATED_ORDER)


def _page(filters: Filters, span: Any, after: list[Node], order: Any) -> Any:
    if span.walked is not None:
        rows, rows_order = _first_rows(filters._replace(searches=[]), span.walked, after, order)
        found = Select([rows], [rows.c.id]).order_by(*rows_order)
        if filters.searches:
            found = found.where(_matches_any(filters.searches, None, rows.c.search_text))
    else:
        query = _matching(filters).where(*after) if after else _matching(filters)
        if span.offset is None:
            return query.select(*SUMMARY_COLUMNS).order_by(*order).limit(span.limit)
        found = query.select(Contact.id).order_by(*order)
    ids = found.limit(span.limit)
    ids = ids if span.offset is None else ids.offset(span.offset)
    return Contact.select(*SUMMARY_COLUMNS).where(Contact.id.in_(ids)).order_by(*order)


def _first_rows(filters: Filters, walked: Any, after: list[Node], order: Any) -> tuple[Any, list[Any]]:
    """The first rows of the order, of each account, as a table; and the order that remains to be made of it."""
    columns = (Contact.id, Contact.search_text, Contact.recency, Contact.created_at)
    accounts = [[account] for account in filters.allowed_accounts] if filters.allowed_accounts else [None]
    queries = [_matching(filters._replace(allowed_accounts=account)) for account in accounts]  # type: ignore[arg-type]
    queries = [query.where(*after) if after else query for query in queries]
    queries = [query.select(*columns).order_by(*order).limit(walked) for query in queries]
    if len(queries) == 1:
        return queries[0].alias("near"), []  # Both databases keep the order of a subquery.
    parts = [Select([query.alias(f"near_{number}")], [SQL("*")]) for number, query in enumerate(queries)]
    near = reduce(lambda merged, part: merged.union_all(part), parts).alias("near")
    by_creation = [near.c.created_at, near.c.id]
    return near, [near.c.recency.desc(), near.c.created_at.desc(), near.c.id] if order is RECENT_ORDER else by_creation


def _matching(filters: Filters) -> Any:
    query = Contact.select()
    if filters.allowed_accounts is not None:
        query = query.where(of_accounts(Contact.account_id, filters.allowed_accounts))
    for column, value in filters.equal.items():
        field = Contact._meta.fields[column]  # noqa: SLF001 - Peewee's documented place for fields by name.
        query = query.where(field.is_null() if value is None else field == value)
        if column in IDENTIFIER_KINDS:
            # Contact has no index of them. The accounts are few, and the primary key begins with them.
            accounts = filters.account_ids or ContactCount.select(ContactCount.account)
            identifier = ContactIdentifier.account.in_(accounts) & (ContactIdentifier.kind == column)
            owner = ContactIdentifier.select(ContactIdentifier.contact).where(
                identifier, ContactIdentifier.value == value
            )
            query = query.where(Contact.pk.in_(owner))
    if filters.ids is not None:
        query = query.where(Contact.id.in_(filters.ids))
    tagged = ContactTag.select(ContactTag.contact).where(ContactTag.tag.in_(filters.tags)) if filters.tags else None
    if filters.searches:
        return query.where(_matches_any(filters.searches, Contact.pk, Contact.search_text, tagged))
    return query if tagged is None else query.where(Contact.pk.in_(tagged))


def _matches_any(searches: list[IndexQuery], pk: Any, search_text: Any, tagged: Any = None) -> Node:
    index = _INDEXES[database.kind]
    return NodeList([index.condition(pk, search_text, each, tagged) for each in searches], glue=" OR ", parens=True)


# By whether the order is the recent one, and whether one plan is the best for any values.
_READERS: dict[tuple[bool, bool], Callable[..., list[Row]]] = {
    (True, True): prepared(_recent_page),
    (True, False): prepared(_recent_page, replan=True),
    (False, True): prepared(_created_page),
    (False, False): prepared(_created_page, replan=True),
}
