"""The tables of messages and the verbs on them."""

from datetime import datetime
from typing import Any

from peewee import SQL, BigAutoField, Check, ForeignKeyField, NodeList, TextField

from contacts_service.models.accounts import Accounts, of_account, within
from contacts_service.models.contacts import Contact, named
from contacts_service.models.database import Table
from contacts_service.models.fields import IdField, JSONTextField, OrderedTextField, TimeField
from contacts_service.models.prepared import Row, columns_of, first, prepared

# A status never moves back, so this order decides: the final one is the same in whatever order they arrive. WhatsApp
# may report a failure after it has reported a delivery, but not after a read.
STATUSES = ("pending", "sent", "delivered", "failed", "read")
_IN_STATUSES = "status IN ('pending', 'sent', 'delivered', 'failed', 'read')"


class Message(Table):
    pk = BigAutoField()
    id = IdField(unique=True)
    contact = ForeignKeyField(Contact, on_delete="CASCADE", index=False)
    account_id = IdField(null=True)  # The contact's, because WhatsApp's ids are unique within an account.
    wa_message_id = TextField(null=True)
    direction = TextField(constraints=[Check("direction IN ('incoming', 'outgoing')")])
    type = TextField()
    content = JSONTextField()
    status = TextField(null=True, constraints=[Check(_IN_STATUSES)])
    status_at = TimeField(null=True)
    error = JSONTextField(null=True)
    timestamp = TimeField()
    # WhatsApp's times are whole seconds. Among messages of one moment this decides, whenever they were recorded.
    key = OrderedTextField()
    created_at = TimeField()


class EarlyStatus(Table):
    """A status that WhatsApp reported before the message was recorded."""

    key = TextField(primary_key=True)  # Account and WhatsApp's id of the message.
    status = TextField(constraints=[Check(_IN_STATUSES)])
    status_at = TimeField()
    error = JSONTextField(null=True)
    created_at = TimeField()


EarlyStatus.add_index(EarlyStatus.index(EarlyStatus.created_at, name="early_status_created"))

HISTORY_ORDER = (Message.timestamp, Message.key)
_with_account, _without_account = Message.account_id.is_null(False), Message.account_id.is_null()
for _index in (
    Message.index(Message.contact, *HISTORY_ORDER, name="message_contact_history"),
    Message.index(Message.account_id, Message.wa_message_id, unique=True, name="message_account_wa").where(
        _with_account
    ),
    Message.index(Message.wa_message_id, unique=True, name="message_wa").where(_without_account),
):
    Message.add_index(_index)

WHOLE = (
    Message.id,
    Message.wa_message_id,
    Message.direction,
    Message.type,
    Message.content,
    Message.status,
    Message.status_at,
    Message.error,
    Message.timestamp,
    Message.created_at,
)


def insert_message(values: Row) -> Row | None:
    """Store a message and return it without its contact's id; None when its account has one of this wa_message_id."""
    return first(_insert(values))


@prepared
def _insert(values: Row) -> Any:
    return Message.insert(columns_of(Message, values)).on_conflict("nothing").returning(*WHOLE)


def get_message(message_id: str, accounts: Accounts) -> Row | None:
    return first(_get(message_id, accounts))


@prepared
def _get(message_id: Any, accounts: Any) -> Any:
    return _with_contact().where(within(Message.id == message_id, Message.account_id, accounts))


def get_message_by_wa_id(account_id: str | None, wa_message_id: str) -> Row | None:
    return first(_get_by_wa_id(account_id, wa_message_id))


@prepared
def _get_by_wa_id(account_id: Any, wa_message_id: Any) -> Any:
    return _with_contact().where(_of_wa_id(account_id, wa_message_id))


def list_messages(
    contact_id: str, *, accounts: Accounts, limit: int, before: str | None, after: str | None
) -> list[Row] | None:
    """Read messages of a contact, at most ``limit``, oldest first; None when a message to read from doesn't exist.

    Those right after a message, or right before one, or the newest.
    """
    places = [None if message is None else first(_place(contact_id, accounts, message)) for message in (before, after)]
    if (before and not places[0]) or (after and not places[1]):
        return None
    older, newer = ([place["timestamp"], place["key"]] if place else None for place in places)
    if newer:
        return _page_after(contact_id, accounts, limit, older, newer)
    return _page_before(contact_id, accounts, limit, older)[::-1]


