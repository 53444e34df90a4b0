"""A flow: a chatbot's script, and how the agent desktop shows the variables that it collects."""

from marshmallow import Schema, fields, validate

from schemas.envelope import Answer, page_of
from schemas.fields import BoundedList, Flag, Id, IdOrNone, Integer, QueryInteger, Text

ACCOUNT_ID = "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a10"
FLOW_ID = "5d1a3c77-9f0e-4a6b-8a55-0e1f4f6a2b90"
DISPLAY_TYPES = ["text", "badge", "tag"]
COLORS = ["default", "success", "warning", "error", "info"]
PANEL_CONFIG_EXAMPLE = {
    "sections": [
        {
            "id": "customer",
            "label": "Customer Info",
            "columns": 1,
            "collapsible": True,
            "default_collapsed": False,
            "order": 1,
            "fields": [
                {"key": "customer_name", "label": "Name", "order": 1},
                {"key": "customer_email", "label": "Email", "order": 2},
            ],
        },
        {
            "id": "order",
            "label": "Order Details",
            "columns": 2,
            "collapsible": True,
            "default_collapsed": True,
            "order": 2,
            "fields": [
                {"key": "order_id", "label": "Order ID", "order": 1},
                {"key": "order_status", "label": "Status", "order": 2, "display_type": "badge", "color": "info"},
            ],
        },
    ]
}


class PanelField(Schema):
    """Where and how the panel shows one collected variable."""

    key = Text(required=True, longest=255, shortest=1, metadata={"description": "The variable's name."})
    label = Text(required=True, longest=255)
    order = Integer(least=0, most=10_000, load_default=0)
    display_type = fields.String(validate=validate.OneOf(DISPLAY_TYPES))
    color = fields.String(validate=validate.OneOf(COLORS))


class PanelSection(Schema):
    """A box of the panel."""

    id = Text(required=True, longest=255, shortest=1)
    label = Text(required=True, longest=255)
    columns = Integer(least=1, most=12, load_default=1)
    collapsible = Flag(load_default=False)
    default_collapsed = Flag(load_default=False)
    order = Integer(least=0, most=10_000, load_default=0)
    fields_ = BoundedList(fields.Nested(PanelField), most=100, data_key="fields", attribute="fields", load_default=list)


class PanelConfig(Schema):
    """How the agent desktop shows a session's variables."""

    EXAMPLE = PANEL_CONFIG_EXAMPLE
    sections = BoundedList(fields.Nested(PanelSection), most=50, required=True)


class FlowPut(Schema):
    EXAMPLE = {"name": "Customer Support Flow", "panel_config": PANEL_CONFIG_EXAMPLE}
    name = Text(required=True, longest=255, shortest=1)
    panel_config = fields.Nested(PanelConfig, required=True)
    account_id = Id(
        allow_none=True,
        metadata={"description": "The WhatsApp account it belongs to; null for all of them.", "example": ACCOUNT_ID},
    )


class Flow(Answer):
    """A flow as it was put last."""

    EXAMPLE = {
        "id": FLOW_ID,
        "account_id": None,
        "name": "Customer Support Flow",
        "panel_config": PANEL_CONFIG_EXAMPLE,
        "created_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-01-01T00:00:00Z",
        "version": 1,
    }
    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True, allow_none=True)
    name = fields.String(required=True)
    panel_config = fields.Nested(PanelConfig, required=True)
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)
    version = fields.Integer(strict=True, required=True, metadata={"description": "Rises with every change."})


class FlowQuery(Schema):
    account_id = Id(metadata={"description": "The account of the flow; without, none.", "example": ACCOUNT_ID})


class FlowListQuery(Schema):
    page = QueryInteger(least=1, most=10**12, load_default=1, metadata={"description": "Page number.", "example": 1})
    limit = QueryInteger(least=1, most=100, load_default=20, metadata={"description": "Items per page.", "example": 20})
    account_id = IdOrNone(
        metadata={"description": "Only the flows of this account; none: of no account.", "example": "none"}
    )


FlowPage = page_of(Flow, "FlowPage")
