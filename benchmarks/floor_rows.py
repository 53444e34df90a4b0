"""Turns the rows of the floor into responses."""

from datetime import datetime
from types import ModuleType
from typing import Any

import orjson
from flask import Response

SUMMARY_COLUMNS = (
    "id, phone_number, bsuid, username, name, profile_name, avatar_url, account_id, assigned_to, tags, "
    "marketing_opt_out, last_message_at, last_message_preview, last_inbound_at, unread_count, created_at, updated_at, "
    "version"
)
ALL_COLUMNS = f"{SUMMARY_COLUMNS}, metadata"
_NO_MESSAGE = "0001-01-01T00:00:00.000000Z"
_LAST_MESSAGE_AT, _CREATED_AT = 11, 15


def success(data: Any, status: int = 200) -> Response:
    body = orjson.dumps({"status": "success", "data": data}, option=orjson.OPT_UTC_Z)
    return Response(body, status, content_type="application/json")


def sort_key(row: tuple[Any, ...]) -> tuple[Any, Any, str]:
    """The values that contacts are sorted by, the most recent message first."""
    return row[_LAST_MESSAGE_AT] or _NO_MESSAGE, row[_CREATED_AT], row[0]


def to_summary(row: tuple[Any, ...], driver: ModuleType, now: datetime) -> dict[str, Any]:
    to_json = driver.to_json
    return {
        "id": row[0],
        "phone_number": row[1],
        "bsuid": row[2],
        "username": row[3],
        "name": row[4],
        "profile_name": row[5],
        "avatar_url": row[6],
        "account_id": row[7],
        "assigned_to": row[8],
        "tags": orjson.Fragment(row[9]),
        "marketing_opt_out": bool(row[10]),
        "last_message_at": to_json(row[11]),
        "last_message_preview": row[12],
        "last_inbound_at": to_json(row[13]),
        "unread_count": row[14],
        "created_at": to_json(row[15]),
        "updated_at": to_json(row[16]),
        "version": row[17],
        "service_window_open": driver.is_window_open(row[13], now),
    }


def to_contact(row: tuple[Any, ...], driver: ModuleType, now: datetime) -> dict[str, Any]:
    contact = to_summary(row, driver, now)
    contact["metadata"] = orjson.Fragment(row[18])
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
