"""Use cases of the conversation history. They record what was said elsewhere; nothing is sent from here.

Messages arrive late, twice and in any order. What a contact shows of them follows from the set of its messages alone:
the newest, by (timestamp, key), gives ``last_message_at`` and the preview; the newest incoming gives
``last_inbound_at``; ``unread_count`` is how many incoming ones were recorded since somebody marked them read. A status
only rises, see models.messages.STATUSES.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import uuid_utils

from contacts_service.errors import NotFound, Unavailable
from contacts_service.models import contacts, messages
from contacts_service.models.accounts import Accounts
from contacts_service.models.database import lock_key, reading, writing
from contacts_service.services.access import require_account
from contacts_service.services.contact_steps import ATTEMPTS, shown
from contacts_service.services.identity import resolve
from contacts_service.services.message_preview import preview

# WhatsApp gives up on a message after 30 days at the latest (Cloud API, "Time-to-live").
EARLY_STATUS_KEPT = timedelta(days=30)


@writing()
def record_message(contact_id: str, *, accounts: Accounts, **message: Any) -> tuple[dict[str, Any], bool]:
    """Record one message of a contact. Returns it and whether it is new.

    ``message`` holds ``direction``, ``type``, ``content`` and maybe ``wa_message_id``, ``status``, ``timestamp``. One
    whose wa_message_id the account has already changes nothing; the first record is returned. Raises NotFound.
    """
    if wa_message_id := message.get("wa_message_id"):
        contact = contacts.get_contact(contact_id, accounts)
        lock_key(_key(contact["account_id"] if contact else None, wa_message_id))
    contact = contacts.lock_contact(contact_id, accounts)
    if contact is None:
        raise NotFound("contact", contact_id)
    recorded, _, is_new = _record(contact, message)
    return recorded, is_new


@writing()
def receive_message(
    *, accounts: Accounts, contact: dict[str, Any], account_id: str | None = None, **message: Any
) -> tuple[dict[str, Any], bool]:
    """Find or create the contact and record the message in one transaction; see resolve_contact, record_message.

    What is returned holds the contact and ``matched_by`` beside the message's own fields. Raises AccountForbidden too.
    """
    require_account(accounts, account_id)
    if wa_message_id := message.get("wa_message_id"):
        lock_key(_key(account_id, wa_message_id))
        if first := _first_record(account_id, wa_message_id):
            return {**first[0], "contact": first[1], "matched_by": None}, False
    found, matched_by = resolve(account_id, contact, said_at=message.get("timestamp"))
    recorded, owner, is_new = _record(found, message)
    return {**recorded, "contact": owner, "matched_by": matched_by}, is_new


@reading()
def list_messages(
    contact_id: str, *, accounts: Accounts, limit: int, before: str | None = None, after: str | None = None
) -> dict[str, Any]:
    """Read messages, oldest first: those right before or after a message, or the newest.

    ``has_more`` tells whether there are more in the direction read. Raises NotFound for the contact or the message.
    """
    found = messages.list_messages(contact_id, accounts=accounts, limit=limit + 1, before=before, after=after)
    if not found and contacts.get_contact(contact_id, accounts) is None:
        raise NotFound("contact", contact_id)
    if found is None:
        raise NotFound("message", before or after or "")
    items = found[:limit] if after else found[-limit:]
    return {"items": [{**item, "contact_id": contact_id} for item in items], "has_more": len(found) > limit}


@writing()
def set_status(message_id: str, *, accounts: Accounts, **status: Any) -> dict[str, Any]:
    """Move a message's status forward; a lower one is ignored.

    ``status`` holds ``status`` and maybe ``timestamp`` and ``error``. Returns the message. Raises NotFound.
    """
    messages.advance_status(message_id=message_id, accounts=accounts, **_columns(status))
    message = messages.get_message(message_id, accounts)
    if message is None:
        raise NotFound("message", message_id)
    return message


@writing()
def set_status_by_wa_id(
    *, accounts: Accounts, wa_message_id: str, account_id: str | None = None, **status: Any
) -> dict[str, Any] | None:
    """Do as set_status for a caller that knows only WhatsApp's id.

    WhatsApp may report a status before the sender has recorded the message. Such a status is kept for 30 days and
    applied when the message comes; then None is returned. Raises AccountForbidden.
    """
    require_account(accounts, account_id)
    lock_key(key := _key(account_id, wa_message_id))
    columns = _columns(status)
    messages.advance_status(account_id=account_id, wa_message_id=wa_message_id, **columns)
    message = messages.get_message_by_wa_id(account_id, wa_message_id)
    if message is None:
        now = datetime.now(UTC)
        messages.forget_early_statuses(now - EARLY_STATUS_KEPT)
        kept = {"status": columns["status"], "status_at": columns["at"], "error": columns["error"], "created_at": now}
        messages.keep_early_status(key, kept)
    return message


def _record(contact: dict[str, Any], message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Record within a transaction that holds the contact and the key of the message's wa_message_id.

    Returns the message, its contact and whether it is new.
    """
    now = datetime.now(UTC)
    values = _values(contact, message, now)
    wa_message_id = values["wa_message_id"]
    for _ in range(ATTEMPTS):
        if recorded := messages.insert_message(values):
            break
        if first := _first_record(contact["account_id"], wa_message_id):
            return *first, False
        # Its contact was deleted, and the message with it, between the two queries.
    else:
        raise Unavailable
    if wa_message_id and (early := messages.take_early_status(_key(contact["account_id"], wa_message_id))):
        moved = {"status": early["status"], "at": early["status_at"], "error": early["error"]}
        if messages.advance_status(message_id=values["id"], **moved):
            recorded |= early
    changed = contacts.update_contact(contact["id"], _shown_of(contact, values), now, accounts=None)
    if changed is None:
        raise RuntimeError("a locked contact vanished")
    return {**recorded, "contact_id": contact["id"]}, shown(changed), True


