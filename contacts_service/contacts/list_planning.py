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

from contacts_service.contacts import list_queries as queries
from contacts_service.contacts.filters import METADATA, NO_MESSAGE, PARTIAL, Filters
from contacts_service.contacts.list_queries import Names, Plan, Span
from contacts_service.contacts.search_index import INDEXES, by_row
from contacts_service.contacts.tables import IDENTIFIER_KINDS
from contacts_service.db.database import database
from contacts_service.db.prepared import InlineInt, Row

_MIN_DENSE_MATCHES = 200  # Fewer matches are sorted within a millisecond.
_MAX_MERGED_ACCOUNTS = 50  # The contacts of a key with more accounts are sorted.
_WALK_FACTOR = 8  # How many times the expected rows a walk looks at.
# How far the contacts of each index are counted to find the one that has the fewest: by steps, as a small one ends it.
_COUNTED = (1000, 30_000, 1_000_000)
_FEW = {"ids", "username", *IDENTIFIER_KINDS}
_BEGIN_WITH_ACCOUNT = {"created", "last_message", *PARTIAL}  # What stands in indexes behind the account.
_NOT_OTHERS = {"account_id", "search"}  # Filters whose matches are counted without reading contacts.
_SORTED_BY = {"recent": "last_message", "created": "created", "-created": "created"}


def read_page(filters: Filters, span: Span, sort: str) -> tuple[int, list[Row]]:
    """Count the contacts that match, and read a page of them in an order of ORDERS."""
    names = filters.names
    others = names - _NOT_OTHERS
    in_front = {"account_id"} if sort != "recent" or "account_id" in names else {"assigned_to"}
    in_order = dict.fromkeys(sorted(names & {_SORTED_BY[sort], *in_front}))
    rest = dict.fromkeys(sorted(names - in_order.keys()))
    is_index = not rest and len(filters.allowed_accounts or ()) <= 1
    found_by, plan = (filters, Plan(in_order, {})) if is_index else _planned(filters, names)
    if sort == "recent" and span.after:
        span = span._replace(after=span.after._replace(last_message_at=span.after.last_message_at or NO_MESSAGE))
    if is_index and not others and span.offset is None:
        rows = queries.COUNTED_READERS[sort](filters, plan, span._replace(limit=InlineInt(span.limit)))
        if totals := {row.pop("total") for row in rows}:
            return int(totals.pop()), rows
    total, contacts = _count(found_by, plan, others)
    if (span.offset or 0) >= total:  # Reading would walk the whole index to find nothing.
        return total, []
    read = queries.READERS[sort, is_index or not others]
    if is_index:
        span = span._replace(limit=InlineInt(span.limit))
    elif walked := _rows_to_walk(filters, span, rest, total, contacts):
        compared = filters._replace(searches=[by_row(each) for each in filters.searches])
        rows = read(compared, Plan(in_order, rest, walked=walked), span)
        if len(rows) == span.limit or not rest:
            return total, rows
        # It is the end of the list, or the matches stand together further behind.
    return total, read(found_by, plan, span)


def read_keys(filters: Filters, after: int, limit: int) -> tuple[int, list[int]]:
    """Count the contacts that match, and read so many of their keys above ``after``, in order."""
    names = filters.names
    found_by, plan = _planned(filters, names)
    keys = [row["pk"] for row in queries.list_keys(found_by, plan, after, limit)]
    is_whole = not after and len(keys) < limit
    return (len(keys) if is_whole else _count(found_by, plan, names - _NOT_OTHERS)[0]), keys


def _planned(filters: Filters, names: set[str]) -> tuple[Filters, Plan]:
    """Look up the filter whose index has the fewest contacts, and compare the others. Runs queries.

    Returns the filters with a search as it is asked then.
    """
    terms, index = filters.searches, INDEXES[database.kind]
    filters = filters._replace(searches=[index.indexed(each) for each in terms])
    indexed = {name for name in names - _NOT_OTHERS if filters.has_index(name) or _has_few(filters, name)}
    if not indexed:
        return filters, Plan(dict.fromkeys(sorted(names)), {})
    first = min(indexed & _FEW, default=None) or _fewest(filters, names, indexed)
    looked_up = {first}
    if first == "search":
        looked_up |= names & {"tags", "account_id"}
    elif terms:
        filters = filters._replace(searches=[by_row(each) for each in terms])
    if first in _BEGIN_WITH_ACCOUNT:
        looked_up |= names & {"account_id"}
    compared = dict.fromkeys(sorted(names - looked_up))
    return filters, Plan(dict.fromkeys(sorted(looked_up)), compared, is_fenced=bool(compared) or first not in _FEW)


def _has_few(filters: Filters, name: str) -> bool:
    """Whether nearly all contacts wrote since the time of ``last_inbound_before``, against expectation."""
    if name != "last_inbound":
        return False
    return bool(queries.count_some(filters, {name: None}, InlineInt(_COUNTED[1]))["total"] < _COUNTED[1])


def _fewest(filters: Filters, names: set[str], indexed: set[str]) -> str:
    """The filter whose index has the fewest contacts, as far as they are counted."""
    limited, known = {"account_id"} & names, {}
    if limited and not indexed & _BEGIN_WITH_ACCOUNT:
        known["account_id"] = int(queries.count_contacts(filters.account_ids)["total"])
    if len(indexed) + len(known) == 1 and not filters.searches:
        return min(indexed)
    for limit in _COUNTED:
        counts = {}
        for name in indexed:
            counted = sorted({name, *limited} if name in _BEGIN_WITH_ACCOUNT else {name})
            counts[name] = int(queries.count_some(filters, dict.fromkeys(counted), InlineInt(limit))["total"])
        counts |= known
        fewest = min(counts, key=lambda name: counts[name])
        if counts[fewest] < limit:
            break
        if filters.searches and "search" not in known:  # Late, as all that match have to be counted.
            found = INDEXES[database.kind].count(filters.searches, filters.account_ids)
            known["search"] = found.matches if found else _COUNTED[-1]
    return fewest


def _count(filters: Filters, plan: Plan, others: set[str]) -> tuple[int, int | None]:
    """Count the contacts that match; and those of the same accounts, which is None where it isn't known."""
    if not others and not filters.searches:
        return int(queries.count_contacts(filters.account_ids)["total"]), None
    if not others and (found := INDEXES[database.kind].count(filters.searches, filters.account_ids)):
        return found.matches, found.contacts
    only = min(others) if len(others) == 1 and not filters.searches else ""
    if only == "assigned_to" and filters.equal[only] is None:
        return int(queries.count_unassigned(filters.account_ids)["total"]), None
    if only and not plan.is_fenced and not filters.has_index(only):
        contacts = int(queries.count_contacts(filters.account_ids)["total"])
        opposite = filters.opposite(only)
        return contacts - _count(*_planned(opposite, opposite.names), others)[0], contacts
    if only.startswith(METADATA):
        return int(queries.count_some(filters, {only: None}, None)["total"]), None
    is_kept = only == "assigned_to" and not plan.is_fenced
    return int((queries.count_assigned_to if is_kept else queries.count_matching)(filters, plan)["total"]), None


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
        contacts = int(queries.count_contacts(filters.account_ids)["total"])
    expected = needed * contacts // total
    return expected * _WALK_FACTOR if expected < total else None
