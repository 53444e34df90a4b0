"""The floor's writes: one transaction each, with all that the service's write leaves behind."""

from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import orjson
import uuid_utils
from flask import Flask, Response, request

from benchmarks.floor_rows import WHOLE, answer, whole
from contacts_service.services.search_text import searchable

_INSERT = f"""
INSERT INTO contact (id, phone_number, name, account_id, tags, marketing_opt_out, metadata, search_text, unread_count,
    created_at, updated_at, version)
VALUES (?, ?, ?, ?, '[]', FALSE, ?, ?, 0, ?, ?, 1) ON CONFLICT DO NOTHING RETURNING {WHOLE}
"""
_LATER = "CASE WHEN updated_at > ? THEN updated_at ELSE ? END"
_UPDATE = f"""
UPDATE contact SET name = ?, metadata = ?, search_text = ?, updated_at = {_LATER}, version = version + 1
WHERE id = ? RETURNING {WHOLE}
"""
_ASSIGN = f"""
UPDATE contact SET assigned_to = ?, updated_at = {_LATER}, version = version + 1 WHERE id = ? RETURNING {WHOLE}
"""
_OWNER = """
SELECT pk, last_message_at, last_message_key, last_message_preview, last_inbound_at
FROM contact WHERE account_id = ? AND phone_number = ?
"""
_INSERT_MESSAGE = """
INSERT INTO message (id, contact_id, account_id, wa_message_id, direction, type, content, timestamp, key, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING pk
"""
_TAKE_EARLY_STATUS = "DELETE FROM early_status WHERE key = ? RETURNING status"
_SHOW_MESSAGE = f"""
UPDATE contact SET last_message_at = ?, last_message_key = ?, last_message_preview = ?, last_inbound_at = ?,
    unread_count = unread_count + 1, updated_at = {_LATER}, version = version + 1
WHERE pk = ? RETURNING {WHOLE}
"""


def add_to(app: Flask, driver: ModuleType) -> None:
    """Add the routes that write."""

    @app.post("/api/contacts")
    def create() -> Response:
        body = orjson.loads(request.get_data())
        now = datetime.now(UTC)
        at = driver.stored(now)
        number, name = body["phone_number"], body["name"]
        text = searchable(name=name, profile_name=None, phone_number=number)
        kept = orjson.dumps(body["metadata"]).decode()
        with driver.writing():
            values = (str(uuid_utils.uuid7()), number, name, body["account_id"], kept, text, at, at)
            [row] = driver.run(_INSERT, values)
        response = answer(whole(row, driver, now), 201)
        response.headers["Location"] = f"/api/contacts/{row[0]}"
        return response

    @app.put("/api/contacts/<id>")
    def update(id: str) -> Response:  # noqa: A002
        body = orjson.loads(request.get_data())
        now = datetime.now(UTC)
        at = driver.stored(now)
        with driver.writing():
            locked = f"SELECT profile_name, phone_number FROM contact WHERE id = ?{driver.LOCKED}"
            [(profile_name, number)] = driver.run(locked, (id,))
            text = searchable(name=body["name"], profile_name=profile_name, phone_number=number)
            [row] = driver.run(_UPDATE, (body["name"], orjson.dumps(body["metadata"]).decode(), text, at, at, id))
        return answer(whole(row, driver, now))

    @app.put("/api/contacts/<id>/assign")
    def assign(id: str) -> Response:  # noqa: A002
        now = datetime.now(UTC)
        at = driver.stored(now)
        [row] = driver.run(_ASSIGN, (orjson.loads(request.get_data())["user_id"], at, at, id))
        return answer(whole(row, driver, now))

    @app.post("/api/messages")
    def receive() -> Response:
        """Record a message of a contact that is known by its number."""
        body = orjson.loads(request.get_data())
        now = datetime.now(UTC)
        account, wa_id, content = body["account_id"], body["wa_message_id"], body["content"]
        written = datetime.fromisoformat(body["timestamp"])
        message_id, at, stored = str(uuid_utils.uuid7()), driver.stored(written), driver.stored(now)
        with driver.writing():
            [owner] = driver.run(_OWNER + driver.LOCKED, (account, body["contact"]["phone_number"]))
            pk, *newest, inbound_at = owner
            kept = orjson.dumps(content).decode()
            about = (account, wa_id, body["direction"], body["type"], kept, at, wa_id, stored)
            driver.run(_INSERT_MESSAGE, (message_id, pk, *about))
            driver.run(_TAKE_EARLY_STATUS, (f"{account}/{wa_id}",))
            if newest[0] is None or (at, wa_id) > (newest[0], newest[1]):
                newest = [at, wa_id, content["body"][:100]]
            [row] = driver.run(_SHOW_MESSAGE, (*newest, max(at, inbound_at or at), stored, stored, pk))
        recorded: dict[str, Any] = {
            "id": message_id,
            "wa_message_id": wa_id,
            "direction": body["direction"],
            "type": body["type"],
            "content": content,
            "status": None,
            "status_at": None,
            "error": None,
            "timestamp": written,
            "created_at": now,
            "contact_id": row[0],
            "contact": whole(row, driver, now),
            "matched_by": "phone_number",
        }
        return answer(recorded, 201)