@prepared
def _place(contact_id: Any, accounts: Any, message_id: Any) -> Any:
    return Message.select(*HISTORY_ORDER).where(Message.id == message_id, Message.contact == _pk(contact_id, accounts))


@prepared
def _page_before(contact_id: Any, accounts: Any, limit: Any, older: Any) -> Any:
    backwards = (column.desc() for column in HISTORY_ORDER)
    return _between(contact_id, accounts, older, None).order_by(*backwards).limit(limit)


@prepared
def _page_after(contact_id: Any, accounts: Any, limit: Any, older: Any, newer: Any) -> Any:
    return _between(contact_id, accounts, older, newer).order_by(*HISTORY_ORDER).limit(limit)


def advance_status(
    *,
    status: str,
    at: datetime,
    error: dict[str, Any] | None,
    message_id: str | None = None,
    accounts: Accounts = None,
    **wa: str | None,
) -> bool:
    """Set the status of a message whose own is lower, or the same and of a later time. False when none is.

    The message is given by ``message_id``, if it is of ``accounts``, or by ``account_id`` and ``wa_message_id``.
    """
    changes = {"status": status, "status_at": at, "error": error}
    if message_id:
        return bool(_advance(message_id, accounts, changes, _lower(status)))
    return bool(_advance_by_wa_id(wa["account_id"], wa["wa_message_id"], changes, _lower(status)))


@prepared
def _advance(message_id: Any, accounts: Any, changes: Row, lower: Any) -> Any:
    meant = within(Message.id == message_id, Message.account_id, accounts)
    behind = _is_behind(Message, changes, lower)
    return Message.update(columns_of(Message, changes)).where(meant, behind).returning(Message.pk)


@prepared
def _advance_by_wa_id(account_id: Any, wa_message_id: Any, changes: Row, lower: Any) -> Any:
    meant, behind = _of_wa_id(account_id, wa_message_id), _is_behind(Message, changes, lower)
    return Message.update(columns_of(Message, changes)).where(meant, behind).returning(Message.pk)


def keep_early_status(key: str, values: Row) -> None:
    """Keep a status for a message that may come, unless a higher one is kept already."""
    behind = _is_behind(EarlyStatus, values, _lower(values["status"]))
    EarlyStatus.insert({"key": key, **values}).on_conflict(
        conflict_target=[EarlyStatus.key],
        preserve=[EarlyStatus.status, EarlyStatus.status_at, EarlyStatus.error],
        where=behind,
    ).execute()


def take_early_status(key: str) -> Row | None:
    """Remove and return the status that came before its message, if any did."""
    return first(_take_early_status(key))


@prepared
def _take_early_status(key: Any) -> Any:
    columns = (EarlyStatus.status, EarlyStatus.status_at, EarlyStatus.error)
    return EarlyStatus.delete().where(EarlyStatus.key == key).returning(*columns)


def forget_early_statuses(before: datetime) -> None:
    EarlyStatus.delete().where(EarlyStatus.created_at < before).execute()


def _pk(contact_id: Any, accounts: Any) -> Any:
    return Contact.select(Contact.pk).where(named(contact_id, accounts))


def _between(contact_id: Any, accounts: Any, older: Any, newer: Any) -> Any:
    """Make the query for a contact's messages older than one place and newer than another, each None for no limit."""
    query = Message.select(*WHOLE).where(Message.contact == _pk(contact_id, accounts))
    for place, comparison in ((older, "<"), (newer, ">")):
        if place:
            timestamp, key = place
            there = _row(timestamp.of(Message.timestamp), key)
            query = query.where(NodeList((_row(*HISTORY_ORDER), SQL(comparison), there)))
    return query


def _row(*values: Any) -> NodeList:
    return NodeList(values, glue=", ", parens=True)


def _with_contact() -> Any:
    return Message.select(*WHOLE, Contact.id.alias("contact_id")).join(Contact)


def _of_wa_id(account_id: Any, wa_message_id: Any) -> Any:
    return of_account(Message.account_id, account_id) & (Message.wa_message_id == wa_message_id)


def _lower(status: str) -> list[str]:
    return list(STATUSES[: STATUSES.index(status)])


def _is_behind(table: Any, new: Row, lower: Any) -> Any:
    same_but_later = (table.status == new["status"]) & (table.status_at > new["status_at"])
    return table.status.is_null() | table.status.in_(lower) | same_but_later
