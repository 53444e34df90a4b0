"""Use cases of chatbot sessions. What a contact's session is answered as holds the panel of its flow too."""

from datetime import UTC, datetime
from typing import Any

import uuid_utils

from contacts_service.errors import NotFound
from contacts_service.models import contacts, sessions
from contacts_service.models.accounts import Accounts
from contacts_service.models.database import reading, writing
from contacts_service.models.fields import JSONText
from contacts_service.services.merge_patch import merged_document

_NO_VARIABLES = JSONText("{}")
_NO_PANEL = JSONText('{"sections":[]}')


@reading()
def get_session_data(contact_id: str, *, accounts: Accounts) -> dict[str, Any]:
    """Read the newest active or completed session; nulls and empty objects without one. Raises NotFound."""
    shown = sessions.get_shown_session(contact_id, accounts)
    if shown is None:
        raise NotFound("contact", contact_id)
    return _with_panel(shown)


@reading()
def list_sessions(contact_id: str, *, accounts: Accounts) -> list[dict[str, Any]]:
    """Read all sessions, newest first. Raises NotFound."""
    found = sessions.list_sessions(contact_id, accounts)
    if found is None:
        raise NotFound("contact", contact_id)
    return found


@writing()
def put_session(
    contact_id: str, *, accounts: Accounts, session_data: dict[str, Any], session_id: str | None = None, **given: Any
) -> tuple[dict[str, Any], bool]:
    """Start a session, or replace the variables of the one that has this id. Returns it and whether it is new.

    ``given`` may hold ``flow_id`` and ``status``; what it doesn't hold stays, or begins as null and active.
    Raises NotFound.
    """
    contact_pk = _lock_contact(contact_id, accounts)
    existing = sessions.find_session(contact_pk, session_id) if session_id else None
    return _store(contact_pk, existing, {"id": session_id, "session_data": session_data, **given})


@writing()
def patch_session(
    contact_id: str,
    *,
    accounts: Accounts,
    session_data: dict[str, Any] | None = None,
    session_id: str | None = None,
    **given: Any,
) -> tuple[dict[str, Any], bool]:
    """Merge variables (RFC 7396) into the session of this id, or into the newest active or completed one.

    Where there is none it starts, as RFC 5789 allows. Returns it and whether it is new. Raises NotFound.
    """
    contact_pk = _lock_contact(contact_id, accounts)
    existing = sessions.find_session(contact_pk, session_id)
    merged = merged_document(existing["session_data"] if existing else None, session_data or {})
    return _store(contact_pk, existing, {"id": session_id, "session_data": merged, **given})


def _store(contact_pk: int, existing: dict[str, Any] | None, values: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Change the existing session or start one. Returns it and whether it is new."""
    now = datetime.now(UTC)
    session_id = existing["id"] if existing else values["id"] or str(uuid_utils.uuid7())
    values = {**values, "id": session_id, "updated_at": now}
    if existing:
        sessions.update_session(contact_pk, session_id, values)
    else:
        sessions.insert_session({"contact": contact_pk, "status": "active", "created_at": now, **values})
    return _with_panel(sessions.get_session(contact_pk, session_id)), existing is None


def _lock_contact(contact_id: str, accounts: Accounts) -> int:
    contact = contacts.lock_contact(contact_id, accounts)
    if contact is None:
        raise NotFound("contact", contact_id)
    return int(contact["pk"])


def _with_panel(session: dict[str, Any]) -> dict[str, Any]:
    return {
        **session,
        "session_data": session["session_data"] or _NO_VARIABLES,
        "panel_config": session["panel_config"] or _NO_PANEL,
    }
