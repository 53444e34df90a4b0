"""A receiver of WhatsApp's webhooks: turns what Meta's Cloud API sends into calls of the contacts service.

Meta posts notifications to an address of yours; whatever serves that address calls ``receive(payload)`` with the
JSON. Answer Meta with 200 only when it returns: what raises is delivered again later, and delivering twice is safe.

    CONTACTS_URL=http://127.0.0.1:8000 CONTACTS_KEY=... python examples/webhook_receiver.py < payload.json

The key needs the scope contacts:write, and contacts:read for users who changed their number.
"""

import json
import os
import sys
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime

CONFLICT = 409
URL = os.environ.get("CONTACTS_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("CONTACTS_KEY")  # Without it only a service on the same machine answers that has no key yet.
TYPES = {"text", "image", "video", "audio", "document", "sticker", "location", "contacts", "interactive", "button"}
TYPES |= {"template", "reaction", "order", "system"}


def receive(payload):
    """Handle one notification: each change of each entry (Cloud API, "Webhooks", messages field).

    Everything that can be recorded is; only then what failed is raised.
    """
    failures = []
    for entry in payload.get("entry", []):
        for change in entry.get("changes", []):
            value = change["value"]
            if change.get("field") == "messages":
                account = account_id(value["metadata"]["phone_number_id"])
                steps = [(receive_message, message) for message in value.get("messages", [])]
                steps += [(receive_status, status) for status in value.get("statuses", [])]
                for step, said in steps:
                    try:
                        step(account, said, value.get("contacts", []))
                    except OSError as error:
                        failures.append(error)
    if failures:
        raise failures[0]


def receive_message(account, message, contacts):
    """Record an incoming message and its contact."""
    who = contact_of(message, contacts)
    kind = message["type"] if message["type"] in TYPES else "unsupported"
    received = call(
        "POST",
        "/api/messages",
        {
            "account_id": account,
            "contact": who,
            "wa_message_id": message["id"],
            "direction": "incoming",
            "type": kind,
            "content": content_of(message),
            "timestamp": moment(message["timestamp"]),
        },
    )
    system = message.get("system", {})
    new_number = system.get("wa_id") or system.get("new_wa_id")
    if system.get("type") == "user_changed_number" and new_number:
        # Only this notification says that the number itself has changed; a later one would just bring another number.
        try:
            call("PUT", f"/api/contacts/{received['contact_id']}", {"phone_number": new_number})
        except urllib.error.HTTPError as error:
            if error.code != CONFLICT:
                raise
            print(f"{new_number} is a contact already: somebody has to look at the two", file=sys.stderr)


def contact_of(message, contacts):
    """Who wrote it. With a hidden phone number there is only the business-scoped user id."""
    system = message.get("system", {})
    bsuid = message.get("from_user_id") or system.get("user_id")
    ids = {message.get("from"), bsuid} - {None}
    said = next((contact for contact in contacts if ids & {contact.get("wa_id"), contact.get("user_id")}), {})
    profile = said.get("profile", {})
    who = {
        "phone_number": message.get("from") or said.get("wa_id"),
        "bsuid": bsuid or said.get("user_id"),
        "previous_bsuid": system.get("previous_user_id"),
        "profile_name": profile.get("name"),
        "username": profile.get("username"),
    }
    return {name: value for name, value in who.items() if value}


def content_of(message):
    """What stands under the name of the type, as an object; of what is not known all is kept."""
    content = message.get(message["type"])
    if message["type"] not in TYPES or content is None:
        return message
    return content if isinstance(content, dict) else {message["type"]: content}


def receive_status(account, status, _):
    """Say what became of a message that somebody of ours sent, whether it is recorded yet or not."""
    body = {
        "account_id": account,
        "wa_message_id": status["id"],
        "status": "read" if status["status"] == "played" else status["status"],
        "timestamp": moment(status["timestamp"]),
    }
    if status.get("errors"):
        body["error"] = status["errors"][0]
    if body["status"] in {"sent", "delivered", "read", "failed"}:
        call("PUT", "/api/messages/status", body)


def account_id(phone_number_id):
    """Your accounts surely have ids of their own; here one is made of WhatsApp's id of the business number."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"whatsapp:{phone_number_id}"))


def moment(seconds):
    """WhatsApp writes seconds since 1970 as text."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def call(method, path, body):
    headers = {"Content-Type": "application/json", **({"X-API-Key": KEY} if KEY else {})}
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:  # nosec B310
        return json.load(answer)["data"]


if __name__ == "__main__":
    receive(json.load(sys.stdin))
