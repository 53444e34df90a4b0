"""Use cases of chatbot sessions. A session is a dict that also holds the name and the panel of its flow."""

from datetime import UTC, datetime
from typing import Any

import uuid_utils

from contacts_service.contacts.writes import raise_not_found, require_contact, require_lock
from contacts_service.db.caller import AllowedAccounts
from contacts_service.db.database import reading, writing
from contacts_service.db.fields import JSONText
from contacts_service.db.merge_patch import patched_document
from contacts_service.errors import SessionNotFound
from contacts_service.sessions import queries

_NO_VARIABLES = JSONText("{}")
_NO_PANEL = JSONText('{"sections":[]}')


@reading()
def get_session_data(contact_id: str, *, allowed_accounts: AllowedAccounts) -> dict[str, Any]:
    """Read the newest active or completed session; nulls and empty objects without one. Raises ContactNotFound."""
    session = queries.get_current_session(contact_id, allowed_accounts)
    return _with_defaults(session or raise_not_found(contact_id, allowed_accounts))


@reading()
def list_sessions(
    contact_id: str, *, allowed_accounts: AllowedAccounts, limit: int, before: str | None = None
) -> dict[str, Any]:
    """Read sessions, newest first: the newest, or those before a session. ``has_more`` tells whether there are more.

    Raises ContactNotFound, SessionNotFound.
    """
    position = queries.position_of(contact_id, allowed_accounts, before) if before else None
    items = queries.list_sessions(contact_id, allowed_accounts, limit + 1, position) if position or not before else []
    if not items:
        require_contact(contact_id, allowed_accounts)
        if before and not position:
            raise SessionNotFound(before)
    found = max((item.pop("found") for item in items), default=0)
    return {"items": items[:limit], "has_more": found > len(items[:limit])}


@writing()
def put_session(
    contact_id: str,
    *,
    allowed_accounts: AllowedAccounts,
    session_data: dict[str, Any],
    session_id: str | None = None,
    **given: Any,
) -> tuple[dict[str, Any], bool]:
    """Start a session, or replace the variables of the one that has this id. Returns it and whether it is new.

    ``given`` may hold ``flow_id`` and ``status``; otherwise they stay, or begin as null and active.
    Raises ContactNotFound.
    """
    contact_pk = require_lock(contact_id, allowed_accounts)["pk"]
    existing = queries.find_session(contact_pk, session_id) if session_id else None
    return _store(contact_pk, existing, {"id": session_id, "session_data": session_data, **given})


@writing()
def patch_session(
    contact_id: str,
    *,
    allowed_accounts: AllowedAccounts,
    session_data: dict[str, Any] | None = None,
    session_id: str | None = None,
    **given: Any,
) -> tuple[dict[str, Any], bool]:
    """Merge variables (RFC 7396) into the session of this id, or into the newest active or completed one.

    If there is none it starts, as RFC 5789 allows. Returns it and whether it is new. Raises ContactNotFound,
    DocumentTooLarge.
    """
    contact_pk = require_lock(contact_id, allowed_accounts)["pk"]
    existing = queries.find_session(contact_pk, session_id)
    patched = patched_document(existing["session_data"] if existing else None, session_data or {})
    return _store(contact_pk, existing, {"id": session_id, "session_data": patched, **given})


def _store(contact_pk: int, existing: dict[str, Any] | None, values: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Change the existing session or start one. Returns it and whether it is new."""
    now = datetime.now(UTC)
    session_id = existing["id"] if existing else values["id"] or str(uuid_utils.uuid7())
    values = {**values, "id": session_id, "updated_at": now}
    if existing:
        queries.update_session(contact_pk, session_id, values)
    else:
        queries.insert_session({"contact": contact_pk, "status": "active", "created_at": now, **values})
    return _with_defaults(queries.get_session(contact_pk, session_id)), existing is None


def _with_defaults(session: dict[str, Any]) -> dict[str, Any]:
    return {
        **session,
        "session_data": session["session_data"] or _NO_VARIABLES,
        "panel_config": session["panel_config"] or _NO_PANEL,
    }
