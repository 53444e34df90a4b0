"""Which contacts a list, an export or a bulk change is about, and the same as conditions in SQL."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from peewee import SQL, Node, NodeList, fn

from contacts_service.contacts.metadata_terms import term_of
from contacts_service.contacts.search_index import INDEXES, IndexQuery, all_of
from contacts_service.contacts.search_text import alternatives
from contacts_service.contacts.tables import (
    IDENTIFIER_KINDS,
    NO_ACCOUNT,
    Contact,
    ContactCount,
    ContactIdentifier,
    ContactMetadata,
    ContactTag,
)
from contacts_service.db.caller import AllowedAccounts, of_accounts, require_account
from contacts_service.db.database import database
from contacts_service.errors import InvalidRequest
from schemas.constants import MAX_SEARCH_WORDS

NO_MESSAGE = datetime(1, 1, 1, tzinfo=UTC)  # The recency of contacts without a message.
_BOUNDED = {"created": Contact.created_at, "last_message": Contact.recency, "last_inbound": Contact.last_inbound_at}
_FIELDS = {**_BOUNDED, "unread": Contact.unread_count, "search": Contact.search_text, "ids": Contact.id}
PARTIAL = ("unread", "marketing_opt_out")
"""Filters whose index has the contacts that pass ``true``, and no others."""
METADATA = "metadata "
"""With a number, the name of a filter by metadata."""


class Filters(NamedTuple):
    """Which contacts to choose: those that pass every filter."""

    allowed_accounts: AllowedAccounts
    equal: dict[str, str | None]
    """Columns and their values, None for null."""
    ids: list[str] | None
    tags: list[str] | None
    """A contact has at least one of them."""
    searches: list[Any]
    """Alternatives of a search, a contact matches at least one: lists of terms, or IndexQuery in queries."""
    bounds: dict[str, Any]
    """Times by the name of the parameter, such as created_after."""
    unread: bool | None
    marketing_opt_out: bool | None
    metadata: list[list[int]]
    """Terms of ContactMetadata, a list for each pair of key and value: a contact has at least one of each."""

    @property
    def account_ids(self) -> list[str] | None:
        """The accounts as their counters name them; None for all."""
        if "account_id" in self.equal:
            account_id = self.equal["account_id"]
            return [NO_ACCOUNT if account_id is None else account_id]  # A prepared query can only test for None.
        return None if self.allowed_accounts is None else list(self.allowed_accounts)

    @property
    def names(self) -> set[str]:
        """Names of the filters; an account is one, also that of a key."""
        bounds = {bound.rpartition("_")[0] for bound in self.bounds}
        names = {name for name in ("ids", "tags", *PARTIAL) if getattr(self, name) is not None}
        names.update(self.equal, bounds, [f"{METADATA}{number}" for number in range(len(self.metadata))])
        if self.allowed_accounts is not None:
            names.add("account_id")
        if self.searches:
            names.add("search")
        return names

    def has_index(self, name: str) -> bool:
        """Whether an index finds the contacts that pass a filter, which are seldom nearly all."""
        if name in PARTIAL:
            return getattr(self, name) is True
        return name != "last_inbound" or "last_inbound_after" in self.bounds

    def opposite(self, name: str) -> "Filters":
        """Choose just the contacts that don't pass a filter for which there is no index."""
        if name in PARTIAL:
            return self._replace(**{name: True})  # type: ignore[arg-type]
        return self._replace(bounds={"last_inbound_after": self.bounds["last_inbound_before"]})


def make_filters(  # noqa: PLR0913 - The query parameters.
    allowed_accounts: AllowedAccounts,
    *,
    search: str = "",
    ids: list[str] | None = None,
    tags: list[str] | None = None,
    unread: bool | None = None,
    marketing_opt_out: bool | None = None,
    metadata: dict[str, str] | None = None,
    **others: Any,
) -> Filters:
    """Make filters of the parameters of ContactFilters. Runs a query. Raises AccountForbidden, InvalidRequest."""
    equal = {name: value for name, value in others.items() if not isinstance(value, datetime)}
    bounds = {name: value for name, value in others.items() if name not in equal}
    if "account_id" in equal:
        require_account(allowed_accounts, equal["account_id"])
        allowed_accounts = None
    searches = alternatives(search)
    if max(map(len, searches), default=0) > MAX_SEARCH_WORDS:
        raise InvalidRequest({"search": [f"More than {MAX_SEARCH_WORDS} words."]})
    # Contacts without a message are before everything.
    earliest = NO_MESSAGE + timedelta(microseconds=1)
    bounds |= {name: max(bounds[name], earliest) for name in bounds if name.startswith("last_")}
    filters = Filters(allowed_accounts, equal, ids, tags, searches, bounds, unread, marketing_opt_out, [])
    if metadata:
        accounts = filters.account_ids
        if accounts is None:
            accounts = [row.account for row in ContactCount.select(ContactCount.account).distinct()]
        terms = [[term_of(account, *pair) for account in accounts or [NO_ACCOUNT]] for pair in metadata.items()]
        filters = filters._replace(metadata=terms)
    return filters


