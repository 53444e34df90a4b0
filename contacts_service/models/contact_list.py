"""Reading the table of contacts page by page."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from peewee import SQL, NodeList

from contacts_service.models.accounts import Accounts, of_accounts
from contacts_service.models.contacts import (
    CREATED_ORDER,
    NO_MESSAGE,
    RECENT_ORDER,
    SUMMARY,
    Contact,
    ContactTag,
)
from contacts_service.models.database import database
from contacts_service.models.fields import TimeField

_moment = TimeField().db_value


class Place(NamedTuple):
    """Where a contact stands in the order of a list; ``last_message_at`` counts in the recent order alone."""

    last_message_at: datetime | None
    created_at: datetime
    id: str


def matching(
    *,
    accounts: Accounts,
    equal: dict[str, str | None],
    ids: list[str] | None,
    tags: list[str] | None,
    any_of: Sequence[list[str]],
) -> Any:
    """Make the query for the contacts of these accounts that match all filters, to be counted and read.

    ``equal`` holds columns and their values, None for null; ``tags`` any of which a contact has to have; ``any_of``
    alternatives of search, one of whose terms all have to appear in the search text.
    """
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
    if any_of:
        alternatives = [database.matches(Contact.pk, Contact.search_text, terms) for terms in any_of]
        query = query.where(NodeList(alternatives, glue=" OR ", parens=True))
    return query


def count(matches: Any) -> int:
    return int(matches.select(SQL("COUNT(*)")).scalar())


def read_recent(matches: Any, *, limit: int, offset: int = 0, after: Place | None = None) -> list[dict[str, Any]]:
    """Read in the recent order, from an offset or from behind a place."""
    if after:
        # The first condition is a range of the index, so the cost is that of a first page; the second takes the
        # place itself and what shares its times out of that range.
        recency, created = _moment(after.last_message_at) or NO_MESSAGE, _moment(after.created_at)
        matches = matches.where(
            NodeList((_row(Contact.recency, Contact.created_at), SQL("<="), _row(recency, created))),
            NodeList((Contact.recency, SQL("<"), recency))
            | (Contact.created_at < after.created_at)
            | (Contact.id > after.id),
        )
    return list(matches.select(*SUMMARY).order_by(*RECENT_ORDER).limit(limit).offset(offset).dicts())


def read_created(matches: Any, *, limit: int, offset: int = 0, after: Place | None = None) -> list[dict[str, Any]]:
    """Read in the order of creation, oldest first, from an offset or from behind a place."""
    if after:
        place = _row(_moment(after.created_at), after.id)
        matches = matches.where(NodeList((_row(Contact.created_at, Contact.id), SQL(">"), place)))
    return list(matches.select(*SUMMARY).order_by(*CREATED_ORDER).limit(limit).offset(offset).dicts())


def _row(*values: Any) -> NodeList:
    return NodeList(values, glue=", ", parens=True)
