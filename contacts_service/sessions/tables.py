"""The table of chatbot sessions."""

from peewee import BigAutoField, Check, ForeignKeyField, TextField

from contacts_service.contacts.tables import Contact
from contacts_service.db.database import BaseModel
from contacts_service.db.fields import IdField, JSONTextField, UtcDateTimeField
from schemas.constants import SESSION_STATUSES


class Session(BaseModel):
    pk = BigAutoField()
    # The chatbot chooses ids, so two contacts may have the same one; it is unique by contact, see below.
    id = IdField()
    contact = ForeignKeyField(Contact, on_delete="CASCADE", index=False)
    # No foreign key: a session outlives its flow, and may begin before the flow is stored.
    flow_id = IdField(null=True)
    status = TextField(constraints=[Check(f"status IN {SESSION_STATUSES}")])
    session_data = JSONTextField()
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()


NEWEST_FIRST = (Session.created_at.desc(), Session.pk.desc())
Session.add_index(Session.index(Session.contact, Session.id, unique=True, name="session_contact_id"))
Session.add_index(Session.index(Session.contact, *NEWEST_FIRST, name="session_contact_created"))
