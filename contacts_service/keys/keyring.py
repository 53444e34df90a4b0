"""API keys: made, listed and revoked in the database, and the copy in memory that requests are checked against.

A key is ``contacts_PREFIX_SECRET``. The prefix is public: it finds the key and names it in lists. The secret holds
256 random bits and is stored as its SHA-256: no one can try so many, so a slow hash would only slow callers down.
"""

import hashlib
import hmac
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import Any

from contacts_service.db.database import database, reading, writing
from contacts_service.errors import Unauthenticated
from contacts_service.keys.tables import ApiKey
from contacts_service.web.auth import Caller

KEY_MARK = "contacts"
"""The first part of every key, by which people and programs that look for leaked secrets recognise it."""
# Seconds. A revoked key works until the copy is read again, five seconds at most.
_RENEWED_AFTER = 2.0
_TRUSTED_FOR = 4.0
_UNKNOWN_AFTER = 0.1  # A new key works this soon; trying out keys costs at most ten queries a second.


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


class Keyring:
    """The keys in the memory of one process. Threads share it."""

    def __init__(self) -> None:
        self._renewing = threading.Lock()
        self._keys: dict[str, tuple[dict[str, Any], Caller]] = {}  # By prefix.
        self._read_at = float("-inf")

    def is_empty(self) -> bool:
        """Whether no key was ever made. Raises Unavailable."""
        return not self._current()

    def knows(self, presented: str) -> bool:
        """Whether this is a valid key. Raises Unavailable."""
        try:
            return bool(self.caller_of(presented))
        except Unauthenticated:
            return False

    def caller_of(self, presented: str) -> Caller:
        """The caller whose key this is. Raises Unauthenticated, Unavailable."""
        prefix, secret_hash = prefix_and_hash(presented)
        found = self._current().get(prefix) or self._current(_UNKNOWN_AFTER).get(prefix)
        if not found:
            raise Unauthenticated
        key, caller = found
        if not hmac.compare_digest(secret_hash, key["secret_hash"]):
            raise Unauthenticated
        if key["revoked_at"] or (key["expires_at"] and key["expires_at"] <= datetime.now(UTC)):
            raise Unauthenticated
        return caller

    def _current(self, renewed_after: float = _RENEWED_AFTER) -> dict[str, tuple[dict[str, Any], Caller]]:
        age = time.monotonic() - self._read_at
        if age > _TRUSTED_FOR:
            self._renew()
        elif age > renewed_after and self._renewing.acquire(blocking=False):
            # One request reads; the others go on with the copy that they have.
            try:
                self._renew()
            finally:
                self._renewing.release()
        return self._keys

    def _renew(self) -> None:
        began = time.monotonic()  # A key that is revoked while the query runs may still be valid in its result.
        read = {key["prefix"]: (key, _caller_of(key)) for key in list_keys()}
        if began > self._read_at:
            self._keys, self._read_at = read, began


def _caller_of(key: dict[str, Any]) -> Caller:
    accounts = None if key["accounts"] is None else frozenset(key["accounts"])
    return Caller(prefix=key["prefix"], name=key["name"], scopes=frozenset(key["scopes"]), allowed_accounts=accounts)
