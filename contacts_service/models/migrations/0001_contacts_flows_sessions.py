"""Contacts with their tags and search index, flows, chatbot sessions.

The tables are written out here as they were at this step, independent of what the models say later.
"""

from peewee import (
    SQL,
    BigAutoField,
    BooleanField,
    Check,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    TextField,
)

from contacts_service.models.fields import IdField, JSONTextField, OrderedTextField, TimeField

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

RECENCY = "GENERATED ALWAYS AS (COALESCE(last_message_at, '0001-01-01T00:00:00.000000Z')) STORED"


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001
    class Contact(db.Model):
        pk = BigAutoField()
        id = IdField(unique=True)
        account_id = IdField(null=True)
        phone_number = TextField(
            null=True,
            constraints=[Check("substr(phone_number, 1, 1) = '+' AND length(phone_number) BETWEEN 8 AND 16")],
        )
        bsuid = TextField(null=True)
        username = TextField(null=True)
        name = TextField(null=True)
        profile_name = TextField(null=True)
        avatar_url = TextField(null=True)
        assigned_to = IdField(null=True)
        tags = JSONTextField()
        marketing_opt_out = BooleanField()
        metadata = JSONTextField()
        search_text = TextField()
        last_message_at = TimeField(null=True)
        recency = TimeField(constraints=[SQL(RECENCY)])
        last_message_key = OrderedTextField(null=True)
        last_message_preview = TextField(null=True)
        last_inbound_at = TimeField(null=True)
        unread_count = IntegerField()
        created_at = TimeField()
        updated_at = TimeField()
        version = IntegerField()

        class Meta:
            table_name = "contact"
            constraints = [Check("phone_number IS NOT NULL OR bsuid IS NOT NULL", "contact_identified")]

    recent = (Contact.recency.desc(), Contact.created_at.desc(), Contact.id)
    created = (Contact.created_at, Contact.id)
    with_account, without_account = Contact.account_id.is_null(False), Contact.account_id.is_null()
    account_phone, account_bsuid = (Contact.account_id, Contact.phone_number), (Contact.account_id, Contact.bsuid)
    for index in (
        Contact.index(*recent, name="contact_recent"),
        Contact.index(Contact.account_id, *recent, name="contact_account_recent"),
        Contact.index(Contact.assigned_to, *recent, name="contact_assigned_recent"),
        Contact.index(*created, name="contact_created"),
        Contact.index(Contact.account_id, *created, name="contact_account_created"),
        Contact.index(*account_phone, unique=True, name="contact_account_phone").where(with_account),
        Contact.index(Contact.phone_number, unique=True, name="contact_phone").where(without_account),
        Contact.index(*account_bsuid, unique=True, name="contact_account_bsuid").where(with_account),
        Contact.index(Contact.bsuid, unique=True, name="contact_bsuid").where(without_account),
    ):
        Contact.add_index(index)

    class ContactTag(db.Model):
        contact = ForeignKeyField(Contact, on_delete="CASCADE", index=False)
        tag = TextField()

        class Meta:
            table_name = "contact_tag"
            primary_key = CompositeKey("contact", "tag")

    ContactTag.add_index(ContactTag.index(ContactTag.tag, ContactTag.contact, name="contact_tag_tag"))

    class Flow(db.Model):
        id = IdField(primary_key=True)
        name = TextField()
        panel_config = JSONTextField()
        created_at = TimeField()
        updated_at = TimeField()

        class Meta:
            table_name = "flow"

    Flow.add_index(Flow.index(Flow.created_at.desc(), Flow.id, name="flow_created"))

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

    newest_first = (Session.created_at.desc(), Session.pk.desc())
    Session.add_index(Session.index(Session.contact, Session.id, unique=True, name="session_contact_id"))
    Session.add_index(Session.index(Session.contact, *newest_first, name="session_contact_created"))

    db.create_tables([Contact, ContactTag, Flow, Session])
    search_index = SQLITE_SEARCH_INDEX if db.kind == "sqlite" else POSTGRESQL_SEARCH_INDEX
    for statement in search_index.split(";;"):
        db.execute_sql(statement)
