"""The copy of the API keys in memory that requests are checked against."""

import hmac
import threading
import time
from datetime import UTC, datetime
from typing import Any

from contacts_service.errors import Unauthenticated
from contacts_service.keys.use_cases import list_keys, prefix_and_hash
from contacts_service.web.auth import Caller

# Seconds. A revoked key works until the copy is read again, five seconds at most.
_RENEWED_AFTER = 2.0
_TRUSTED_FOR = 4.0
_UNKNOWN_AFTER = 0.1  # A new key works this soon; trying out keys costs at most ten queries a second.


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
