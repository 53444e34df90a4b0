"""A database with rows in every table, and all that it answers over HTTP."""

import json
from typing import Any

from flask import Flask
from helpers.caller import Caller
from helpers.examples import ACCOUNT, FLOW_ID, OTHER_ACCOUNT, USER
from helpers.keys import make_key
from helpers.messages import message
from peewee import Model

from contacts_service.db.database import BaseModel

NAMES = ["王芳", "José 'O\"Brien\\", "=1+2\t\r\nline", "محمد", "😀", "\x7f\u2028", "Ana"]
# Numbers and texts that a conversion would spell otherwise.
METADATA = (
    r'{"a": 1e22, "b": 1.0, "c": 123456789012345678901234567890, "d": "\u00e9 \\ \" \n", "e": null, "plan": "gold"}'
)
SAID_ONCE = {"Idempotency-Key": "once"}
LISTS = [
    {},
    {"search": "ana"},
    {"search": "王"},
    {"tags": "a"},
    {"metadata.plan": "gold"},
    {"unread": "true"},
    {"marketing_opt_out": "true"},
    {"account_id": ACCOUNT, "sort": "created"},
    {"assigned_to": "none"},
    {"external_id": "customer-3"},
    {"last_message_before": "2025-01-01T00:00:00Z"},
    {"search": "+123456780"},
]


def tables() -> list[type[Model]]:
    return [model for model in BaseModel.__subclasses__() if model.__module__.startswith("contacts_service")]


def fill(app: Flask) -> Caller:
    """Put rows into every table. Returns the caller with its key."""
    caller = Caller(app, make_key(app, name="mover"))
    caller.put(f"/api/flows/{FLOW_ID}", {"name": "Orders", "panel_config": {"sections": []}})
    ids = []
    for number, name in enumerate(NAMES * 3):
        account = {"account_id": [ACCOUNT, OTHER_ACCOUNT][number % 2]} if number % 3 else {}
        fields = {"phone_number": f"+12345678{number:02}", "name": name, "external_id": f"customer-{number}", **account}
        fields |= {"tags": ["a", "ü"][: number % 3], "marketing_opt_out": number % 5 == 0}
        body = f'{json.dumps(fields)[:-1]}, "metadata": {METADATA}}}'
        created = caller.request("POST", "/api/contacts", data=body, content_type="application/json")
        contact = created.data["id"]
        ids.append(contact)
        for part in range(number % 4):
            sent = message(number * 10 + part, direction=["incoming", "outgoing"][part % 2])
            recorded = caller.post(f"/api/contacts/{contact}/messages", sent).data["id"]
            caller.put(f"/api/messages/{recorded}/status", {"status": "failed", "error": {"code": 1.50}})
        if number % 2:
            caller.put(f"/api/contacts/{contact}/session-data", {"flow_id": FLOW_ID, "session_data": {"order": name}})
            caller.put(f"/api/contacts/{contact}/assign", {"user_id": USER})
    caller.put("/api/messages/status", {"wa_message_id": "wamid.early", "status": "read", "error": {"n": 1}})
    caller.post("/api/contacts", {"phone_number": "+1999999990", "bsuid": "US.1"}, SAID_ONCE)
    caller.post("/api/contacts", {"bsuid": "US.2"})
    caller.post("/api/contacts/resolve", {"phone_number": "+1999999990", "bsuid": "US.2"})
    caller.post(f"/api/contacts/{ids[0]}/merge", {"source_id": ids[6]})
    caller.delete(f"/api/contacts/{ids[-1]}")
    return caller


def answers(caller: Caller) -> dict[str, tuple[bytes, str | None]]:
    """The body and the ETag of every GET of the service, by its path."""
    found: dict[str, tuple[bytes, str | None]] = {}

    def get(path: str, **query: Any) -> Any:
        answer = caller.client.get(path, query_string=query, headers={"X-API-Key": caller.key})
        assert answer.status_code in {200, 410}, answer.data
        found[f"{path} {query}"] = answer.data, answer.headers.get("ETag")
        return json.loads(answer.data)["data"]

    contacts: set[str] = set()
    for query in LISTS:
        pages = [get("/api/contacts", limit=5, **query)]
        while pages[-1]["next_cursor"]:
            pages.append(get("/api/contacts", limit=5, **query, cursor=pages[-1]["next_cursor"]))
        assert pages[0]["total"] == sum(len(page["items"]) for page in pages) > 0, query
        contacts |= {item["id"] for page in pages for item in page["items"]}
    for contact in contacts:
        get(f"/api/contacts/{contact}")
        for part in ("messages", "sessions", "session-data", "events", "merges"):
            get(f"/api/contacts/{contact}/{part}")
    get("/api/contacts/duplicates")
    get("/api/flows")
    get(f"/api/flows/{FLOW_ID}")
    return found
