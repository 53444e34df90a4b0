"""A message of the conversation with a contact. The service records messages; others send them."""

from typing import Any

from marshmallow import fields

from schemas.constants import MESSAGE_DIRECTIONS, MESSAGE_STATUSES, MESSAGE_TYPES
from schemas.contacts import Contact
from schemas.envelope import Answer, RequestSchema, items_per_page
from schemas.examples import ACCOUNT_ID, CONTACT_ID, MESSAGE_ID, WA_MESSAGE_ID
from schemas.fields import Choice, JsonObject, StrictBoolean, Text, UtcDateTime, Uuid, doc
from schemas.identity import ContactIdentity, Resolution, on_conflict_field

MAX_CONTENT_BYTES = 64 * 1024


def _wa_message_id(**kwargs: Any) -> Text:
    what = "WhatsApp's id of the message; an account has it once."
    return Text(max_length=255, min_length=1, metadata=doc(what, WA_MESSAGE_ID), **kwargs)


def _account_id() -> Uuid:
    return Uuid(allow_none=True, metadata=doc("The WhatsApp account.", ACCOUNT_ID))


class MessageCreate(RequestSchema):
    """One message to record."""

    EXAMPLE: dict[str, Any] = {
        "wa_message_id": WA_MESSAGE_ID,
        "direction": "incoming",
        "type": "text",
        "content": {"body": "Where is my order?"},
        "timestamp": "2024-01-01T12:00:00Z",
    }
    wa_message_id = _wa_message_id()
    direction = Choice("MessageDirection", MESSAGE_DIRECTIONS, required=True)
    type = Choice("MessageType", MESSAGE_TYPES, required=True)
    content = JsonObject(
        required=True,
        max_bytes=MAX_CONTENT_BYTES,
        metadata=doc(
            "Kept as it came: what WhatsApp's webhook holds under the name of the type.", {"body": "Where is my order?"}
        ),
    )
    status = Choice(
        "MessageStatus",
        MESSAGE_STATUSES,
        metadata=doc("By default pending for an outgoing message, null for an incoming one."),
    )
    timestamp = UtcDateTime(metadata=doc("When it was written; by default now.", "2024-01-01T12:00:00Z"))
    history = StrictBoolean(metadata=doc("Of an old conversation that WhatsApp hands over: it is read.", False))


class MessageReceive(MessageCreate):
    """One message to record, and who its contact is."""

    EXAMPLE = {"account_id": ACCOUNT_ID, "contact": ContactIdentity.EXAMPLE, **MessageCreate.EXAMPLE}
    account_id = _account_id()
    contact = fields.Nested(ContactIdentity, required=True)
    on_conflict = on_conflict_field()


class StatusPut(RequestSchema):
    """What became of a message."""

    EXAMPLE: dict[str, Any] = {"status": "delivered", "timestamp": "2024-01-01T12:00:05Z"}
    status = Choice("MessageStatus", MESSAGE_STATUSES, required=True)
    timestamp = UtcDateTime(metadata=doc("When; by default now.", "2024-01-01T12:00:05Z"))
    error = JsonObject(max_bytes=MAX_CONTENT_BYTES, metadata=doc("Why it failed, as WhatsApp says.", {"code": 131026}))


class StatusByWaIdPut(StatusPut):
    """What became of a message, for a caller that knows only WhatsApp's id."""

    EXAMPLE = {"account_id": ACCOUNT_ID, "wa_message_id": WA_MESSAGE_ID, **StatusPut.EXAMPLE}
    account_id = _account_id()
    wa_message_id = _wa_message_id(required=True)
    contact = fields.Nested(
        ContactIdentity, metadata=doc("What WhatsApp says of the recipient, whose identifiers are learned.")
    )
    on_conflict = on_conflict_field()


class MessageListQuery(RequestSchema):
    limit = items_per_page(50)
    before = Uuid(metadata=doc("Only messages older than this one.", MESSAGE_ID))
    after = Uuid(metadata=doc("Only messages newer than this one.", MESSAGE_ID))


class Message(Answer):
    """A message as it was recorded."""

    EXAMPLE: dict[str, Any] = {
        "id": MESSAGE_ID,
        "contact_id": CONTACT_ID,
        **MessageCreate.EXAMPLE,
        "history": False,
        "status": None,
        "status_at": None,
        "error": None,
        "created_at": "2024-01-01T12:00:01Z",
    }
    id = fields.UUID()
    contact_id = fields.UUID()
    wa_message_id = fields.String(allow_none=True)
    direction = Choice("MessageDirection", MESSAGE_DIRECTIONS)
    type = Choice("MessageType", MESSAGE_TYPES)
    content = fields.Dict(keys=fields.String())
    history = fields.Boolean(metadata=doc("Of an old conversation."))
    status = Choice("MessageStatus", MESSAGE_STATUSES, allow_none=True)
    status_at = fields.AwareDateTime(allow_none=True, metadata=doc("When it got its status."))
    error = fields.Dict(allow_none=True, keys=fields.String())
    timestamp = fields.AwareDateTime(metadata=doc("When it was written."))
    created_at = fields.AwareDateTime(metadata=doc("When it was recorded."))


class ReceivedMessage(Message, Resolution):
    """A message with its contact, and how that was found."""

    EXAMPLE = {**Message.EXAMPLE, "contact": Contact.EXAMPLE, **Resolution.EXAMPLE}
    contact = fields.Nested(Contact)


class MessageList(Answer):
    """A part of the conversation, oldest message first."""

    EXAMPLE = {"items": [Message.EXAMPLE], "has_more": False}
    items = fields.List(fields.Nested(Message))
    has_more = fields.Boolean(metadata=doc("Whether there are more: newer ones with after, else older ones."))
