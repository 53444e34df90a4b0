"""Queries of messages. They return rows as dicts."""

from datetime import datetime
from typing import Any

from peewee import CTE, JOIN, SQL, Join, Select, Tuple, fn

from contacts_service.contacts.queries import update_contact
from contacts_service.contacts.tables import ALL_COLUMNS as CONTACT_COLUMNS
from contacts_service.contacts.tables import Contact, by_id
from contacts_service.db.caller import limited_to, of_account
from contacts_service.db.database import database
from contacts_service.db.prepared import Row, columns_of, prepared
from contacts_service.messages.tables import ALL_COLUMNS, HISTORY_ORDER, EarlyStatus, Message
from schemas.constants import MESSAGE_STATUSES


def insert_message(values: Row, status_key: str | None, changes: Row, now: datetime, *, contact_id: str) -> Any:
    """Insert a message, and change and return its contact; None if the account has its wa_message_id already.

    ``has_early_status`` says whether a status of this key came before.
    """
    if database.kind == "postgresql":  # SQLite can't do both in one statement.
        return _insert_and_update(values, status_key, contact_id, changes, now)
    early: Row | None = _insert(values, status_key)
    return early and {**update_contact(contact_id, None, None, changes, now), **early}


def _insert_query(values: Row, status_key: Any) -> Any:
    early = fn.EXISTS(EarlyStatus.select(SQL("1")).where(EarlyStatus.key == status_key)).alias("has_early_status")
    return Message.insert(columns_of(Message, values)).on_conflict("nothing").returning(early)


_insert = prepared(_insert_query, one=True)


@prepared(one=True)
def _insert_and_update(values: Row, status_key: Any, contact_id: Any, changes: Row, now: Any) -> Any:
    recorded = CTE("recorded", _insert_query(values, status_key))
    update = update_contact.__wrapped__(contact_id, None, None, changes, now)
    early = recorded.c.has_early_status.alias("has_early_status")
    return update.with_cte(recorded).from_(recorded).returning(*CONTACT_COLUMNS, early)


@prepared(one=True)
def get_message(message_id: Any, allowed_accounts: Any) -> Any:
    return _with_contact_id().where(limited_to(Message.id == message_id, Message.account_id, allowed_accounts))


@prepared(one=True)
def get_message_by_wa_id(account_id: Any, wa_message_id: Any) -> Any:
    return _with_contact_id().where(_by_wa_id(account_id, wa_message_id))


@prepared(one=True)
def lock_wa_id(account_id: Any, wa_message_id: Any, key: Any) -> Any:
    """Hold this key's lock until the transaction ends, and read the message as get_message_by_wa_id, or a row of None.

    A message that was recorded while this waited for the lock is not seen.
    """
    if database.kind == "sqlite":  # The transaction has the lock of the whole database.
        return _with_contact_id().where(_by_wa_id(account_id, wa_message_id))
    lock = fn.pg_advisory_xact_lock(fn.hashtextextended(key, 0)).alias("lock")
    held = Select(columns=[lock]).alias("held")
    found = Join(held, Message, JOIN.LEFT_OUTER, _by_wa_id(account_id, wa_message_id))
    found = Join(found, Contact, JOIN.LEFT_OUTER, Message.contact == Contact.pk)
    return Select([found], [*ALL_COLUMNS, Contact.id.alias("contact_id")]).bind(database.obj)


@prepared(one=True)
def position_of(contact_id: Any, allowed_accounts: Any, message_id: Any) -> Any:
    """Timestamp and key of a contact's message, which are its position in the history."""
    message = (Message.id == message_id) & (Message.contact == _contact_pk(contact_id, allowed_accounts))
    return Message.select(*HISTORY_ORDER).where(message)


