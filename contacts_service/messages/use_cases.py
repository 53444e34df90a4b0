"""Use cases of the conversation history. They record what was said elsewhere; nothing is sent from here.

Messages arrive late, twice and in any order. What a contact shows of them follows from the set of its messages alone:
the newest, by (timestamp, key), gives ``last_message_at`` and the preview; the newest incoming gives
``last_inbound_at``; ``unread_count`` is how many incoming ones were recorded since ``mark-read``. Messages
of some types change none of that, see NOT_SHOWN. A status only moves up, see MESSAGE_STATUSES.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import uuid_utils

from contacts_service.contacts.identity import NO_MATCH, find_or_create, learn, statement_of
from contacts_service.contacts.queries import lock_contact
from contacts_service.contacts.writes import require_contact, require_lock, to_public
from contacts_service.db.caller import AllowedAccounts, require_account
from contacts_service.db.database import ConcurrentChange, database, reading, retried, writing
from contacts_service.db.fields import JSONText
from contacts_service.db.pages import first_within_bytes
from contacts_service.errors import MessageNotFound
from contacts_service.messages import queries
from contacts_service.messages.preview import preview_of
from contacts_service.messages.tables import ALL_COLUMNS, EarlyStatus

# WhatsApp gives up on a message after 30 days at the latest (Cloud API, "Time-to-live").
EARLY_STATUS_KEPT = timedelta(days=30)
# Types that tell of another message or of the user: no one has to read them.
NOT_SHOWN = {"system", "edit", "revoke", "reaction"}
# Cloud API, "Customer service windows": a message or a call of the user opens one.
_OPENS_NO_WINDOW = {"system", "edit", "revoke"}
_SHOWN = [column.name for column in ALL_COLUMNS]


@retried
@writing()
def record_message(
    contact_id: str, *, allowed_accounts: AllowedAccounts, **message: Any
) -> tuple[dict[str, Any], bool]:
    """Record one message of a contact. Returns it and whether it is new.

    ``message`` holds ``direction``, ``type``, ``content`` and maybe ``wa_message_id``, ``status``, ``timestamp``. A
    wa_message_id that the account has already changes nothing; the first record is returned. Raises ContactNotFound.
    """
    if wa_message_id := message.get("wa_message_id"):
        contact = require_contact(contact_id, allowed_accounts)
        database.lock_key(_key(contact["account_id"], wa_message_id))
    contact = require_lock(contact_id, allowed_accounts)
    recorded, _, is_new = _record(contact, message)
    return recorded, is_new


@retried
@writing()
def receive_message(
    *,
    allowed_accounts: AllowedAccounts,
    contact: dict[str, Any],
    account_id: str | None = None,
    on_conflict: str = "report",
    **message: Any,
) -> tuple[dict[str, Any], bool]:
    """Find or create the contact and record the message in one transaction; see identity.learn, record_message.

    The message that is returned also holds the contact and how it was found. Raises AccountForbidden,
    ContactUnidentified.
    """
    require_account(allowed_accounts, account_id)
    if wa_message_id := message.get("wa_message_id"):
        first = queries.lock_wa_id(account_id, wa_message_id, _key(account_id, wa_message_id))
        if first and first["id"] and (owner := lock_contact(first["contact_id"], None)):
            return {**first, "contact": to_public(owner), **NO_MATCH}, False
    said = statement_of(contact, message.get("timestamp"))
    found, outcome = find_or_create(account_id, said, on_conflict=on_conflict)
    recorded, owner, is_new = _record(found, message)
    if not is_new:  # It was recorded while this waited for the lock, and then nothing may be learned.
        raise ConcurrentChange
    return {**recorded, "contact": owner, **outcome}, is_new


@reading()
def list_messages(
    contact_id: str,
    *,
    allowed_accounts: AllowedAccounts,
    limit: int,
    before: str | None = None,
    after: str | None = None,
) -> dict[str, Any]:
    """Read messages, oldest first: those right before or after a message, or the newest.

    ``has_more`` tells whether there are more in that direction. Raises ContactNotFound, MessageNotFound.
    """
    positions: list[dict[str, Any] | None] = [None, None]
    for number, message_id in enumerate((before, after)):
        if message_id is not None:
            positions[number] = queries.position_of(contact_id, allowed_accounts, message_id)
            if positions[number] is None:
                require_contact(contact_id, allowed_accounts)
                raise MessageNotFound(message_id)
    if after:
        found = queries.list_after(contact_id, allowed_accounts, limit + 1, *positions)
        items = first_within_bytes(found, limit, "content", "error")
    else:
        found = queries.list_before(contact_id, allowed_accounts, limit + 1, positions[0])
        items = first_within_bytes(found, limit, "content", "error")[::-1]
    if not found:
        require_contact(contact_id, allowed_accounts)
    return {"items": [{**item, "contact_id": contact_id} for item in items], "has_more": len(found) > len(items)}


@writing()
def set_status(message_id: str, *, allowed_accounts: AllowedAccounts, **status: Any) -> dict[str, Any]:
    """Move a message's status up; a lower one is ignored.

    ``status`` holds ``status`` and maybe ``timestamp`` and ``error``. Returns the message. Raises MessageNotFound.
    """
    changes = _status_columns(**status)
    queries.advance_status(message_id, allowed_accounts, changes, queries.lower_statuses(changes["status"]))
    message: dict[str, Any] | None = queries.get_message(message_id, allowed_accounts)
    if message is None:
        raise MessageNotFound(message_id)
    return message


@retried
@writing()
def set_status_by_wa_id(
    *,
    allowed_accounts: AllowedAccounts,
    wa_message_id: str,
    account_id: str | None = None,
    contact: dict[str, Any] | None = None,
    on_conflict: str = "report",
    **status: Any,
) -> dict[str, Any] | None:
    """Do as set_status for a caller that knows only WhatsApp's id, and learn what it says of the ``contact``.

    WhatsApp may report a status before the sender has recorded the message. Such a status is kept for 30 days and
    applied when the message comes; then None is returned, and the contact is the one that has the identifiers, if any.
    Raises AccountForbidden.
    """
    require_account(allowed_accounts, account_id)
    database.lock_key(key := _key(account_id, wa_message_id))
    if contact:  # Its lock comes before that of the message.
        known = queries.get_message_by_wa_id(account_id, wa_message_id)
        contact_id = known["contact_id"] if known else None
        said = statement_of(contact, status.get("timestamp"))
        learn(account_id, said, on_conflict=on_conflict, contact_id=contact_id)
    changes = _status_columns(**status)
    lower = queries.lower_statuses(changes["status"])
    queries.advance_status_by_wa_id(account_id, wa_message_id, changes, lower)
    message: dict[str, Any] | None = queries.get_message_by_wa_id(account_id, wa_message_id)
    if message is None:
        now = datetime.now(UTC)
        EarlyStatus.delete().where(EarlyStatus.created_at < now - EARLY_STATUS_KEPT).execute()
        queries.keep_early_status(key, {**changes, "created_at": now})
    return message


def _record(contact: dict[str, Any], message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Record within a transaction that holds the locks of the contact and of the message's wa_message_id.

    Returns the message, its contact and whether it is new.
    """
    now = datetime.now(UTC)
    values = _message_columns(contact, message, now)
    wa_message_id = values["wa_message_id"]
    key = _key(contact["account_id"], wa_message_id) if wa_message_id else None
    changes = _contact_changes(contact, values)
    values["content"] = JSONText.of(values["content"])
    changed = queries.insert_message(values, key, changes, now, contact_id=contact["id"])
    if changed is None:
        if first := _first_record(contact["account_id"], wa_message_id):
            return *first, False
        raise ConcurrentChange  # The first record was deleted with its contact between the two queries.
    recorded = {name: values.get(name) for name in _SHOWN}
    if changed.pop("has_early_status") and (early := queries.take_early_status(key)):
        lower = queries.lower_statuses(early["status"])
        if queries.advance_status(values["id"], None, early, lower):
            recorded |= early
    return {**recorded, "contact_id": contact["id"]}, to_public(changed), True


