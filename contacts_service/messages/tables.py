"""The tables of messages."""

from peewee import BigAutoField, BooleanField, ForeignKeyField, TextField

from contacts_service.contacts.tables import Contact
from contacts_service.db.database import BaseModel
from contacts_service.db.fields import IdField, JSONTextField, OrderedTextField, UtcDateTimeField


class Message(BaseModel):
    pk = BigAutoField()
    id = IdField()
    contact = ForeignKeyField(Contact)
    account_id = IdField(null=True)  # The contact's, because WhatsApp's ids are unique within an account.
    wa_message_id = TextField(null=True)
    direction = TextField()
    type = TextField()
    content = JSONTextField()
    history = BooleanField()  # Of an old conversation, which counts as read.
    status = TextField(null=True)
    status_at = UtcDateTimeField(null=True)
    error = JSONTextField(null=True)
    timestamp = UtcDateTimeField()
    # WhatsApp's times are whole seconds. Messages of the same time are ordered by this, whenever they were recorded.
    key = OrderedTextField()
    created_at = UtcDateTimeField()
    merged_from = IdField(null=True)  # See ContactMerge.


class EarlyStatus(BaseModel):
    """A status that WhatsApp reported before the message was recorded."""

    # Digest of the account and WhatsApp's id of the message, in which the recipient's number is encoded.
    key = TextField(primary_key=True)
    status = TextField()
    status_at = UtcDateTimeField()
    error = JSONTextField(null=True)
    created_at = UtcDateTimeField()


HISTORY_ORDER = (Message.timestamp, Message.key)
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