def matching(filters: Filters, names: Iterable[str]) -> Any:
    """Query: the contacts that pass the filters of these names."""
    names = set(names)
    conditions = []
    if "search" in names:
        tagged = lookup(filters, "tags") if "tags" in names else None
        conditions = [matches_any(filters.searches, Contact.pk, Contact.search_text, tagged)]
        names -= {"search", "tags"}
    if "account_id" in names and names & {*PARTIAL}:
        # An expression of their own: SQLite would as soon look up another index that begins with the account.
        account = fn.COALESCE(Contact.account_id.cast("TEXT"), SQL(f"'{NO_ACCOUNT}'"))
        conditions.append(of_accounts(account, filters.account_ids or ()))
        names.remove("account_id")
    conditions += [condition(filters, name, Contact) for name in sorted(names)]
    return Contact.select().where(*conditions) if conditions else Contact.select()


def condition(filters: Filters, name: str, columns: Any) -> Node:
    """One filter as a condition on ``columns``: those of Contact, or of a table that has ``columns_of_filter``."""
    if name == "search":
        return matches_any(filters.searches, None, columns.search_text)
    if name == "account_id" and filters.allowed_accounts is not None:
        return of_accounts(columns.account_id, filters.allowed_accounts)
    if name in _BOUNDED:
        return _bounded(filters, name, getattr(columns, _BOUNDED[name].name))
    if name in PARTIAL:
        passes = columns.unread_count > SQL("0") if name == "unread" else columns.marketing_opt_out
        return passes if getattr(filters, name) else NodeList((SQL("NOT"), passes), parens=True)
    if name == "ids":
        return columns.id.in_(filters.ids)
    rows = lookup(filters, name)
    passes = [] if rows is None else [_is_among(columns, rows)]
    if name in filters.equal:
        column, value = getattr(columns, name), filters.equal[name]
        passes.append(column.is_null() if value is None else column == value)
    return all_of(passes)


def lookup(filters: Filters, name: str) -> Any:
    """Query: the keys of the contacts that another table has for a filter; None if that filter looks at contacts."""
    if name == "tags":
        return ContactTag.select(ContactTag.contact).where(ContactTag.tag.in_(filters.tags))
    if name.startswith(METADATA):
        terms = filters.metadata[int(name.removeprefix(METADATA))]
        return ContactMetadata.select(ContactMetadata.contact).where(ContactMetadata.term.in_(terms))
    if name not in IDENTIFIER_KINDS:
        return None
    # The accounts are few, and the primary key begins with them.
    accounts = filters.account_ids or ContactCount.select(ContactCount.account)
    identifier = ContactIdentifier.account.in_(accounts) & (ContactIdentifier.kind == name)
    found = ContactIdentifier.select(ContactIdentifier.contact)
    return found.where(identifier, ContactIdentifier.value == filters.equal[name])


def columns_of_filter(name: str) -> list[Any]:
    """The columns that the condition of a filter needs beside the primary key."""
    field = _FIELDS.get(name) or Contact._meta.fields.get(name)  # noqa: SLF001 - Peewee's documented place for fields by name.
    return [] if field is None or name == "tags" else [field]


def matches_any(searches: list[IndexQuery], pk: Any, search_text: Any, tagged: Any = None) -> Node:
    index = INDEXES[database.kind]
    return NodeList([index.condition(pk, search_text, each, tagged) for each in searches], glue=" OR ", parens=True)


def _bounded(filters: Filters, name: str, column: Any) -> Node:
    after, before = filters.bounds.get(f"{name}_after"), filters.bounds.get(f"{name}_before")
    field = _BOUNDED[name]
    if name == "last_inbound":
        column = fn.COALESCE(column, SQL("'0001-01-01T00:00:00.000000Z'"))  # As in its index.
    conditions = [] if after is None else [column >= after.of(field)]
    return all_of(conditions if before is None else [*conditions, column < before.of(field)])


def _is_among(columns: Any, rows: Any) -> Node:
    """A contact is among those of a lookup: all of them are read, or those of each row that is compared."""
    if columns is Contact:
        return Contact.pk.in_(rows)
    return fn.EXISTS(rows.where(rows.model.contact == columns.pk))
