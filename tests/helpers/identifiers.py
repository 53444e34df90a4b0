"""Compares the table of identifiers with what the contacts show of it."""

from typing import Any

# Current identifiers that their contact doesn't show, and shown ones that are not its current identifier. The same SQL
# runs on both databases.
_SHOWN = """
SELECT pk, COALESCE(CAST(account_id AS TEXT), 'none') AS account, '{kind}' AS kind, {kind} AS value
FROM contact WHERE {kind} IS NOT NULL
"""
_CURRENT = "SELECT contact_id, account, kind, value FROM contact_identifier WHERE current"
_KINDS = ("phone_number", "bsuid", "parent_bsuid", "external_id")


def assert_identifiers_are_shown(connection: Any) -> None:
    """``connection`` is one of a driver, or has ``execute`` as it has."""
    shown = f"SELECT * FROM ({' UNION ALL '.join(_SHOWN.format(kind=kind) for kind in _KINDS)}) AS shown"
    for query in (f"{shown} EXCEPT {_CURRENT}", f"{_CURRENT} EXCEPT {shown}"):
        assert connection.execute(f"SELECT * FROM ({query}) AS different").fetchall() == []