@prepared(one=True)
def get_newest(contact_pk: Any, directions: list[Any], ignored_types: list[Any]) -> Any:
    """Read timestamp, key, type and content of a contact's newest message that is not of the ignored types."""
    columns = (Message.timestamp, Message.key, Message.type, Message.content)
    counted = Message.direction.in_(directions) & Message.type.not_in(ignored_types)
    newest_first = (column.desc() for column in HISTORY_ORDER)
    return Message.select(*columns).where(Message.contact == contact_pk, counted).order_by(*newest_first).limit(1)


@prepared
def list_before(contact_id: Any, allowed_accounts: Any, limit: Any, before: Row | None) -> Any:
    """Read the newest messages of a contact before a position, newest first."""
    newest_first = (column.desc() for column in HISTORY_ORDER)
    return _between(contact_id, allowed_accounts, before, None).order_by(*newest_first).limit(limit)


@prepared
def list_after(contact_id: Any, allowed_accounts: Any, limit: Any, before: Row | None, after: Row) -> Any:
    """Read the oldest messages of a contact after a position and before another, oldest first."""
    return _between(contact_id, allowed_accounts, before, after).order_by(*HISTORY_ORDER).limit(limit)


@prepared(one=True)
def advance_status(message_id: Any, allowed_accounts: Any, changes: Row, lower: Any) -> Any:
    """Set a message's status if its own is lower, or the same with a later time. Returns None if it isn't."""
    return _advance(limited_to(Message.id == message_id, Message.account_id, allowed_accounts), changes, lower)


@prepared(one=True)
def advance_status_by_wa_id(account_id: Any, wa_message_id: Any, changes: Row, lower: Any) -> Any:
    """Do the same for the message that has this wa_message_id in the account."""
    return _advance(_by_wa_id(account_id, wa_message_id), changes, lower)


def lower_statuses(status: str) -> list[str]:
    return list(MESSAGE_STATUSES[: MESSAGE_STATUSES.index(status)])


def keep_early_status(key: str, values: Row) -> None:
    """Keep a status for a message that may come, unless a higher one is kept already."""
    EarlyStatus.insert({"key": key, **values}).on_conflict(
        conflict_target=[EarlyStatus.key],
        preserve=[EarlyStatus.status, EarlyStatus.status_at, EarlyStatus.error],
        where=_is_lower(EarlyStatus, values, lower_statuses(values["status"])),
    ).execute()


@prepared(one=True)
def take_early_status(key: Any) -> Any:
    columns = (EarlyStatus.status, EarlyStatus.status_at, EarlyStatus.error)
    return EarlyStatus.delete().where(EarlyStatus.key == key).returning(*columns)


def _contact_pk(contact_id: Any, allowed_accounts: Any) -> Any:
    return Contact.select(Contact.pk).where(by_id(contact_id, allowed_accounts))


def _between(contact_id: Any, allowed_accounts: Any, before: Row | None, after: Row | None) -> Any:
    query = Message.select(*ALL_COLUMNS).where(Message.contact == _contact_pk(contact_id, allowed_accounts))
    if before is not None:
        query = query.where(Tuple(*HISTORY_ORDER) < _position(before))
    if after is not None:
        query = query.where(Tuple(*HISTORY_ORDER) > _position(after))
    return query


def _position(row: Row) -> Any:
    return Tuple(row["timestamp"].of(Message.timestamp), row["key"])


def _with_contact_id() -> Any:
    return Message.select(*ALL_COLUMNS, Contact.id.alias("contact_id")).join(Contact)


def _by_wa_id(account_id: Any, wa_message_id: Any) -> Any:
    return of_account(Message.account_id, account_id) & (Message.wa_message_id == wa_message_id)


def _advance(message: Any, changes: Row, lower: Any) -> Any:
    update = Message.update(columns_of(Message, changes))
    return update.where(message, _is_lower(Message, changes, lower)).returning(Message.pk)


def _is_lower(model: Any, new: Row, lower: Any) -> Any:
    """Condition: the status of a row is lower than the new one, or the same with a later time."""
    same_but_later = (model.status == new["status"]) & (model.status_at > new["status_at"])
    return model.status.is_null() | model.status.in_(lower) | same_but_later
