"""A chatbot session: one run of a flow with one contact, and the variables that it collected."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from schemas.constants import SESSION_STATUSES
from schemas.envelope import Answer, RequestSchema, items_per_page
from schemas.examples import FLOW_ID, SESSION_ID
from schemas.fields import Choice, JsonObject, Uuid, doc
from schemas.flows import PANEL_CONFIG_EXAMPLE, Flow, PanelConfig

SESSION_DATA_EXAMPLE = {
    "customer_name": "John Doe",
    "customer_email": "john@example.com",
    "order_id": "ORD-12345",
    "order_status": "shipped",
}


class SessionPut(Schema):
    EXAMPLE = {"flow_id": FLOW_ID, "status": "active", "session_data": SESSION_DATA_EXAMPLE}
    session_id = Uuid(metadata=doc("The chatbot's own id of the session. Without it a new session starts.", SESSION_ID))
    flow_id = Uuid(allow_none=True, metadata=doc("The flow that collects; it need not be stored yet.", FLOW_ID))
    status = Choice("SessionStatus", SESSION_STATUSES)
    session_data = JsonObject(required=True, metadata=doc("All variables of the session."))


_HAS_SESSION_ID = {"properties": {"session_id": {"type": "string"}}, "required": ["session_id"]}


class SessionPatch(SessionPut):
    EXAMPLE = {"session_data": {"order_status": "delivered", "customer_email": None}}
    session_id = Uuid(metadata=doc("Without it the session that GET answers is meant.", SESSION_ID))
    session_data = JsonObject(metadata=doc("A JSON Merge Patch (RFC 7396) of the variables: null removes one."))

    class Meta:
        # For the OpenAPI document: at least one field beside session_id.
        json_schema = {"minProperties": 1, "if": _HAS_SESSION_ID, "then": {"minProperties": 2}}

    @validates_schema
    def _require_change(self, data: dict[str, Any], **_: Any) -> None:
        if not data.keys() - {"session_id"}:
            raise ValidationError("Send session_data, status or flow_id.")


class Session(Answer):
    """A session as the list of a contact's sessions shows it."""

    EXAMPLE = {
        "session_id": SESSION_ID,
        "flow_id": FLOW_ID,
        "flow_name": Flow.EXAMPLE["name"],
        "status": "active",
        "session_data": SESSION_DATA_EXAMPLE,
        "created_at": "2024-01-01T12:00:00Z",
        "updated_at": "2024-01-01T12:00:00Z",
    }
    session_id = fields.UUID()
    flow_id = fields.UUID(allow_none=True)
    flow_name = fields.String(allow_none=True, metadata=doc("Null when no flow of that id is stored."))
    status = Choice("SessionStatus", SESSION_STATUSES)
    session_data = fields.Dict(keys=fields.String())
    created_at = fields.AwareDateTime()
    updated_at = fields.AwareDateTime()


class SessionData(Session):
    """A session with the panel that shows it; all null or empty when the contact has none."""

    EXAMPLE = {**Session.EXAMPLE, "panel_config": PANEL_CONFIG_EXAMPLE}
    session_id = fields.UUID(allow_none=True)
    status = Choice("SessionStatus", SESSION_STATUSES, allow_none=True)
    panel_config = fields.Nested(PanelConfig)
    created_at = fields.AwareDateTime(allow_none=True)
    updated_at = fields.AwareDateTime(allow_none=True)


class SessionListQuery(RequestSchema):
    limit = items_per_page(20)
    before = Uuid(metadata=doc("Only sessions that began before this one.", SESSION_ID))


class SessionList(Answer):
    """Sessions of a contact, newest first."""

    EXAMPLE = {"items": [Session.EXAMPLE], "has_more": False}
    items = fields.List(fields.Nested(Session))
    has_more = fields.Boolean(metadata=doc("Whether there are older ones."))
