"""Use cases of API keys.

A key is ``contacts_PREFIX_SECRET``. The prefix is public: it finds the key and names it in lists. The secret holds
256 random bits and is stored as its SHA-256: no one can try so many, so a slow hash would only slow callers down.
"""

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any

from contacts_service.db.database import database, reading, writing
from contacts_service.keys.tables import ApiKey

KEY_MARK = "contacts"
"""The first part of every key, by which people and programs that look for leaked secrets recognise it."""


@writing()
def create_key(
    name: str, *, scopes: list[str], accounts: list[str] | None = None, expires_at: datetime | None = None
) -> str:
    """Make a key and return it, for the only time; ``accounts`` limits it to these, None doesn't."""
    key = f"{KEY_MARK}_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
    _insert(key, name=name, scopes=scopes, accounts=accounts, expires_at=expires_at)
    return key


@writing()
def create_first_key(key: str, *, scopes: list[str]) -> None:
    """Take this as a key if none was ever made. Of the processes that do so at once, one does."""
    database.lock_key("first key")
    if not ApiKey.select().exists():
        _insert(key, name="first", scopes=scopes)


def _insert(key: str, **values: Any) -> None:
    prefix, secret_hash = prefix_and_hash(key)
    ApiKey.insert(prefix=prefix, secret_hash=secret_hash, created_at=datetime.now(UTC), **values).execute()


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


def prefix_and_hash(key: str) -> tuple[str, str]:
    """Return a key's prefix and the hash of its secret. A key that an operator chose has the prefix ``first``."""
    mark, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    if mark != KEY_MARK or not secret:
        prefix, secret = "first", key
    return prefix, hashlib.sha256(secret.encode()).hexdigest()
