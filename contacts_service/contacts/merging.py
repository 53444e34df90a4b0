"""Makes two contacts one."""

from typing import Any

from contacts_service.db.prepared import Row


def merge_contacts(survivor: Row, source: Row, *, values: dict[str, Any] | None = None) -> Row:
    """Make two contacts one, of which the source ends, within a transaction that has locked both.

    The survivor's values win, and the source's fill gaps. ``values`` are columns that the survivor has afterwards
    whatever this rule says: when WhatsApp says that two are one person, it also says which identifiers are current
    (all four kinds are among them, and profile fields). Rows of ``contact_identifier`` that are not the current ones
    are former, those of phone numbers too.

    Returns the survivor, including internal columns.
    """
    raise NotImplementedError
