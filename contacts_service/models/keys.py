"""The table of API keys and the verbs on it. A key's secret is never stored, only its hash."""

from datetime import datetime
from typing import Any

from peewee import TextField

from contacts_service.models.database import Table
from contacts_service.models.fields import JSONTextField, TimeField


class ApiKey(Table):
    prefix = TextField(primary_key=True)  # The public part, by which a key is found and spoken of.
    name = TextField()
    secret_hash = TextField()
    scopes = JSONTextField()
    accounts = JSONTextField(null=True)  # Null for all.
    created_at = TimeField()
    expires_at = TimeField(null=True)
    revoked_at = TimeField(null=True)


def insert_key(values: dict[str, Any]) -> None:
    ApiKey.insert(values).execute()


def list_keys() -> list[dict[str, Any]]:
    """Read all keys, those that were revoked too, oldest first."""
    return list(ApiKey.select().order_by(ApiKey.created_at, ApiKey.prefix).dicts())


def revoke_key(prefix: str, now: datetime) -> bool:
    """Revoke a key; one that was revoked before keeps its time. False when there is none."""
    ApiKey.update(revoked_at=now).where(ApiKey.prefix == prefix, ApiKey.revoked_at.is_null()).execute()
    return bool(ApiKey.select().where(ApiKey.prefix == prefix).exists())
