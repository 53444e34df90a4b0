"""The tables of messages and the verbs on them."""

from datetime import datetime
from typing import Any

from peewee import SQL, BigAutoField, Check, ForeignKeyField, NodeList, TextField

from contacts_service.models.accounts import Accounts, of_account, within
from contacts_service.models.contacts import Contact, named
from contacts_service.models.database import Table
from contacts_service.models.fields import IdField, JSONTextField, OrderedTextField, TimeField

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


def insert_message(values: dict[str, Any]) -> bool:
    """Store a message; False when its account has one of this wa_message_id already."""
    stored = Message.insert(values).on_conflict("nothing").returning(Message.pk).tuples().execute()
    return next(iter(stored), None) is not None


def get_message(message_id: str, accounts: Accounts) -> dict[str, Any] | None:
    return _one(within(Message.id == message_id, Message.account_id, accounts))


def get_message_by_wa_id(account_id: str | None, wa_message_id: str) -> dict[str, Any] | None:
    return _one(_of_wa_id(account_id, wa_message_id))


def list_messages(
    contact_id: str, *, accounts: Accounts, limit: int, before: str | None, after: str | None
) -> list[dict[str, Any]] | None:
    """Read messages of a contact, at most ``limit``, oldest first; None when a message to read from doesn't exist.

    Those right after a message, or right before one, or the newest.
    """
    contact_pk = Contact.select(Contact.pk).where(named(contact_id, accounts))
    query = Message.select(*WHOLE).where(Message.contact == contact_pk)
    for message_id, comparison in ((before, "<"), (after, ">")):
        if message_id:
            found = Message.select(*HISTORY_ORDER).where(Message.id == message_id, Message.contact == contact_pk)
            place = next(iter(found.tuples()), None)
            if place is None:
                return None
            there = (Message.timestamp.db_value(place[0]), place[1])
            query = query.where(NodeList((_row(*HISTORY_ORDER), SQL(comparison), _row(*there))))
    if after:
        return list(query.order_by(*HISTORY_ORDER).limit(limit).dicts())
    return list(query.order_by(*(column.desc() for column in HISTORY_ORDER)).limit(limit).dicts())[::-1]


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
    if message_id:
        meant = within(Message.id == message_id, Message.account_id, accounts)
    else:
        meant = _of_wa_id(wa["account_id"], wa["wa_message_id"])
    changes = {"status": status, "status_at": at, "error": error}
    return bool(Message.update(changes).where(meant, _is_behind(Message, status, at)).execute())


def keep_early_status(key: str, values: dict[str, Any]) -> None:
    """Keep a status for a message that may come, unless a higher one is kept already."""
    behind = _is_behind(EarlyStatus, values["status"], values["status_at"])
    EarlyStatus.insert({"key": key, **values}).on_conflict(
        conflict_target=[EarlyStatus.key],
        preserve=[EarlyStatus.status, EarlyStatus.status_at, EarlyStatus.error],
        where=behind,
    ).execute()


def take_early_status(key: str) -> dict[str, Any] | None:
    """Remove and return the status that came before its message, if any did."""
    columns = (EarlyStatus.status, EarlyStatus.status_at, EarlyStatus.error)
    taken = EarlyStatus.delete().where(EarlyStatus.key == key).returning(*columns).dicts().execute()
    return next(iter(taken), None)


def forget_early_statuses(before: datetime) -> None:
    EarlyStatus.delete().where(EarlyStatus.created_at < before).execute()


def _row(*values: Any) -> NodeList:
    return NodeList(values, glue=", ", parens=True)


def _one(condition: Any) -> dict[str, Any] | None:
    found = Message.select(*WHOLE, Contact.id.alias("contact_id")).join(Contact).where(condition)
    return next(iter(found.dicts()), None)


def _of_wa_id(account_id: str | None, wa_message_id: str | None) -> Any:
    return of_account(Message.account_id, account_id) & (Message.wa_message_id == wa_message_id)


def _is_behind(table: Any, status: str, at: datetime) -> Any:
    lower = STATUSES[: STATUSES.index(status)]
    same_but_later = (table.status == status) & (table.status_at > at)
    return table.status.is_null() | table.status.in_(lower) | same_but_later
