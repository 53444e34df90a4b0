"""Use cases of chatbot sessions. What a contact's session is answered as holds the panel of its flow too."""

from datetime import UTC, datetime
from typing import Any

import uuid_utils

from contacts_service.errors import NoSession, NotFound
from contacts_service.models import contacts, sessions
from contacts_service.models.database import reading, writing
from contacts_service.models.fields import JSONText

_NO_VARIABLES = JSONText("{}")
_NO_PANEL = JSONText('{"sections":[]}')


@reading()
def get_session_data(contact_id: str) -> dict[str, Any]:
    """Read the newest active or completed session; nulls and empty objects without one. Raises NotFound."""
    shown = sessions.get_shown_session(contact_id)
    if shown is None:
        raise NotFound("contact", contact_id)
    return _with_panel(shown)


@reading()
def list_sessions(contact_id: str) -> list[dict[str, Any]]:
    """Read all sessions, newest first. Raises NotFound."""
    found = sessions.list_sessions(contact_id)
    if found is None:
        raise NotFound("contact", contact_id)
    return found


@writing()
def put_session(
    contact_id: str, *, session_data: dict[str, Any], session_id: str | None = None, **given: Any
) -> tuple[dict[str, Any], bool]:
    """Start a session, or replace the variables of the one that has this id. Returns it and whether it is new.

    ``given`` may hold ``flow_id`` and ``status``; what it doesn't hold stays, or begins as null and active.
    Raises NotFound.
    """
    contact_pk = _lock_contact(contact_id)
    now = datetime.now(UTC)
    changes = {"session_data": session_data, "updated_at": now, **given}
    is_new = session_id is None or sessions.find_session(contact_pk, session_id) is None
    session_id = session_id or str(uuid_utils.uuid7())
    if is_new:
        created = {"id": session_id, "contact": contact_pk, "status": "active", "created_at": now}
        sessions.insert_session({**created, **changes})
    else:
        sessions.update_session(contact_pk, session_id, changes)
    return _with_panel(sessions.get_session(contact_pk, session_id)), is_new


@writing()
def patch_session(
    contact_id: str,
    *,
    session_data: dict[str, Any] | None = None,
    session_id: str | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Merge variables (RFC 7396) into the session of this id, or into the newest active or completed one.

    Raises NotFound for the contact or the session, NoSession without either.
    """
    contact_pk = _lock_contact(contact_id)
    session = sessions.find_session(contact_pk, session_id)
    if session is None:
        raise NotFound("session", session_id) if session_id else NoSession
    changes = {"updated_at": datetime.now(UTC), **given}
    if session_data:
        changes["session_data"] = merge_patch(session["session_data"].parsed(), session_data)
    sessions.update_session(contact_pk, session["id"], changes)
    return _with_panel(sessions.get_session(contact_pk, session["id"]))


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON Merge Patch, as RFC 7396, section 2 defines it."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _lock_contact(contact_id: str) -> int:
    contact = contacts.lock_contact(contact_id)
    if contact is None:
        raise NotFound("contact", contact_id)
    return int(contact["pk"])


def _with_panel(session: dict[str, Any]) -> dict[str, Any]:
    return {
        **session,
        "session_data": session["session_data"] or _NO_VARIABLES,
        "panel_config": session["panel_config"] or _NO_PANEL,
    }