def _first_record(account_id: str | None, wa_message_id: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Find the message that has this id already, with its contact, which nobody deletes until this has ended."""
    message = messages.get_message_by_wa_id(account_id, wa_message_id)
    contact = contacts.lock_contact(message["contact_id"], None) if message else None
    return (message, shown(contact)) if message and contact else None


def _values(contact: dict[str, Any], message: dict[str, Any], now: datetime) -> dict[str, Any]:
    message_id = str(uuid_utils.uuid7())
    timestamp = message.get("timestamp") or now
    status = message.get("status") or ("pending" if message["direction"] == "outgoing" else None)
    return {
        "id": message_id,
        "contact": contact["pk"],
        "account_id": contact["account_id"],
        "wa_message_id": message.get("wa_message_id"),
        "direction": message["direction"],
        "type": message["type"],
        "content": message["content"],
        "status": status,
        "status_at": timestamp if status else None,
        "timestamp": timestamp,
        "key": message.get("wa_message_id") or message_id,
        "created_at": now,
    }


def _shown_of(contact: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """What the contact shows of its messages, as this one changes it."""
    changes: dict[str, Any] = {}
    timestamp = message["timestamp"]
    newest = contact["last_message_at"]
    if newest is None or (timestamp, message["key"]) > (newest, contact["last_message_key"]):
        changes = {
            "last_message_at": timestamp,
            "last_message_key": message["key"],
            "last_message_preview": preview(message["type"], message["content"]),
        }
    if message["direction"] == "incoming":
        changes["unread_count"] = contact["unread_count"] + 1
        changes["last_inbound_at"] = max(timestamp, contact["last_inbound_at"] or timestamp)
    return changes


def _columns(status: dict[str, Any]) -> dict[str, Any]:
    at = status.get("timestamp") or datetime.now(UTC)
    return {"status": status["status"], "at": at, "error": status.get("error")}


def _key(account_id: str | None, wa_message_id: str) -> str:
    return f"{account_id}/{wa_message_id}"
