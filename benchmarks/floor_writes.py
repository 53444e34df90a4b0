"""The writes of the floor: one transaction each, with all effects of the service's write."""

from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import orjson
import uuid_utils
from flask import Flask, Response, request

from benchmarks.floor_rows import ALL_COLUMNS, success, to_contact
from contacts_service.contacts.search_text import searchable

_INSERT_CONTACT = f"""
INSERT INTO contact (id, phone_number, name, account_id, tags, marketing_opt_out, metadata, search_text, unread_count,
    created_at, updated_at, version)
VALUES (?, ?, ?, ?, '[]', FALSE, ?, ?, 0, ?, ?, 1) RETURNING {ALL_COLUMNS}, pk
"""
_INSERT_NUMBER = """
INSERT INTO contact_identifier (account, kind, value, contact_id, current, first_seen_at, last_seen_at)
VALUES (?, 'phone_number', ?, ?, TRUE, ?, ?) ON CONFLICT DO NOTHING RETURNING value
"""
_LATER_TIME = "CASE WHEN updated_at > ? THEN updated_at ELSE ? END"
_LOCK_CONTACT = "SELECT profile_name, phone_number FROM contact WHERE id = ?"
_UPDATE_CONTACT = f"""
UPDATE contact SET name = ?, metadata = ?, search_text = ?, updated_at = {_LATER_TIME}, version = version + 1
WHERE id = ? RETURNING {ALL_COLUMNS}
"""
_ASSIGN_CONTACT = f"""
UPDATE contact SET assigned_to = ?, updated_at = {_LATER_TIME}, version = version + 1
WHERE id = ? RETURNING {ALL_COLUMNS}
"""
_FIND_SENDER = """
SELECT pk, last_message_at, last_message_key, last_message_preview, last_inbound_at
FROM contact WHERE pk = (
    SELECT contact_id FROM contact_identifier WHERE account = ? AND kind = 'phone_number' AND value = ?
)
"""
_INSERT_MESSAGE = """
INSERT INTO message (id, contact_id, account_id, wa_message_id, direction, type, content, history, timestamp, key,
    created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, FALSE, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING pk
"""
_TAKE_EARLY_STATUS = "DELETE FROM early_status WHERE key = ? RETURNING status"
_UPDATE_LAST_MESSAGE = f"""
UPDATE contact SET last_message_at = ?, last_message_key = ?, last_message_preview = ?, last_inbound_at = ?,
    unread_count = unread_count + 1, updated_at = {_LATER_TIME}, version = version + 1
WHERE pk = ? RETURNING {ALL_COLUMNS}
"""


def add_write_routes(app: Flask, driver: ModuleType) -> None:
    @app.post("/api/contacts")
    def create_contact() -> Response:
        body = orjson.loads(request.get_data())
        now = datetime.now(UTC)
        at = driver.to_column(now)
        number, name = body["phone_number"], body["name"]
        text = searchable(name=name, profile_name=None, phone_number=number)
        metadata = orjson.dumps(body["metadata"]).decode()
        with driver.transaction():
            values = (str(uuid_utils.uuid7()), number, name, body["account_id"], metadata, text, at, at)
            [row] = driver.execute(_INSERT_CONTACT, values)
            driver.execute(_INSERT_NUMBER, (body["account_id"], number, row[-1], at, at))
        response = success(to_contact(row, driver, now), 201)
        response.headers["Location"] = f"/api/contacts/{row[0]}"
        return response

    @app.put("/api/contacts/<id>")
    def update_contact(id: str) -> Response:  # noqa: A002
        body = orjson.loads(request.get_data())
        now = datetime.now(UTC)
        at = driver.to_column(now)
        with driver.transaction():
            [(profile_name, number)] = driver.execute(_LOCK_CONTACT + driver.FOR_UPDATE, (id,))
            text = searchable(name=body["name"], profile_name=profile_name, phone_number=number)
            values = (body["name"], orjson.dumps(body["metadata"]).decode(), text, at, at, id)
            [row] = driver.execute(_UPDATE_CONTACT, values)
        return success(to_contact(row, driver, now))

    @app.put("/api/contacts/<id>/assign")
    def assign_contact(id: str) -> Response:  # noqa: A002
        now = datetime.now(UTC)
        at = driver.to_column(now)
        [row] = driver.execute(_ASSIGN_CONTACT, (orjson.loads(request.get_data())["user_id"], at, at, id))
        return success(to_contact(row, driver, now))

    @app.post("/api/messages")
    def record_message() -> Response:
        """Record a message of a contact that is found by its number."""
        body = orjson.loads(request.get_data())
        now = datetime.now(UTC)
        account, wa_id, content = body["account_id"], body["wa_message_id"], body["content"]
        timestamp = datetime.fromisoformat(body["timestamp"])
        message_id, sent_at, created_at = str(uuid_utils.uuid7()), driver.to_column(timestamp), driver.to_column(now)
        with driver.transaction():
            [sender] = driver.execute(_FIND_SENDER + driver.FOR_UPDATE, (account, body["contact"]["phone_number"]))
            pk, *last_message, inbound_at = sender
            text = orjson.dumps(content).decode()
            values = (account, wa_id, body["direction"], body["type"], text, sent_at, wa_id, created_at)
            driver.execute(_INSERT_MESSAGE, (message_id, pk, *values))
            driver.execute(_TAKE_EARLY_STATUS, (f"{account}/{wa_id}",))
            if last_message[0] is None or (sent_at, wa_id) > (last_message[0], last_message[1]):
                last_message = [sent_at, wa_id, content["body"][:100]]
            last_inbound_at = max(sent_at, inbound_at or sent_at)
            values = (*last_message, last_inbound_at, created_at, created_at, pk)
            [row] = driver.execute(_UPDATE_LAST_MESSAGE, values)
        message: dict[str, Any] = {
            "id": message_id,
            "wa_message_id": wa_id,
            "direction": body["direction"],
            "type": body["type"],
            "content": content,
            "history": False,
            "status": None,
            "status_at": None,
            "error": None,
            "timestamp": timestamp,
            "created_at": now,
            "contact_id": row[0],
            "contact": to_contact(row, driver, now),
            "matched_by": "phone_number",
            "replaced": {},
            "conflict_with": [],
            "merged": [],
        }
        return success(message, 201)
