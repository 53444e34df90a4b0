"""Events: who changed what of a contact."""

from marshmallow import fields

from schemas.constants import EVENT_KINDS
from schemas.envelope import Answer, RequestSchema, items_per_page
from schemas.examples import EVENT_ID
from schemas.fields import Choice, Uuid, doc


class EventsQuery(RequestSchema):
    limit = items_per_page(50)
    before = Uuid(metadata=doc("Only events older than this one.", EVENT_ID))


class Event(Answer):
    """One change of a contact."""

    EXAMPLE = {
        "id": EVENT_ID,
        "at": "2024-01-01T12:00:00Z",
        "kind": "assigned",
        "fields": ["assigned_to"],
        "actor": "agent desktop",
        "on_behalf_of": "jane@example.com",
        "version": 3,
    }
    id = fields.UUID()
    at = fields.AwareDateTime()
    kind = Choice("EventKind", EVENT_KINDS)
    fields_ = fields.List(
        fields.String(), data_key="fields", metadata=doc("Names of the fields that changed, never their values.")
    )
    actor = fields.String(
        allow_none=True, metadata=doc("The name of the key; null for a caller without key and for commands.")
    )
    on_behalf_of = fields.String(allow_none=True, metadata=doc("The header X-Actor of the request."))
    version = fields.Integer(strict=True, metadata=doc("The contact's version since the change."))


class EventList(Answer):
    """Events of a contact, newest first."""

    EXAMPLE = {"items": [Event.EXAMPLE], "has_more": False}
    items = fields.List(fields.Nested(Event))
    has_more = fields.Boolean(metadata=doc("Whether there are older ones."))
