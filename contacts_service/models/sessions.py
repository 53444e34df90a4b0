"""The table of chatbot sessions and the verbs on it."""

from typing import Any

from peewee import JOIN, BigAutoField, Check, ForeignKeyField, TextField

from contacts_service.models.contacts import Contact
from contacts_service.models.database import Table
from contacts_service.models.fields import IdField, JSONTextField, TimeField
from contacts_service.models.flows import Flow

SHOWN_STATUSES = ("active", "completed")


class Session(Table):
    pk = BigAutoField()
    # The chatbot chooses ids, so two contacts may have the same one; without an index of its own, see below.
    id = IdField()
    contact = ForeignKeyField(Contact, on_delete="CASCADE", index=False)
    # No foreign key: a session outlives its flow, and may begin before the flow is stored.
    flow_id = IdField(null=True)
    status = TextField(constraints=[Check("status IN ('active', 'completed', 'cancelled', 'timeout')")])
    session_data = JSONTextField()
    created_at = TimeField()
    updated_at = TimeField()


NEWEST_FIRST = (Session.created_at.desc(), Session.pk.desc())
Session.add_index(Session.index(Session.contact, Session.id, unique=True, name="session_contact_id"))
Session.add_index(Session.index(Session.contact, *NEWEST_FIRST, name="session_contact_created"))

OF_SESSION = (
    Session.id.alias("session_id"),
    Session.flow_id,
    Flow.name.alias("flow_name"),
    Session.status,
    Session.session_data,
    Session.created_at,
    Session.updated_at,
)


def get_shown_session(contact_id: str) -> dict[str, Any] | None:
    """Read the newest active or completed session of a contact with its flow's name and panel.

    All columns are None when the contact has no such session; the whole is None when there is no such contact.
    """
    newest = _newest_shown(Contact.pk)
    found = (
        Contact.select(*OF_SESSION, Flow.panel_config)
        .join(Session, JOIN.LEFT_OUTER, on=(Session.pk == newest))
        .join(Flow, JOIN.LEFT_OUTER, on=(Flow.id == Session.flow_id))
        .where(Contact.id == contact_id)
    )
    return next(iter(found.dicts()), None)


def get_session(contact_pk: int, session_id: str) -> dict[str, Any]:
    """Read one session, which must exist, in the shape of get_shown_session."""
    found = (
        Session.select(*OF_SESSION, Flow.panel_config)
        .join(Flow, JOIN.LEFT_OUTER, on=(Flow.id == Session.flow_id))
        .where(Session.contact == contact_pk, Session.id == session_id)
    )
    return next(iter(found.dicts()))


def list_sessions(contact_id: str) -> list[dict[str, Any]] | None:
    """Read all sessions of a contact, newest first; None when there is no such contact."""
    found = (
        Contact.select(*OF_SESSION)
        .join(Session, JOIN.LEFT_OUTER)
        .join(Flow, JOIN.LEFT_OUTER, on=(Flow.id == Session.flow_id))
        .where(Contact.id == contact_id)
        .order_by(*NEWEST_FIRST)
    )
    rows = list(found.dicts())
    return [row for row in rows if row["session_id"]] if rows else None


def find_session(contact_pk: int, session_id: str | None) -> dict[str, Any] | None:
    """Read a session's id and variables; without an id those of the newest active or completed one.

    Whoever writes afterwards holds the contact (see contacts.lock_contact), so nobody else does meanwhile.
    """
    if session_id:
        meant = (Session.contact == contact_pk) & (Session.id == session_id)
    else:
        meant = Session.pk == _newest_shown(contact_pk)
    return next(iter(Session.select(Session.id, Session.session_data).where(meant).dicts()), None)


def insert_session(values: dict[str, Any]) -> None:
    Session.insert(values).execute()


def update_session(contact_pk: int, session_id: str, changes: dict[str, Any]) -> None:
    Session.update(changes).where(Session.contact == contact_pk, Session.id == session_id).execute()


def _newest_shown(contact_pk: Any) -> Any:
    sessions = Session.alias()
    return (
        sessions.select(sessions.pk)
        .where(sessions.contact == contact_pk, sessions.status.in_(SHOWN_STATUSES))
        .order_by(sessions.created_at.desc(), sessions.pk.desc())
        .limit(1)
    )
