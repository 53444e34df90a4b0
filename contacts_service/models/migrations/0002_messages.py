"""Messages, and what comes out of order: statuses before their message, messages under a former bsuid."""

from peewee import BigAutoField, Check, ForeignKeyField, TextField

from contacts_service.models.fields import IdField, JSONTextField, OrderedTextField, TimeField

IN_STATUSES = "status IN ('pending', 'sent', 'delivered', 'failed', 'read')"


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001
    class Contact(db.Model):
        pk = BigAutoField()

        class Meta:
            table_name = "contact"

    class Message(db.Model):
        pk = BigAutoField()
        id = IdField(unique=True)
        contact = ForeignKeyField(Contact, on_delete="CASCADE", index=False)
        account_id = IdField(null=True)
        wa_message_id = TextField(null=True)
        direction = TextField(constraints=[Check("direction IN ('incoming', 'outgoing')")])
        type = TextField()
        content = JSONTextField()
        status = TextField(null=True, constraints=[Check(IN_STATUSES)])
        status_at = TimeField(null=True)
        error = JSONTextField(null=True)
        timestamp = TimeField()
        key = OrderedTextField()
        created_at = TimeField()

        class Meta:
            table_name = "message"

    with_account, without_account = Message.account_id.is_null(False), Message.account_id.is_null()
    account_wa = (Message.account_id, Message.wa_message_id)
    history = (Message.contact, Message.timestamp, Message.key)
    Message.add_index(Message.index(*history, name="message_contact_history"))
    Message.add_index(Message.index(*account_wa, unique=True, name="message_account_wa").where(with_account))
    Message.add_index(Message.index(Message.wa_message_id, unique=True, name="message_wa").where(without_account))

    class FormerBsuid(db.Model):
        key = TextField(primary_key=True)
        contact = ForeignKeyField(Contact, on_delete="CASCADE")

        class Meta:
            table_name = "former_bsuid"
            legacy_table_names = False

    class EarlyStatus(db.Model):
        key = TextField(primary_key=True)
        status = TextField(constraints=[Check(IN_STATUSES)])
        status_at = TimeField()
        error = JSONTextField(null=True)
        created_at = TimeField()

        class Meta:
            table_name = "early_status"

    EarlyStatus.add_index(EarlyStatus.index(EarlyStatus.created_at, name="early_status_created"))

    db.create_tables([FormerBsuid, Message, EarlyStatus])
