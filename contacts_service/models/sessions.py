"""The table of chatbot sessions and the verbs on it."""

from typing import Any

from peewee import JOIN, BigAutoField, Check, ForeignKeyField, TextField, fn

from contacts_service.models.accounts import Accounts
from contacts_service.models.contacts import Contact, named
from contacts_service.models.database import Table
from contacts_service.models.fields import IdField, JSONText, JSONTextField, TimeField
from contacts_service.models.flows import Flow
from contacts_service.models.prepared import Row, columns_of, first, prepared

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

# The flow that a session names: its account's own, or else the one of that id that belongs to no account.
OwnFlow, SharedFlow = Flow.alias(), Flow.alias()
_PANEL = fn.COALESCE(OwnFlow.panel_config, SharedFlow.panel_config).python_value(
    lambda text: None if text is None else JSONText(text)
)
OF_SESSION = (
    Session.id.alias("session_id"),
    Session.flow_id,
    fn.COALESCE(OwnFlow.name, SharedFlow.name).alias("flow_name"),
    Session.status,
    Session.session_data,
    Session.created_at,
    Session.updated_at,
)


def get_shown_session(contact_id: str, accounts: Accounts) -> Row | None:
    """Read the newest active or completed session of a contact with its flow's name and panel.

    All columns are None when the contact has no such session; the whole is None when there is no such contact.
    """
    return first(_get_shown(contact_id, accounts))


@prepared
def _get_shown(contact_id: Any, accounts: Any) -> Any:
    newest = _newest_shown(Contact.pk)
    found = Contact.select(*OF_SESSION, _PANEL.alias("panel_config")).join(
        Session, JOIN.LEFT_OUTER, on=(Session.pk == newest)
    )
    return _with_flow(found).where(named(contact_id, accounts))


def get_session(contact_pk: int, session_id: str) -> Row:
    """Read one session, which must exist, in the shape of get_shown_session."""
    return _get(contact_pk, session_id)[0]


@prepared
def _get(contact_pk: Any, session_id: Any) -> Any:
    found = Contact.select(*OF_SESSION, _PANEL.alias("panel_config")).join(Session)
    return _with_flow(found).where(Session.contact == contact_pk, Session.id == session_id)


def list_sessions(contact_id: str, accounts: Accounts) -> list[Row] | None:
    """Read all sessions of a contact, newest first; None when there is no such contact."""
    rows = _list(contact_id, accounts)
    return [row for row in rows if row["session_id"]] if rows else None


@prepared
def _list(contact_id: Any, accounts: Any) -> Any:
    found = _with_flow(Contact.select(*OF_SESSION).join(Session, JOIN.LEFT_OUTER))
    return found.where(named(contact_id, accounts)).order_by(*NEWEST_FIRST)


def find_session(contact_pk: int, session_id: str | None) -> Row | None:
    """Read a session's id and variables; without an id those of the newest active or completed one.

    Whoever writes afterwards holds the contact (see contacts.lock_contact), so nobody else does meanwhile.
    """
    return first(_find(contact_pk, session_id))


@prepared
def _find(contact_pk: Any, session_id: Any) -> Any:
    if session_id is None:
        meant = Session.pk == _newest_shown(contact_pk)
    else:
        meant = (Session.contact == contact_pk) & (Session.id == session_id)
    return Session.select(Session.id, Session.session_data).where(meant)


def insert_session(values: Row) -> None:
    _insert(values)


@prepared
def _insert(values: Row) -> Any:
    return Session.insert(columns_of(Session, values)).returning(Session.pk)


def update_session(contact_pk: int, session_id: str, changes: Row) -> None:
    _update(contact_pk, session_id, changes)


@prepared
def _update(contact_pk: Any, session_id: Any, changes: Row) -> Any:
    meant = (Session.contact == contact_pk) & (Session.id == session_id)
    return Session.update(columns_of(Session, changes)).where(meant).returning(Session.pk)


def _with_flow(sessions: Any) -> Any:
    own = (OwnFlow.id == Session.flow_id) & (OwnFlow.account_id == Contact.account_id)
    shared = (SharedFlow.id == Session.flow_id) & SharedFlow.account_id.is_null()
    return sessions.join(OwnFlow, JOIN.LEFT_OUTER, on=own).join(SharedFlow, JOIN.LEFT_OUTER, on=shared)


def _newest_shown(contact_pk: Any) -> Any:
    sessions = Session.alias()
    return (
        sessions.select(sessions.pk)
        .where(sessions.contact == contact_pk, sessions.status.in_(SHOWN_STATUSES))
        .order_by(sessions.created_at.desc(), sessions.pk.desc())
        .limit(1)
    )
