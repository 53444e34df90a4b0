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
_with_account, _without_account = Flow.account_id.is_null(False), Flow.account_id.is_null()
for _index in (
    Flow.index(Flow.id, Flow.account_id, unique=True, name="flow_id_account").where(_with_account),
    Flow.index(Flow.id, unique=True, name="flow_id").where(_without_account),
    Flow.index(*NEWEST_FIRST, name="flow_created"),
    Flow.index(Flow.account_id, *NEWEST_FIRST, name="flow_account_created"),
):
    Flow.add_index(_index)

ALL_COLUMNS = (Flow.id, Flow.account_id, Flow.name, Flow.panel_config, Flow.created_at, Flow.updated_at, Flow.version)
