"""The tables of messages."""

from peewee import BigAutoField, BooleanField, Check, ForeignKeyField, TextField

from contacts_service.contacts.tables import Contact
from contacts_service.db.database import BaseModel
from contacts_service.db.fields import IdField, JSONTextField, OrderedTextField, UtcDateTimeField
from schemas.constants import MESSAGE_DIRECTIONS, MESSAGE_STATUSES

_IN_STATUSES = Check(f"status IN {MESSAGE_STATUSES}")


class Message(BaseModel):
    pk = BigAutoField()
    id = IdField(unique=True)
    contact = ForeignKeyField(Contact, on_delete="CASCADE", index=False)
    account_id = IdField(null=True)  # The contact's, because WhatsApp's ids are unique within an account.
    wa_message_id = TextField(null=True)
    direction = TextField(constraints=[Check(f"direction IN {MESSAGE_DIRECTIONS}")])
    type = TextField()
    content = JSONTextField()
    history = BooleanField()  # Of an old conversation, which counts as read.
    status = TextField(null=True, constraints=[_IN_STATUSES])
    status_at = UtcDateTimeField(null=True)
    error = JSONTextField(null=True)
    timestamp = UtcDateTimeField()
    # WhatsApp's times are whole seconds. Messages of the same time are ordered by this, whenever they were recorded.
    key = OrderedTextField()
    created_at = UtcDateTimeField()


class EarlyStatus(BaseModel):
    """A status that WhatsApp reported before the message was recorded."""

    key = TextField(primary_key=True)  # Account and WhatsApp's id of the message.
    status = TextField(constraints=[_IN_STATUSES])
    status_at = UtcDateTimeField()
    error = JSONTextField(null=True)
    created_at = UtcDateTimeField()


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

ALL_COLUMNS = (
    Message.id,
    Message.wa_message_id,
    Message.direction,
    Message.type,
    Message.content,
    Message.history,
    Message.status,
    Message.status_at,
    Message.error,
    Message.timestamp,
    Message.created_at,
)