def _first_record(account_id: str | None, wa_message_id: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The message that has this id already, with its contact, which is locked."""
    message = queries.get_message_by_wa_id(account_id, wa_message_id)
    contact = lock_contact(message["contact_id"], None) if message else None
    return (message, to_public(contact)) if message and contact else None


def _message_columns(contact: dict[str, Any], message: dict[str, Any], now: datetime) -> dict[str, Any]:
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
        "history": message.get("history", False),
        "status": status,
        "status_at": timestamp if status else None,
        "timestamp": timestamp,
        "key": message.get("wa_message_id") or message_id,
        "created_at": now,
    }


def _contact_changes(contact: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """How a new message changes what its contact shows of its messages."""
    changes: dict[str, Any] = {}
    timestamp = message["timestamp"]
    is_shown = message["type"] not in NOT_SHOWN
    newest = contact["last_message_at"]
    if is_shown and (newest is None or (timestamp, message["key"]) > (newest, contact["last_message_key"])):
        changes = {
            "last_message_at": timestamp,
            "last_message_key": message["key"],
            "last_message_preview": preview_of(message["type"], message["content"]),
        }
    if message["direction"] == "incoming":
        if is_shown and not message["history"]:
            changes["unread_count"] = contact["unread_count"] + 1
        if message["type"] not in _OPENS_NO_WINDOW:
            changes["last_inbound_at"] = max(timestamp, contact["last_inbound_at"] or timestamp)
    return changes


def shown_of_messages(contact_pk: int) -> dict[str, Any]:
    """What a contact shows of the messages that it has, but for ``unread_count``, which depends on who read them."""
    newest = queries.get_newest(contact_pk, ["incoming", "outgoing"], sorted(NOT_SHOWN))
    inbound = queries.get_newest(contact_pk, ["incoming"], sorted(_OPENS_NO_WINDOW))
    return {
        "last_message_at": newest and newest["timestamp"],
        "last_message_key": newest and newest["key"],
        "last_message_preview": newest and preview_of(newest["type"], newest["content"].parsed()),
        "last_inbound_at": inbound and inbound["timestamp"],
    }


def _status_columns(*, status: str, timestamp: datetime | None = None, error: Any = None) -> dict[str, Any]:
    return {"status": status, "status_at": timestamp or datetime.now(UTC), "error": error}


def _key(account_id: str | None, wa_message_id: str) -> str:
    return hashlib.blake2b(f"{account_id}/{wa_message_id}".encode(), digest_size=16).hexdigest()
