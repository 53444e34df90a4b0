"""Queries of the change feed. They return rows as dicts.

Numbers are not given in the order of commits: on PostgreSQL a transaction may commit after one that began later. So
nothing is shown from the first transaction on that is still open. All below ``bound`` has ended, and each later query
sees what was committed of it.
"""

import secrets
from functools import reduce
from operator import or_
from typing import Any

from peewee import JOIN, SQL, Alias, Select, Tuple, fn

from contacts_service.changes.tokens import Place
from contacts_service.contacts.tables import ALL_COLUMNS, ChangeFeed, Contact, ContactMerge, ContactTombstone
from contacts_service.db.caller import of_account, of_accounts
from contacts_service.db.database import database
from contacts_service.db.prepared import prepared

Accounts = list[str | None] | None
"""Only contacts of these accounts, None among them for those of no account; None for all contacts."""
_MAX_MERGED_ACCOUNTS = 50  # The changes of more accounts are sorted.
# Relative to ChangeFeed.base: the first transaction that is still open, and the first that is yet to begin.
_FIRST_OPEN = {"sqlite": SQL("1"), "postgresql": SQL("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")}
_FIRST_FUTURE = {"sqlite": SQL("1"), "postgresql": SQL("pg_snapshot_xmax(pg_current_snapshot())::text::bigint")}
_CURRENT = {"sqlite": SQL("0"), "postgresql": SQL("pg_current_xact_id()::text::bigint")}


@prepared(one=True)
def read_feed(contacts_from: Any, tombstones_from: Any, accounts: Any) -> Any:
    """Read the state of the feed, and whether there is anything from these numbers on."""
    bound = ChangeFeed.base + _FIRST_OPEN[database.kind]
    newest = Contact.select(fn.MAX(Contact.change_seq))
    held = Contact.select(Contact.updated_at).where(Contact.change_seq >= bound).order_by(Contact.change_seq)
    return ChangeFeed.select(
        ChangeFeed.generation,
        ChangeFeed.horizon,
        bound.alias("bound"),
        # Transaction ids have begun again, as after the restore of a dump.
        (newest >= ChangeFeed.base + _FIRST_FUTURE[database.kind]).alias("is_ahead"),
        # On SQLite nothing is held back. The limit is written out, or PostgreSQL would plan each time.
        Alias(held.limit(SQL("1")), "held_since"),
        _reaches(Contact, contacts_from, bound, accounts).alias("has_contacts"),
        _reaches(ContactTombstone, tombstones_from, bound, accounts).alias("has_tombstones"),
    )


@prepared(one=True)
def measure_contacts(place: Any, bound: Any, accounts: Any, limit: Any) -> Any:
    """Add up the bytes of the metadata of the first contacts after a place."""
    size = database.byte_length(Contact.metadata).alias("size")
    near = _first(Contact, place, bound, accounts, limit).select(size).alias("near")
    return Contact.select(fn.SUM(near.c.size).alias("bytes")).from_(near)


@prepared
def list_contacts(place: Any, bound: Any, accounts: Any, limit: Any) -> Any:
    """Read whole contacts in the order of the feed."""
    return _first(Contact, place, bound, accounts, limit).select(*ALL_COLUMNS, Contact.change_seq, Contact.pk)


@prepared
def list_tombstones(place: Any, tombstones_from: Any, bound: Any, accounts: Any, limit: Any) -> Any:
    """Read tombstones in the order of the feed, each with the horizon of the same moment; at least one row."""
    columns = (ContactTombstone.id, ContactTombstone.change_seq, ContactTombstone.pk)
    page = _first(ContactTombstone, place, bound, accounts, limit, ContactTombstone.change_seq >= tombstones_from)
    page = page.select(*columns).alias("page")
    named = [getattr(page.c, column.name).alias(column.name) for column in columns]
    tombstones = ChangeFeed.select(ChangeFeed.horizon, *named, Contact.id.alias("merged_into"))
    merges = tombstones.join(page, JOIN.LEFT_OUTER, on=SQL("true"))
    merges = merges.join(ContactMerge, JOIN.LEFT_OUTER, on=(ContactMerge.source_id == page.c.id))
    return merges.join(Contact, JOIN.LEFT_OUTER, on=(Contact.pk == ContactMerge.survivor))


def renew() -> None:
    """Make all tokens void, and number later changes above all that are stored. Call it within a transaction."""
    database.lock_out_writers("contact")
    newest = [model.select(fn.COALESCE(fn.MAX(model.change_seq), 0)) for model in (Contact, ContactTombstone)]
    highest = max(query.scalar() for query in newest)
    [current] = ChangeFeed.select(_CURRENT[database.kind]).tuples().get()
    ChangeFeed.update(generation=secrets.token_hex(8), base=max(0, highest + 1 - current)).execute()


def _reaches(model: Any, change_seq: Any, bound: Any, accounts: Accounts) -> Any:
    """Condition: there are rows from a number on. Only the end of each account's index is looked at."""
    if accounts is not None and len(accounts) > _MAX_MERGED_ACCOUNTS:
        return SQL("1 = 1")  # The page will tell.
    newest = model.select(fn.MAX(model.change_seq)).where(model.change_seq < bound)
    each = [newest] if accounts is None else [newest.where(of_account(model.account_id, each)) for each in accounts]
    return reduce(or_, [query >= change_seq for query in each])


def _after(model: Any, place: Place, bound: Any, accounts: Accounts) -> Any:
    is_after = Tuple(model.change_seq, model.pk) > Tuple(place.change_seq, place.pk)
    rows = model.select().where(is_after, model.change_seq < bound)
    if accounts is None:
        return rows
    column = model.account_id
    return rows.where(of_account(column, accounts[0]) if len(accounts) == 1 else of_accounts(column, accounts))


def _first(model: Any, place: Place, bound: Any, accounts: Accounts, limit: Any, *more: Any) -> Any:
    """The first rows after a place; of several accounts merged, as an index has each of them in order."""
    if accounts is None or not 1 < len(accounts) <= _MAX_MERGED_ACCOUNTS:
        rows = _after(model, place, bound, accounts).where(*more) if more else _after(model, place, bound, accounts)
        return rows.order_by(model.change_seq, model.pk).limit(limit)
    parts = [_first(model, place, bound, [account], limit, *more) for account in accounts]
    parts = [part.select(model.id, model.change_seq, model.pk) for part in parts]
    tables = [Select([part.alias(f"part_{number}")], [SQL("*")]) for number, part in enumerate(parts)]
    merged = reduce(lambda left, right: left.union_all(right), tables).alias("merged")
    ids = Select([merged], [merged.c.id]).order_by(merged.c.change_seq, merged.c.pk).limit(limit)
    return model.select().where(model.id.in_(ids)).order_by(model.change_seq, model.pk)
