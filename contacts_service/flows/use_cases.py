"""Use cases of flows. A flow is a dict; its times are aware datetimes, its panel configuration is JSONText.

A flow is addressed by its id and its account, None for flows that all accounts share. ``allowed_accounts`` limits a use
case to the flows of these accounts; ``expected`` are the versions that a flow may have for a write to happen, None for
any.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from peewee import SQL, Tuple

from contacts_service.db.caller import AllowedAccounts, of_account, of_accounts, require_account
from contacts_service.db.database import ConcurrentChange, reading, retried, writing
from contacts_service.db.pages import newest_within_bytes
from contacts_service.errors import FlowNotFound, InvalidRequest, VersionMismatch
from contacts_service.flows.tables import ALL_COLUMNS, NEWEST_FIRST, Flow

Version = tuple[datetime, int]
"""Time of creation and version: a flow that was deleted and put again begins with version 1 once more."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TAG = re.compile("([0-9]{1,16})-([0-9]{1,9})")


def flow_etag(flow: dict[str, Any]) -> str:
    """Entity tag (RFC 9110, section 8.8.3), without the quotes."""
    return f"{(flow['created_at'] - _EPOCH) // _MICROSECOND}-{flow['version']}"


def flow_version(etag: str) -> Version | None:
    match = _TAG.fullmatch(etag)
    return (_EPOCH + int(match[1]) * _MICROSECOND, int(match[2])) if match else None


@retried
@writing()
def put_flow(  # noqa: PLR0913 - What a flow holds, and on which terms it is put.
    flow_id: str,
    *,
    allowed_accounts: AllowedAccounts,
    name: str,
    panel_config: dict[str, Any],
    account_id: str | None = None,
    expected: list[Version] | None = None,
    only_new: bool = False,
    only_existing: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Store or replace a flow. Returns it and whether it is new.

    With ``only_new`` none is replaced, with ``only_existing`` none created. Raises AccountForbidden, VersionMismatch.
    """
    require_account(allowed_accounts, account_id)
    may_create = expected is None and not only_existing
    now = datetime.now(UTC)
    changes = {"name": name, "panel_config": panel_config, "updated_at": now}
    update = Flow.update({**changes, "version": Flow.version + 1}).where(_expected(flow_id, account_id, expected))
    if not only_new and (stored := _first(update.returning(*ALL_COLUMNS))):
        return stored, False
    if may_create:
        new = Flow.insert({"id": flow_id, "account_id": account_id, "created_at": now, "version": 1, **changes})
        if stored := _first(new.on_conflict("nothing").returning(*ALL_COLUMNS)):
            return stored, True
    if only_new or not may_create:
        raise _version_mismatch(_find(flow_id, account_id))
    raise ConcurrentChange  # Another transaction stored it between the two queries.


@reading()
def get_flow(flow_id: str, *, allowed_accounts: AllowedAccounts, account_id: str | None = None) -> dict[str, Any]:
    """Raises AccountForbidden, FlowNotFound."""
    require_account(allowed_accounts, account_id)
    flow = _find(flow_id, account_id)
    if flow is None:
        raise FlowNotFound(flow_id)
    return flow


@reading()
def list_flows(
    *,
    allowed_accounts: AllowedAccounts,
    limit: int,
    page: int | None = None,
    cursor: str | None = None,
    **equal: str | None,
) -> tuple[list[dict[str, Any]], int, str | None]:
    """Read one page of flows, newest first. Returns it, the number of all flows and the next cursor.

    ``page`` counts from 1 and is the first by default; a ``cursor`` of an earlier page leads on instead. ``equal`` may
    hold ``account_id``, None for no account. Raises AccountForbidden, InvalidRequest.
    """
    query = Flow.select()
    if "account_id" in equal:
        require_account(allowed_accounts, equal["account_id"])
        query = query.where(of_account(Flow.account_id, equal["account_id"]))
    elif allowed_accounts is not None:
        query = query.where(of_accounts(Flow.account_id, allowed_accounts))
    total = query.select(SQL("COUNT(*)")).scalar()
    if cursor:
        if (position := flow_version(cursor)) is None:  # A position is written as an entity tag, with the key.
            raise InvalidRequest({"cursor": ["Not a cursor of this list."]})
        after = Tuple(Flow.created_at.db_value(position[0]), position[1])
        query = query.where(Tuple(Flow.created_at, Flow.pk) < after)
    chosen = newest_within_bytes(query.offset(((page or 1) - 1) * limit), Flow.panel_config, limit + 1)
    flows = Flow.select(*ALL_COLUMNS, Flow.pk, chosen.c.found).join(chosen, on=chosen.c.pk == Flow.pk)
    rows = list(flows.order_by(*NEWEST_FIRST).dicts())
    found = max((flow.pop("found") for flow in rows), default=0)
    cursors = [flow_etag({**flow, "version": flow.pop("pk")}) for flow in rows][:limit]
    return rows[:limit], total, cursors[-1] if found > len(cursors) else None


@writing()
def delete_flow(
    flow_id: str,
    *,
    allowed_accounts: AllowedAccounts,
    account_id: str | None = None,
    expected: list[Version] | None = None,
) -> None:
    """Delete a flow; its sessions stay. Raises AccountForbidden, FlowNotFound, VersionMismatch."""
    require_account(allowed_accounts, account_id)
    if not Flow.delete().where(_expected(flow_id, account_id, expected)).execute():
        current = _find(flow_id, account_id)
        raise _version_mismatch(current) if current else FlowNotFound(flow_id)


def _by_address(flow_id: str, account_id: str | None) -> Any:
    return (Flow.id == flow_id) & of_account(Flow.account_id, account_id)


def _expected(flow_id: str, account_id: str | None, versions: list[Version] | None) -> Any:
    flow = _by_address(flow_id, account_id)
    if versions is None:
        return flow
    matching = [(Flow.created_at == created_at) & (Flow.version == version) for created_at, version in versions]
    return flow & reduce(or_, matching, SQL("1 = 0"))


def _find(flow_id: str, account_id: str | None) -> dict[str, Any] | None:
    return _first(Flow.select(*ALL_COLUMNS).where(_by_address(flow_id, account_id)))


def _first(query: Any) -> dict[str, Any] | None:
    return next(iter(query.dicts().execute()), None)


def _version_mismatch(current: dict[str, Any] | None) -> VersionMismatch:
    return VersionMismatch(current, flow_etag(current) if current else None)
