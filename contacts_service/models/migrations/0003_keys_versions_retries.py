"""API keys, the answers to requests that may be repeated, and flows that belong to an account and have a version."""

from peewee import BigAutoField, IntegerField, TextField

from contacts_service.models.fields import IdField, JSONTextField, TimeField


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001
    class ApiKey(db.Model):
        prefix = TextField(primary_key=True)
        name = TextField()
        secret_hash = TextField()
        scopes = JSONTextField()
        accounts = JSONTextField(null=True)
        created_at = TimeField()
        expires_at = TimeField(null=True)
        revoked_at = TimeField(null=True)

        class Meta:
            table_name = "api_key"

    class FirstAnswer(db.Model):
        key = TextField(primary_key=True)
        request = TextField()
        status = IntegerField()
        headers = JSONTextField()
        body = TextField(null=True)
        contact_id = IdField(null=True)
        created_at = TimeField()

        class Meta:
            table_name = "first_answer"

    FirstAnswer.add_index(FirstAnswer.index(FirstAnswer.created_at, name="first_answer_created"))
    FirstAnswer.add_index(FirstAnswer.index(FirstAnswer.contact_id, name="first_answer_contact"))

    class Flow(db.Model):
        pk = BigAutoField()
        id = IdField()
        account_id = IdField(null=True)
        name = TextField()
        panel_config = JSONTextField()
        created_at = TimeField()
        updated_at = TimeField()
        version = IntegerField()

        class Meta:
            table_name = "flow"

    newest_first = (Flow.created_at.desc(), Flow.pk.desc())
    with_account, without_account = Flow.account_id.is_null(False), Flow.account_id.is_null()
    for index in (
        Flow.index(Flow.id, Flow.account_id, unique=True, name="flow_id_account").where(with_account),
        Flow.index(Flow.id, unique=True, name="flow_id").where(without_account),
        Flow.index(*newest_first, name="flow_created"),
        Flow.index(Flow.account_id, *newest_first, name="flow_account_created"),
    ):
        Flow.add_index(index)

    # SQLite can't change a primary key. Dropped first, because names of indexes stay with a table that is renamed.
    db.execute_sql("CREATE TEMPORARY TABLE flow_before AS SELECT * FROM flow")
    db.execute_sql("DROP TABLE flow")
    db.create_tables([ApiKey, FirstAnswer, Flow])
    db.execute_sql(
        "INSERT INTO flow (id, name, panel_config, created_at, updated_at, version) "
        "SELECT id, name, panel_config, created_at, updated_at, 1 FROM flow_before ORDER BY created_at, id DESC"
    )
    db.execute_sql("DROP TABLE flow_before")
