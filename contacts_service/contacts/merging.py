"""Makes two contacts one."""

from typing import Any

from contacts_service.contacts.writes import change
from contacts_service.db.prepared import Row


def merge_contacts(survivor: Row, source: Row, *, values: dict[str, Any] | None = None) -> Row:
    """Merge; to be written."""
    raise NotImplementedError
