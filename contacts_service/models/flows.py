"""The table of flows and the verbs on it."""

from typing import Any

from peewee import SQL, TextField

from contacts_service.models.database import Table
from contacts_service.models.fields import IdField, JSONTextField, TimeField


class Flow(Table):
    id = IdField(primary_key=True)
    name = TextField()
    panel_config = JSONTextField()
    created_at = TimeField()
    updated_at = TimeField()


CREATED_ORDER = (Flow.created_at.desc(), Flow.id)
Flow.add_index(Flow.index(*CREATED_ORDER, name="flow_created"))

WHOLE = (Flow.id, Flow.name, Flow.panel_config, Flow.created_at, Flow.updated_at)


def put_flow(values: dict[str, Any]) -> dict[str, Any]:
    """Store a flow, or replace all but its creation time, and return it."""
    stored = (
        Flow.insert(values)
        .on_conflict(conflict_target=[Flow.id], preserve=[Flow.name, Flow.panel_config, Flow.updated_at])
        .returning(*WHOLE)
        .dicts()
        .execute()
    )
    return next(iter(stored))


def get_flow(flow_id: str) -> dict[str, Any] | None:
    return next(iter(Flow.select(*WHOLE).where(Flow.id == flow_id).dicts()), None)


def list_flows(*, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Read one page, newest first, and count all."""
    page = Flow.select(*WHOLE).order_by(*CREATED_ORDER).limit(limit).offset(offset)
    return list(page.dicts()), Flow.select(SQL("COUNT(*)")).scalar()


def delete_flow(flow_id: str) -> bool:
    """Delete a flow; its sessions stay. False when there is none."""
    return bool(Flow.delete().where(Flow.id == flow_id).execute())
