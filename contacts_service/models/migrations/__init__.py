"""Numbered steps from an empty database to today's, each applied once, by whoever comes first."""

import logging
from pathlib import Path

from playhouse.migrations import Runner

from contacts_service.models.database import database, reading, writing

_log = logging.getLogger(__name__)


def upgrade() -> list[str]:
    """Apply the steps that are missing, all or none of them, and return their names. Raises Unavailable.

    Any number of processes may call this at once: one works, the others wait and find nothing left to do.
    """
    with reading():
        if not _pending():
            return []
        with database.migrating(), writing():
            database.lock_migrations()
            applied: list[str] = _runner().up()
            database.check_migrated()
    for name in applied:
        _log.info("migration %s applied", name)
    return applied


def read_history() -> list[str]:
    """Read the names of the applied steps, in order."""
    history = _runner().History
    return [name for (name,) in history.select(history.name).order_by(history.id).tuples()]


def _pending() -> bool:
    return any(not step.applied for step in _runner().status())


def _runner() -> Runner:
    return Runner(database.obj, str(Path(__file__).parent))
