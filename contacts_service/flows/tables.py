"""The table of flows. The address of a flow is its id together with its account, or no account."""

from peewee import BigAutoField, IntegerField, TextField

from contacts_service.db.database import BaseModel
from contacts_service.db.fields import IdField, JSONTextField, UtcDateTimeField


class Flow(BaseModel):
    pk = BigAutoField()
    # Callers choose ids, so two accounts may have the same one.
    id = IdField()
    account_id = IdField(null=True)
    name = TextField()
    panel_config = JSONTextField()
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()
    version = IntegerField()


NEWEST_FIRST = (Flow.created_at.desc(), Flow.pk.desc())
ALL_COLUMNS = (Flow.id, Flow.account_id, Flow.name, Flow.panel_config, Flow.created_at, Flow.updated_at, Flow.version)
