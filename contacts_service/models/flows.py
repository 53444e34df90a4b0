"""The table of flows and the verbs on it. The address of a flow is its id together with its account, or none."""

from datetime import datetime
from typing import Any

from peewee import SQL, BigAutoField, IntegerField, TextField

from contacts_service.models.accounts import Accounts, of_account, of_accounts
from contacts_service.models.database import Table
from contacts_service.models.fields import IdField, JSONTextField, TimeField


class Flow(Table):
    pk = BigAutoField()
    # Callers choose ids, so two accounts may have the same one.
    id = IdField()
    account_id = IdField(null=True)
    name = TextField()
    panel_config = JSONTextField()
    created_at = TimeField()
    updated_at = TimeField()
    version = IntegerField()


CREATED_ORDER = (Flow.created_at.desc(), Flow.pk.desc())
_with_account, _without_account = Flow.account_id.is_null(False), Flow.account_id.is_null()
for _index in (
    Flow.index(Flow.id, Flow.account_id, unique=True, name="flow_id_account").where(_with_account),
    Flow.index(Flow.id, unique=True, name="flow_id").where(_without_account),
    Flow.index(*CREATED_ORDER, name="flow_created"),
    Flow.index(Flow.account_id, *CREATED_ORDER, name="flow_account_created"),
):
    Flow.add_index(_index)

WHOLE = (Flow.id, Flow.account_id, Flow.name, Flow.panel_config, Flow.created_at, Flow.updated_at, Flow.version)
Versions = list[tuple[datetime, int]]
"""Versions of a flow: a flow that was deleted and put again begins with another time of creation."""


def insert_flow(values: dict[str, Any]) -> dict[str, Any] | None:
    """Store a flow and return it; None when the account has one of this id already."""
    stored = Flow.insert({**values, "version": 1}).on_conflict("nothing").returning(*WHOLE).dicts().execute()
    return next(iter(stored), None)


def update_flow(
    flow_id: str, account_id: str | None, changes: dict[str, Any], *, expected: Versions | None
) -> dict[str, Any] | None:
    """Change a flow and return it; None when there is none, or none of the expected versions."""
    meant = _expected(_named(flow_id, account_id), expected)
    query = Flow.update({**changes, "version": Flow.version + 1}).where(meant).returning(*WHOLE)
    return next(iter(query.dicts().execute()), None)


def get_flow(flow_id: str, account_id: str | None) -> dict[str, Any] | None:
    return next(iter(Flow.select(*WHOLE).where(_named(flow_id, account_id)).dicts()), None)


def list_flows(*, limit: int, offset: int, accounts: Accounts, **equal: str | None) -> tuple[list[dict[str, Any]], int]:
    """Read one page, newest first, and count all; ``equal`` may hold ``account_id``, None for those without."""
    query = Flow.select()
    if accounts is not None:
        query = query.where(of_accounts(Flow.account_id, accounts))
    if "account_id" in equal:
        query = query.where(of_account(Flow.account_id, equal["account_id"]))
    page = query.select(*WHOLE).order_by(*CREATED_ORDER).limit(limit).offset(offset)
    return list(page.dicts()), query.select(SQL("COUNT(*)")).scalar()


def delete_flow(flow_id: str, account_id: str | None, *, expected: Versions | None) -> bool:
    """Delete a flow; its sessions stay. False when there is none, or none of the expected versions."""
    return bool(Flow.delete().where(_expected(_named(flow_id, account_id), expected)).execute())


def _named(flow_id: str, account_id: str | None) -> Any:
    return (Flow.id == flow_id) & of_account(Flow.account_id, account_id)


def _expected(meant: Any, versions: Versions | None) -> Any:
    if versions is None:
        return meant
    matching = SQL("1 = 0")
    for created_at, version in versions:
        matching |= (Flow.created_at == created_at) & (Flow.version == version)
    return meant & matching
