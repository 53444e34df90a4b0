"""A receiver of WhatsApp's webhooks: turns what Meta's Cloud API sends into calls of the contacts service.

Meta posts notifications to an address of yours. Whatever serves that address checks their signature
(``X-Hub-Signature-256``), calls ``receive(payload)`` with the JSON, and answers 200 only when it returns. What raises
is delivered again, for up to seven days. Delivering twice, late or in another order is safe.

    CONTACTS_URL=http://127.0.0.1:8000 CONTACTS_KEY=... python examples/webhook_receiver.py < payload.json

The key needs the scopes contacts:read and contacts:write. docs/whatsapp.md names Meta's page behind each rule.
"""

import json
import logging
import os
import re
import sys
import urllib.parse
import urllib.request
import uuid
from datetime import UTC, datetime

URL = os.environ.get("CONTACTS_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("CONTACTS_KEY")  # Without it only a service on the same machine answers that has no key yet.
TYPES = {"text", "image", "video", "audio", "document", "sticker", "location", "contacts", "interactive", "button"}
TYPES |= {"template", "reaction", "order", "system", "edit", "revoke", "call"}
STATUSES = {name: name for name in ("pending", "sent", "delivered", "read", "failed")}
STATUSES |= {"played": "read", "error": "failed"}
ID_KEYS = "wa_id", "user_id", "parent_user_id"
log = logging.getLogger("webhook_receiver")


def receive(payload):
    """Handle one notification. Everything that can be recorded is; only then what failed is raised."""
    failures = []
    for entry in payload.get("entry", []):
        for change in entry.get("changes", []):
            for handle, value, item in items_of(change):
                try:
                    handle(value, item)
                except Exception as error:  # noqa: BLE001 - Raised below, when the other items are recorded.
                    failures.append(error)
    if failures:
        raise ExceptionGroup("not everything was recorded", failures)


def items_of(change):
    """Yield each message, status and so on of a change, with the function that handles it."""
    value = change["value"]
    for part in value.get("history", []):
        for error in part.get("errors", []):
            log.warning("no history is shared: %s", error.get("title"))
        for thread in part.get("threads", []):
            person = {"wa_id": thread.get("id"), **thread.get("context", {})}
            for message in thread["messages"]:
                yield record_history, {**value, "contacts": [person]}, message
    for name, handle in HANDLERS.get(change["field"], {}).items():
        for item in value.get(name, []):
            yield handle, value, item


def record_message(value, message, *, history=False):
    """Record a message and its contact. An outgoing one was sent with the WhatsApp Business app: Meta echoes it."""
    if "group_id" in message:
        log.warning("skipped message %s of a group: a contact is one person", message["id"])
        return
    business = re.sub("[^0-9]", "", value["metadata"]["display_phone_number"])
    is_outgoing = message.get("from") == business or "to" in message or "to_user_id" in message
    body = body_of(value, message, is_outgoing=is_outgoing)
    system = message.get("system", {})
    if system.get("previous_user_id"):
        body["contact"]["previous_bsuid"] = system["previous_user_id"]
    shared = [card for card in message.get("contacts", []) if card.get("origin") == "contact_request"]
    if shared:  # The user tapped a button that shares the phone number.
        body["contact"].setdefault("phone_number", shared[0]["phones"][0]["phone"])
    if history:  # Raises no unread_count.
        body["history"] = True
    if is_outgoing:
        body["status"] = STATUSES.get(message.get("history_context", {}).get("status", "sent").lower(), "sent")
    recorded = call("POST", "/api/messages", body)
    if system.get("wa_id") and message.get("from"):
        join_old_number(value, message, recorded["contact"])


def body_of(value, item, *, is_outgoing, kind=None):
    """Turn a message or a call into the body of POST /api/messages."""
    side = "to" if is_outgoing else "from"
    ids = [item.get("system", {}).get(key) for key in ID_KEYS]  # After a change; then "from" is the old number.
    ids += [item.get(key) for key in (side, f"{side}_user_id", f"{side}_parent_user_id")]
    kind = kind or item["type"]
    return {
        "account_id": account_id(value),
        "contact": contact_of(ids, value.get("contacts", [])),
        "on_conflict": "merge",  # What WhatsApp names together is one person; a contact known by its number alone too.
        "wa_message_id": item["id"],
        "direction": "outgoing" if is_outgoing else "incoming",
        "type": kind if kind in TYPES else "unsupported",
        "content": content_of(item, kind),
        "timestamp": moment(item["timestamp"]),
    }


def join_old_number(value, message, contact):
    """Merge into a contact whose number changed what was known under its old number alone."""
    query = urllib.parse.urlencode({"account_id": account_id(value), "phone_number": message["from"]})
    for old in call("GET", f"/api/contacts?{query}")["items"]:
        # With a bsuid, or with a later message, the number may have another user by now.
        is_known_by_number = not old["bsuid"] and (old["last_message_at"] or "") <= moment(message["timestamp"])
        if is_known_by_number and old["id"] != contact["id"]:
            call("POST", f"/api/contacts/{contact['id']}/merge", {"source_id": old["id"]})


def record_history(value, message):
    """Record an old message that was handed over when the business joined the Cloud API."""
    record_message(value, message, history=True)


def record_history_media(value, message):
    """Record what an old media message holds. Meta sends it apart, under the id of the message without content."""
    new = {name: message.get(name) for name in ("type", message["type"])}
    edit = {"original_message_id": message["id"], "message": new}
    record_history(value, {**message, "id": f"{message['id']}/media", "type": "edit", "edit": edit})


def record_status(value, status):
    """Say what became of a message that somebody of ours sent, whether it is recorded yet or not."""
    if status.get("recipient_type") == "group" or status["status"] not in STATUSES:
        log.warning("skipped status %s of message %s", status["status"], status["id"])
        return
    ids = [status.get(name) for name in ("recipient_id", "recipient_user_id", "recipient_parent_user_id")]
    body = {
        "account_id": account_id(value),
        "wa_message_id": status["id"],
        "status": STATUSES[status["status"]],
        "timestamp": moment(status["timestamp"]),
    }
    if contact := contact_of(ids, value.get("contacts", [])):  # A number that we wrote to gets its bsuid here.
        body |= {"contact": contact, "on_conflict": "merge"}
    if status.get("errors"):
        body["error"] = status["errors"][0]
    call("PUT", "/api/messages/status", body)


def record_call(value, event):
    """Record a call when it has ended. What comes before (connect) has the same id."""
    if event["event"] == "terminate":
        is_outgoing = event["direction"] == "BUSINESS_INITIATED"
        call("POST", "/api/messages", body_of(value, event, is_outgoing=is_outgoing, kind="call"))


def record_preference(value, preference):
    """Record that somebody stopped or resumed marketing messages. The service keeps the newest, whenever it arrives."""
    if preference.get("category") != "marketing_messages":
        return
    ids = [preference.get(key) for key in ID_KEYS]
    contact = contact_of(ids, value.get("contacts", []))
    is_stop = preference["value"] == "stop"
    word = {"marketing_opt_out": is_stop, "marketing_opt_out_at": moment(preference["timestamp"])}
    resolve(value, {**contact, **word})


def fill_name(value, item):
    """Take a name from the address book of the business's phone for a contact that people gave none."""
    entry = item["contact"]
    if item["action"] != "add" or not entry.get("full_name"):
        return
    contact = resolve(value, contact_of([], [{**entry, "wa_id": entry.get("phone_number")}]))
    if not contact["name"]:
        call("PATCH", f"/api/contacts/{contact['id']}", {"name": entry["full_name"]}, version=contact["version"])


def contact_of(ids, contacts):
    """Who has these ids, and how Meta describes the same person in ``contacts``; without ids the first of them."""
    ids = list(filter(None, ids))
    said = next((entry for entry in contacts if not ids or {entry.get(key) for key in ID_KEYS} & {*ids}), {})
    profile = said.get("profile", said)
    who = {
        **identifiers(*ids, *(said.get(key) for key in ID_KEYS)),
        "profile_name": profile.get("name"),
        "username": profile.get("username", "").removeprefix("@"),
    }
    return {name: value for name, value in who.items() if value}


def identifiers(*ids):
    """Sort ids by their form: digits are a phone number, US.134 a bsuid, US.ENT.118 a parent bsuid."""
    found = {}
    for value in filter(None, ids):
        kind = "parent_bsuid" if ".ENT." in value else "bsuid" if "." in value else "phone_number"
        found.setdefault(kind, value)
    return found


def content_of(item, kind):
    """What stands under the name of the type, as an object; of what is not known all is kept."""
    if kind not in TYPES or kind not in item:
        return item
    return item[kind] if isinstance(item[kind], dict) else {kind: item[kind]}


def account_id(value):
    """Your accounts surely have ids of their own; here one is made of WhatsApp's id of the business number."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"whatsapp:{value['metadata']['phone_number_id']}"))


def moment(seconds):
    """WhatsApp writes seconds since 1970, mostly as text."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def resolve(value, contact):
    body = {"account_id": account_id(value), **contact, "on_conflict": "merge"}
    return call("POST", "/api/contacts/resolve", body)


def call(method, path, body=None, version=None):
    """Call the service. With a version, a contact that somebody changed meanwhile is left alone: 412 is raised."""
    headers = {"Content-Type": "application/json"}
    if KEY:
        headers["X-API-Key"] = KEY
    if version:
        headers["If-Match"] = f'"{version}"'
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:  # nosec B310
        return json.load(answer)["data"]


HANDLERS = {
    "messages": {"messages": record_message, "statuses": record_status},
    "smb_message_echoes": {"message_echoes": record_message},
    "history": {"messages": record_history_media, "message_echoes": record_history_media},
    "user_preferences": {"user_preferences": record_preference},
    "smb_app_state_sync": {"state_sync": fill_name},
    "calls": {"calls": record_call},
}
"""By the field of a change: the lists it may hold, and what handles their items."""

if __name__ == "__main__":
    receive(json.load(sys.stdin))
