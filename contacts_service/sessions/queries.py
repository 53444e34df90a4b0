"""Queries of chatbot sessions. They return rows as dicts, with the name and panel of the session's flow."""

from typing import Any

from peewee import JOIN, Tuple, fn

from contacts_service.contacts.tables import Contact, by_id
from contacts_service.db.fields import JSONText
from contacts_service.db.pages import newest_within_bytes
from contacts_service.db.prepared import Row, columns_of, prepared
from contacts_service.flows.tables import Flow
from contacts_service.sessions.tables import NEWEST_FIRST, Session

_CURRENT_STATUSES = ("active", "completed")

# The flow that a session names: its account's own, or else the one of that id that belongs to no account.
_OwnFlow, _SharedFlow = Flow.alias(), Flow.alias()
_COLUMNS = (
    Session.id.alias("session_id"),
    Session.flow_id,
    fn.COALESCE(_OwnFlow.name, _SharedFlow.name).alias("flow_name"),
    Session.status,
    Session.session_data,
    Session.created_at,
    Session.updated_at,
)
_PANEL = (
    fn.COALESCE(_OwnFlow.panel_config, _SharedFlow.panel_config)
    .python_value(lambda text: None if text is None else JSONText(text))
    .alias("panel_config")
)


@prepared(one=True)
def get_current_session(contact_id: Any, allowed_accounts: Any) -> Any:
    """Read the newest active or completed session of a contact.

    All columns are None if the contact has no such session; the row is None if there is no such contact.
    """
    newest = _newest_current(Contact.pk)
    contacts = Contact.select(*_COLUMNS, _PANEL).join(Session, JOIN.LEFT_OUTER, on=(Session.pk == newest))
    return _with_flow(contacts).where(by_id(contact_id, allowed_accounts))


@prepared(one=True)
def get_session(contact_pk: Any, session_id: Any) -> Any:
    contacts = Contact.select(*_COLUMNS, _PANEL).join(Session)
    return _with_flow(contacts).where(Session.contact == contact_pk, Session.id == session_id)


@prepared(one=True)
def position_of(contact_id: Any, allowed_accounts: Any, session_id: Any) -> Any:
    """When a contact's session began and its key, which are its position in the list."""
    session = (Session.id == session_id) & by_id(contact_id, allowed_accounts)
    return Session.select(Session.created_at, Session.pk).join(Contact).where(session)


@prepared
def list_sessions(contact_id: Any, allowed_accounts: Any, limit: Any, before: Row | None) -> Any:
    """Read the newest sessions of a contact before a position; see newest_within_bytes for ``found``."""
    sessions = Session.select().join(Contact).where(by_id(contact_id, allowed_accounts))
    if before is not None:
        position = Tuple(before["created_at"].of(Session.created_at), before["pk"])
        sessions = sessions.where(Tuple(Session.created_at, Session.pk) < position)
    page = newest_within_bytes(sessions, Session.session_data, limit)
    found = page.c.found.alias("found")
    listed = Contact.select(*_COLUMNS, found).join(Session).join(page, on=page.c.pk == Session.pk)
    return _with_flow(listed).order_by(*NEWEST_FIRST)


@prepared(one=True)
def find_session(contact_pk: Any, session_id: Any) -> Any:
    """Read id and variables of a session; without an id those of the newest active or completed one.

    A caller that writes afterwards holds the lock of the contact.
    """
    if session_id is None:
        session = Session.pk == _newest_current(contact_pk)
    else:
        session = (Session.contact == contact_pk) & (Session.id == session_id)
    return Session.select(Session.id, Session.session_data).where(session)


@prepared
def insert_session(values: Row) -> Any:
    return Session.insert(columns_of(Session, values)).returning(Session.pk)


@prepared
def update_session(contact_pk: Any, session_id: Any, changes: Row) -> Any:
    session = (Session.contact == contact_pk) & (Session.id == session_id)
    return Session.update(columns_of(Session, changes)).where(session).returning(Session.pk)


def _with_flow(sessions: Any) -> Any:
    own = (_OwnFlow.id == Session.flow_id) & (_OwnFlow.account_id == Contact.account_id)
    shared = (_SharedFlow.id == Session.flow_id) & _SharedFlow.account_id.is_null()
    return sessions.join(_OwnFlow, JOIN.LEFT_OUTER, on=own).join(_SharedFlow, JOIN.LEFT_OUTER, on=shared)


def _newest_current(contact_pk: Any) -> Any:
    sessions = Session.alias()
    return (
        sessions.select(sessions.pk)
        .where(sessions.contact == contact_pk, sessions.status.in_(_CURRENT_STATUSES))
        .order_by(sessions.created_at.desc(), sessions.pk.desc())
        .limit(1)
    )
