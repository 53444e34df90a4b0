"""The table of API keys. A key's secret is never stored, only its hash."""

from peewee import TextField

from contacts_service.db.database import BaseModel
from contacts_service.db.fields import JSONTextField, UtcDateTimeField


class ApiKey(BaseModel):
    prefix = TextField(primary_key=True)  # The public part, by which a key is looked up and named in lists.
    name = TextField()
    secret_hash = TextField()
    scopes = JSONTextField()
    accounts = JSONTextField(null=True)  # Null for all.
    created_at = UtcDateTimeField()
    expires_at = UtcDateTimeField(null=True)
    revoked_at = UtcDateTimeField(null=True)
