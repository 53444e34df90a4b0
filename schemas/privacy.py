"""Everything that is kept of one person."""

from typing import Any

from marshmallow import fields

from schemas.contacts import Contact
from schemas.envelope import Answer
from schemas.events import Event
from schemas.fields import doc
from schemas.merging import Merge
from schemas.messages import Message
from schemas.sessions import Session


class Identifier(Answer):
    """An identifier that a contact has or had."""

    EXAMPLE: dict[str, Any] = {
        "kind": "phone_number",
        "value": "+1234567890",
        "current": True,
        "said_at": None,
        "first_seen_at": "2024-01-01T00:00:00Z",
        "last_seen_at": "2024-01-01T00:00:00Z",
    }
    kind = fields.String()
    value = fields.String()
    current = fields.Boolean()
    said_at = fields.AwareDateTime(allow_none=True, metadata=doc("When WhatsApp said so."))
    first_seen_at = fields.AwareDateTime()
    last_seen_at = fields.AwareDateTime()


class ExportedMerge(Merge):
    """A merge, with what is kept to undo it."""

    EXAMPLE = {**Merge.EXAMPLE, "snapshot": None}
    snapshot = fields.Dict(
        allow_none=True,
        keys=fields.String(),
        metadata=doc("The contact that ended, as it is stored; null when it is too late to undo it."),
    )


class PersonExport(Answer):
    """Everything that is kept of one person."""

    EXAMPLE = {
        "contact": Contact.EXAMPLE,
        "identifiers": [Identifier.EXAMPLE],
        "messages": [Message.EXAMPLE],
        "sessions": [],
        "events": [],
        "merges": [],
    }
    contact = fields.Nested(Contact)
    identifiers = fields.List(fields.Nested(Identifier))
    messages = fields.List(fields.Nested(Message))
    sessions = fields.List(fields.Nested(Session))
    events = fields.List(fields.Nested(Event))
    merges = fields.List(fields.Nested(ExportedMerge))
