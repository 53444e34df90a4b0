"""Use cases of flows. A flow is a dict; its times are aware datetimes, its panel configuration is JSONText.

A flow is addressed by its id and its account, None for those that all accounts share. ``accounts`` limits a use case
to the flows of these accounts; ``expected`` are the versions that a flow may have for a write to happen, None for any.
"""

from datetime import UTC, datetime
from typing import Any

from contacts_service.errors import NotFound, Unavailable, VersionMismatch
from contacts_service.models import flows
from contacts_service.models.accounts import Accounts
from contacts_service.models.database import reading, writing
from contacts_service.models.flows import Versions
from contacts_service.services.access import require_account
from contacts_service.services.contact_steps import ATTEMPTS
from contacts_service.services.paging import Page, page_of


@writing()
def put_flow(  # noqa: PLR0913 - What a flow holds, and on which terms it is put.
    flow_id: str,
    *,
    accounts: Accounts,
    name: str,
    panel_config: dict[str, Any],
    account_id: str | None = None,
    expected: Versions | None = None,
    only_new: bool = False,
    only_existing: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Store or replace a flow. Returns it and whether it is new.

    With ``only_new`` none is replaced, with ``only_existing`` none created. Raises AccountForbidden, VersionMismatch.
    """
    require_account(accounts, account_id)
    may_create = expected is None and not only_existing
    for _ in range(ATTEMPTS):
        now = datetime.now(UTC)
        changes = {"name": name, "panel_config": panel_config, "updated_at": now}
        if not only_new and (stored := flows.update_flow(flow_id, account_id, changes, expected=expected)):
            return stored, False
        if may_create:
            new = {"id": flow_id, "account_id": account_id, "created_at": now, **changes}
            if stored := flows.insert_flow(new):
                return stored, True
        if only_new or not may_create:
            raise VersionMismatch(flows.get_flow(flow_id, account_id))
        # Somebody else stored it between the two queries.
    raise Unavailable


@reading()
def get_flow(flow_id: str, *, accounts: Accounts, account_id: str | None = None) -> dict[str, Any]:
    """Raises AccountForbidden, NotFound."""
    require_account(accounts, account_id)
    flow = flows.get_flow(flow_id, account_id)
    if flow is None:
        raise NotFound("flow", flow_id)
    return flow


@reading()
def list_flows(*, accounts: Accounts, page: int, limit: int, **equal: str | None) -> Page:
    """Read one page of flows, newest first; ``equal`` may hold ``account_id``. Raises AccountForbidden."""
    if "account_id" in equal:
        require_account(accounts, equal["account_id"])
    items, total = flows.list_flows(accounts=accounts, limit=limit, offset=(page - 1) * limit, **equal)
    return page_of(items, total=total, page=page, limit=limit)


@writing()
def delete_flow(
    flow_id: str, *, accounts: Accounts, account_id: str | None = None, expected: Versions | None = None
) -> None:
    """Delete a flow; its sessions stay. Raises AccountForbidden, NotFound, VersionMismatch."""
    require_account(accounts, account_id)
    if not flows.delete_flow(flow_id, account_id, expected=expected):
        current = flows.get_flow(flow_id, account_id)
        raise VersionMismatch(current) if current else NotFound("flow", flow_id)
