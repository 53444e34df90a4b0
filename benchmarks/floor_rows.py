"""Turns the rows of the floor into responses."""

from datetime import datetime
from types import ModuleType
from typing import Any

import orjson
from flask import Response

SUMMARY_COLUMNS = (
    "id, phone_number, bsuid, parent_bsuid, external_id, username, name, profile_name, avatar_url, account_id, "
    "assigned_to, tags, marketing_opt_out, marketing_opt_out_at, marketing_opt_out_source, last_message_at, "
    "last_message_preview, last_inbound_at, unread_count, created_at, updated_at, version"
)
ALL_COLUMNS = f"{SUMMARY_COLUMNS}, metadata"
_NO_MESSAGE = "0001-01-01T00:00:00.000000Z"
_LAST_MESSAGE_AT, _CREATED_AT = 15, 19


def success(data: Any, status: int = 200) -> Response:
    body = orjson.dumps({"status": "success", "data": data}, option=orjson.OPT_UTC_Z)
    return Response(body, status, content_type="application/json")


def sort_key(row: tuple[Any, ...]) -> tuple[Any, Any, str]:
    """The values that contacts are sorted by, the most recent message first."""
    return row[_LAST_MESSAGE_AT] or _NO_MESSAGE, row[_CREATED_AT], row[0]


def to_summary(row: tuple[Any, ...], driver: ModuleType, now: datetime) -> dict[str, Any]:
    to_json = driver.to_json
    expires_at = driver.window_end(row[17])
    return {
        "id": row[0],
        "phone_number": row[1],
        "bsuid": row[2],
        "parent_bsuid": row[3],
        "external_id": row[4],
        "username": row[5],
        "name": row[6],
        "profile_name": row[7],
        "avatar_url": row[8],
        "account_id": row[9],
        "assigned_to": row[10],
        "tags": orjson.Fragment(row[11]),
        "marketing_opt_out": bool(row[12]),
        "marketing_opt_out_at": to_json(row[13]),
        "marketing_opt_out_source": row[14],
        "last_message_at": to_json(row[15]),
        "last_message_preview": row[16],
        "last_inbound_at": to_json(row[17]),
        "unread_count": row[18],
        "created_at": to_json(row[19]),
        "updated_at": to_json(row[20]),
        "version": row[21],
        "service_window_open": expires_at is not None and now < expires_at,
        "service_window_expires_at": expires_at,
    }


def to_contact(row: tuple[Any, ...], driver: ModuleType, now: datetime) -> dict[str, Any]:
    contact = to_summary(row, driver, now)
    contact["metadata"] = orjson.Fragment(row[22])
    return contact


def to_session(row: tuple[Any, ...], driver: ModuleType) -> dict[str, Any]:
    return {
        "session_id": row[0],
        "flow_id": row[1],
        "flow_name": row[2],
        "status": row[3],
        "session_data": orjson.Fragment(row[4] or "{}"),
        "created_at": driver.to_json(row[5]),
        "updated_at": driver.to_json(row[6]),
        "panel_config": orjson.Fragment(row[7] or '{"sections":[]}'),
    }
