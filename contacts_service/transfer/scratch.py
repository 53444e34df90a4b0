"""What a dry run would have written, so that later rows find what earlier ones would have made of contacts."""

import sqlite3
from datetime import datetime
from typing import Any

import orjson

from contacts_service.contacts.consent import CONSENT
from contacts_service.contacts.identifiers import Identifier
from contacts_service.contacts.identity import Owner, Owners
from contacts_service.contacts.tables import IDENTIFIER_KINDS, KEPT_KINDS
from contacts_service.db.fields import JSONText
from contacts_service.errors import NoTemporarySpace

_KEPT = (
    *("pk", "id", "account_id", *IDENTIFIER_KINDS, "username", "name", "profile_name", "avatar_url", "assigned_to"),
    *("tags", *CONSENT, "metadata"),
)


class Scratch:
    """A temporary database that SQLite moves from memory to a file as it grows, and removes by itself."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._execute("CREATE TABLE contact (pk INTEGER PRIMARY KEY, document TEXT)")
        self._execute(
            "CREATE TABLE owner (account, kind, value, pk, current, PRIMARY KEY (account, kind, value)) WITHOUT ROWID"
        )
        self._last_key = 0

    def next_keys(self, count: int) -> range:
        """Keys for contacts that would be new; those of the real database are positive."""
        self._last_key -= count
        return range(self._last_key, self._last_key + count)

    def measure(self, account: str, values: dict[str, list[str]]) -> int:
        """Add up the bytes of what is remembered of the contacts that have these identifiers."""
        sql = """SELECT SUM(LENGTH(CAST(document AS BLOB))) FROM contact WHERE pk IN (
            SELECT owner.pk FROM json_each(?) AS kinds, json_each(kinds.value) AS given
            CROSS JOIN owner ON account = ? AND kind = kinds.key AND owner.value = given.value
        )"""
        return self._execute(sql, (JSONText.of(values), account)).fetchone()[0] or 0

    def overlay(self, account: str, owners: Owners, contacts: dict[int, Any], values: list[dict[str, None]]) -> None:
        """Change what was read of the database to what it would be."""
        for pk, contact in contacts.items():
            contact.update(self._read(pk))
        for kind, each in zip(IDENTIFIER_KINDS, values, strict=True):
            for value in each:
                found = self._execute(
                    "SELECT pk, current FROM owner WHERE account = ? AND kind = ? AND value = ?", (account, kind, value)
                ).fetchone()
                if found:
                    pk, current = found
                    owners.pop(Identifier(kind, value), None)
                    if pk is not None:
                        contact = contacts[pk] if pk in contacts else contacts.setdefault(pk, self._read(pk))
                        owners[Identifier(kind, value)] = Owner(contact, bool(current))

    def store(self, account: str, contact: dict[str, Any], replaced: dict[str, str]) -> None:
        """Remember a contact as it would be, and the identifiers that it would no longer have."""
        pk = contact["pk"]
        document = orjson.dumps({name: contact[name] for name in _KEPT}).decode()
        self._execute("INSERT OR REPLACE INTO contact VALUES (?, ?)", (pk, document))
        owned = [
            (kind, value, contact["pk"] if kind in KEPT_KINDS else None, False) for kind, value in replaced.items()
        ]
        owned += [(kind, contact[kind], pk, True) for kind in IDENTIFIER_KINDS if contact[kind]]
        for each in owned:
            self._execute("INSERT OR REPLACE INTO owner VALUES (?, ?, ?, ?, ?)", (account, *each))

    def _execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Raises NoTemporarySpace."""
        try:
            return self._database.execute(sql, values)
        except sqlite3.OperationalError as error:
            raise NoTemporarySpace(str(error)) from error

    def _read(self, pk: int) -> dict[str, Any]:
        found = self._execute("SELECT document FROM contact WHERE pk = ?", (pk,)).fetchone()
        if found is None:
            return {}
        contact: dict[str, Any] = orjson.loads(found[0])
        contact |= {name: JSONText(contact[name]) for name in ("tags", "metadata")}
        at = contact["marketing_opt_out_at"]
        return {**contact, "marketing_opt_out_at": datetime.fromisoformat(at) if at else None}
