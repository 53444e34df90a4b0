"""Contacts with their search index, flows, chatbot sessions.

The tables are written out here as they were at this step, independent of what the models say later.
"""

from peewee import BigAutoField, Check, ForeignKeyField, TextField

from contacts_service.models.fields import IdField, JSONTextField, NewestFirst, TimeField

# An external-content table holds the index alone; triggers keep it in step with the contacts
# (sqlite.org/fts5.html, "External Content Tables"). The text is case folded before it is stored.
SQLITE_SEARCH_INDEX = """
CREATE VIRTUAL TABLE contact_search USING fts5(
    search_text, content='contact', content_rowid='pk', tokenize='trigram case_sensitive 1'
);;
CREATE TRIGGER contact_search_insert AFTER INSERT ON contact BEGIN
    INSERT INTO contact_search (rowid, search_text) VALUES (new.pk, new.search_text);
END;;
CREATE TRIGGER contact_search_delete AFTER DELETE ON contact BEGIN
    INSERT INTO contact_search (contact_search, rowid, search_text) VALUES ('delete', old.pk, old.search_text);
END;;
CREATE TRIGGER contact_search_update AFTER UPDATE OF search_text ON contact
WHEN old.search_text <> new.search_text BEGIN
    INSERT INTO contact_search (contact_search, rowid, search_text) VALUES ('delete', old.pk, old.search_text);
    INSERT INTO contact_search (rowid, search_text) VALUES (new.pk, new.search_text);
END
"""
POSTGRESQL_SEARCH_INDEX = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;;
CREATE INDEX contact_search_text ON contact USING gin (search_text gin_trgm_ops)
"""


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001
    class Contact(db.Model):
        pk = BigAutoField()
        id = IdField(unique=True)
        account_id = IdField(null=True)
        phone_number = TextField(
            constraints=[Check("substr(phone_number, 1, 1) = '+' AND length(phone_number) BETWEEN 8 AND 16")]
        )
        name = TextField(null=True)
        profile_name = TextField(null=True)
        avatar_url = TextField(null=True)
        assigned_to = IdField(null=True)
        metadata = JSONTextField()
        search_text = TextField()
        last_message_at = TimeField(null=True)
        created_at = TimeField()
        updated_at = TimeField()

        class Meta:
            table_name = "contact"

    recent = (NewestFirst(Contact.last_message_at), NewestFirst(Contact.created_at), Contact.id)
    with_account, without_account = Contact.account_id.is_null(False), Contact.account_id.is_null()
    account_phone = (Contact.account_id, Contact.phone_number)
    for index in (
        Contact.index(*recent, name="contact_recent"),
        Contact.index(Contact.account_id, *recent, name="contact_account_recent"),
        Contact.index(*account_phone, unique=True, name="contact_account_phone").where(with_account),
        Contact.index(Contact.phone_number, unique=True, name="contact_phone").where(without_account),
    ):
        Contact.add_index(index)

    class Flow(db.Model):
        id = IdField(primary_key=True)
        name = TextField()
        panel_config = JSONTextField()
        created_at = TimeField()
        updated_at = TimeField()

        class Meta:
            table_name = "flow"

    Flow.add_index(Flow.index(NewestFirst(Flow.created_at), Flow.id, name="flow_created"))

    class Session(db.Model):
        pk = BigAutoField()
        id = IdField()
        contact = ForeignKeyField(Contact, on_delete="CASCADE", index=False)
        flow_id = IdField(null=True)
        status = TextField(constraints=[Check("status IN ('active', 'completed', 'cancelled', 'timeout')")])
        session_data = JSONTextField()
        created_at = TimeField()
        updated_at = TimeField()

        class Meta:
            table_name = "session"

    newest_first = (NewestFirst(Session.created_at), NewestFirst(Session.pk))
    Session.add_index(Session.index(Session.contact, Session.id, unique=True, name="session_contact_id"))
    Session.add_index(Session.index(Session.contact, *newest_first, name="session_contact_created"))

    db.create_tables([Contact, Flow, Session])
    search_index = SQLITE_SEARCH_INDEX if db.kind == "sqlite" else POSTGRESQL_SEARCH_INDEX
    for statement in search_index.split(";;"):
        db.execute_sql(statement)
