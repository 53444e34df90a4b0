"""Use cases of API keys, and the copy in memory that requests are checked against.

A key is ``contacts_PREFIX_SECRET``. The prefix is public: it finds the key and names it in lists. The secret holds
256 random bits and is stored as its SHA-256: nobody can try so many, so a slow hash would only slow callers down.
"""

import hashlib
import hmac
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import Any

from contacts_service.errors import NotFound, Unauthenticated
from contacts_service.models import keys
from contacts_service.models.database import reading, writing
from contacts_service.services.access import Caller

MARK = "contacts"  # By which people, and programs that look for leaked secrets, know what it is.
# Seconds. A key that was revoked works until the copy is read again, five seconds at the most.
_RENEWED_AFTER = 2.0
_TRUSTED_FOR = 4.0
_UNKNOWN_AFTER = 0.1  # A key that was just made works this soon; whoever tries keys out costs ten queries a second.


@writing()
def create_key(
    name: str, *, scopes: list[str], accounts: list[str] | None = None, expires_at: datetime | None = None
) -> str:
    """Make a key and return it, for the only time; ``accounts`` limits it to these, None doesn't."""
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    keys.insert_key(
        {
            "prefix": prefix,
            "name": name,
            "secret_hash": _hash(secret),
            "scopes": scopes,
            "accounts": accounts,
            "created_at": datetime.now(UTC),
            "expires_at": expires_at,
        }
    )
    return f"{MARK}_{prefix}_{secret}"


@reading()
def list_keys() -> list[dict[str, Any]]:
    """Read all keys, oldest first: prefix, name, scopes, accounts (None for all), the times and the secret's hash."""
    return [
        {**key, "scopes": key["scopes"].parsed(), "accounts": key["accounts"] and key["accounts"].parsed()}
        for key in keys.list_keys()
    ]


@writing()
def revoke_key(prefix: str) -> None:
    """Make a key worthless within five seconds. Raises NotFound."""
    if not keys.revoke_key(prefix, datetime.now(UTC)):
        raise NotFound("key", prefix)


class Keyring:
    """The keys in the memory of one process. Threads share it."""

    def __init__(self) -> None:
        self._renewing = threading.Lock()
        self._keys: dict[str, tuple[dict[str, Any], Caller]] = {}
        self._read_at = float("-inf")

    def is_empty(self) -> bool:
        """Tell whether no key was ever made. Raises Unavailable."""
        return not self._current()

    def caller_of(self, presented: str) -> Caller:
        """Find out whose key it is. Raises Unauthenticated, Unavailable."""
        mark, _, rest = presented.partition("_")
        prefix, _, secret = rest.partition("_")
        found = self._current().get(prefix) or self._current(_UNKNOWN_AFTER).get(prefix)
        if mark != MARK or not found:
            raise Unauthenticated
        key, caller = found
        if not hmac.compare_digest(_hash(secret), key["secret_hash"]):
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
        began = time.monotonic()  # What is revoked while the query runs may be missing from its answer.
        read = {key["prefix"]: (key, _caller(key)) for key in list_keys()}
        if began > self._read_at:
            self._keys, self._read_at = read, began


def _caller(key: dict[str, Any]) -> Caller:
    accounts = None if key["accounts"] is None else frozenset(key["accounts"])
    return Caller(prefix=key["prefix"], name=key["name"], scopes=frozenset(key["scopes"]), accounts=accounts)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
