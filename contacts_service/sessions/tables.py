"""The table of chatbot sessions."""

from peewee import BigAutoField, ForeignKeyField, TextField

from contacts_service.contacts.tables import Contact
from contacts_service.db.database import BaseModel
from contacts_service.db.fields import IdField, JSONTextField, UtcDateTimeField


class Session(BaseModel):
    pk = BigAutoField()
    # The chatbot chooses ids, so two contacts may have the same one; it is unique by contact.
    id = IdField()
    contact = ForeignKeyField(Contact)
    # No foreign key: a session outlives its flow, and may begin before the flow is stored.
    flow_id = IdField(null=True)
    status = TextField()
    session_data = JSONTextField()
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()
    merged_from = IdField(null=True)  # See ContactMerge.


NEWEST_FIRST = (Session.created_at.desc(), Session.pk.desc())
