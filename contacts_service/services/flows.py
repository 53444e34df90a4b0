"""Use cases of flows. A flow is a dict; its times are aware datetimes, its panel configuration is JSONText."""

from datetime import UTC, datetime
from typing import Any

from contacts_service.errors import NotFound
from contacts_service.models import flows
from contacts_service.models.database import reading, writing
from contacts_service.services.paging import Page, page_of


@writing()
def put_flow(flow_id: str, *, name: str, panel_config: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Store or replace a flow. Returns it and whether it is new."""
    now = datetime.now(UTC)
    stored = flows.put_flow(
        {"id": flow_id, "name": name, "panel_config": panel_config, "created_at": now, "updated_at": now}
    )
    return stored, stored["created_at"] == now


@reading()
def get_flow(flow_id: str) -> dict[str, Any]:
    """Raises NotFound."""
    flow = flows.get_flow(flow_id)
    if flow is None:
        raise NotFound("flow", flow_id)
    return flow


@reading()
def list_flows(*, page: int, limit: int) -> Page:
    """Read one page of flows, newest first."""
    items, total = flows.list_flows(limit=limit, offset=(page - 1) * limit)
    return page_of(items, total=total, page=page, limit=limit)


@writing()
def delete_flow(flow_id: str) -> None:
    """Delete a flow; its sessions stay. Raises NotFound."""
    if not flows.delete_flow(flow_id):
        raise NotFound("flow", flow_id)
