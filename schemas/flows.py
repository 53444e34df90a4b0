"""A flow: a chatbot's script, and how the agent desktop shows the variables that it collects."""

from marshmallow import Schema, fields

from schemas.envelope import Answer, Cursor, PageQuery, RequestSchema, page_of
from schemas.examples import ACCOUNT_ID, FLOW_ID
from schemas.fields import BoundedList, Choice, Integer, StrictBoolean, Text, Uuid, UuidOrNone, doc

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

    key = Text(required=True, max_length=255, min_length=1, metadata=doc("The variable's name."))
    label = Text(required=True, max_length=255)
    order = Integer(min_value=0, max_value=10_000, load_default=0)
    display_type = Choice("PanelDisplayType", DISPLAY_TYPES)
    color = Choice("PanelColor", COLORS)


class PanelSection(Schema):
    """A box of the panel."""

    id = Text(required=True, max_length=255, min_length=1)
    label = Text(required=True, max_length=255)
    columns = Integer(min_value=1, max_value=12, load_default=1)
    collapsible = StrictBoolean(load_default=False)
    default_collapsed = StrictBoolean(load_default=False)
    order = Integer(min_value=0, max_value=10_000, load_default=0)
    fields_ = BoundedList(
        fields.Nested(PanelField), max_items=100, data_key="fields", attribute="fields", load_default=list
    )


class PanelConfig(Schema):
    """How the agent desktop shows a session's variables."""

    EXAMPLE = PANEL_CONFIG_EXAMPLE
    sections = BoundedList(fields.Nested(PanelSection), max_items=50, required=True)


class FlowPut(Schema):
    EXAMPLE = {"name": "Customer Support Flow", "panel_config": PANEL_CONFIG_EXAMPLE}
    name = Text(required=True, max_length=255, min_length=1)
    panel_config = fields.Nested(PanelConfig, required=True)
    account_id = Uuid(
        allow_none=True, metadata=doc("The WhatsApp account it belongs to; null for all of them.", ACCOUNT_ID)
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
    id = fields.UUID()
    account_id = fields.UUID(allow_none=True)
    name = fields.String()
    panel_config = fields.Nested(PanelConfig)
    created_at = fields.AwareDateTime()
    updated_at = fields.AwareDateTime()
    version = fields.Integer(strict=True, metadata=doc("Rises with every change."))


class FlowQuery(RequestSchema):
    account_id = Uuid(metadata=doc("The account of the flow; without, none.", ACCOUNT_ID))


class FlowListQuery(PageQuery):
    cursor = Cursor("The next_cursor of an earlier page.", "1704067200000000-17")
    account_id = UuidOrNone(metadata=doc("Only the flows of this account; none: of no account.", "none"))


FlowPage = page_of(Flow, "FlowPage")
