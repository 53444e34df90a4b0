"""Use cases of API keys.

A key is ``contacts_PREFIX_SECRET``. The prefix is public: it finds the key and names it in lists. The secret holds
256 random bits and is stored as its SHA-256: no one can try so many, so a slow hash would only slow callers down.
"""

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any

from contacts_service.db.database import reading, writing
from contacts_service.keys.tables import ApiKey

KEY_MARK = "contacts"
"""The first part of every key, by which people and programs that look for leaked secrets recognise it."""


@writing()
def create_key(
    name: str, *, scopes: list[str], accounts: list[str] | None = None, expires_at: datetime | None = None
) -> str:
    """Make a key and return it, for the only time; ``accounts`` limits it to these, None doesn't."""
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    ApiKey.insert(
        prefix=prefix,
        name=name,
        secret_hash=hash_secret(secret),
        scopes=scopes,
        accounts=accounts,
        created_at=datetime.now(UTC),
        expires_at=expires_at,
    ).execute()
    return f"{KEY_MARK}_{prefix}_{secret}"


@reading()
def list_keys() -> list[dict[str, Any]]:
    """Read all keys, oldest first: prefix, name, scopes, accounts (None for all), the times and the secret's hash."""
    return [
        {**key, "scopes": key["scopes"].parsed(), "accounts": key["accounts"] and key["accounts"].parsed()}
        for key in ApiKey.select().order_by(ApiKey.created_at, ApiKey.prefix).dicts()
    ]


@writing()
def revoke_key(prefix: str) -> bool:
    """Revoke a key, within five seconds everywhere; a second time changes nothing. False if no key has the prefix."""
    now = datetime.now(UTC)
    ApiKey.update(revoked_at=now).where(ApiKey.prefix == prefix, ApiKey.revoked_at.is_null()).execute()
    return bool(ApiKey.select().where(ApiKey.prefix == prefix).exists())


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
