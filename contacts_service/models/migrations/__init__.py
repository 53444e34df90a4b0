"""Numbered steps from an empty database to today's, each applied once, by whoever comes first."""

from pathlib import Path

from playhouse.migrations import Runner

from contacts_service.models.database import database, reading, writing


def upgrade() -> list[str]:
    """Apply the steps that are missing, all or none of them, and return their names. Raises Unavailable.

    Any number of processes may call this at once: one works, the others wait and find nothing left to do.
    """
    applied: list[str] = []
    with reading():
        if pending():
            with database.migrating(), writing():
                database.lock_migrations()
                applied = _runner().up()
                database.check_migrated()
        database.obj.is_migrated = True
    return applied


def is_current() -> bool:
    """Tell whether this process has seen today's tables, without asking the database."""
    return bool(database.is_migrated)


def pending() -> bool:
    """Ask the database whether steps are missing."""
    if missing := any(not step.applied for step in _runner().status()):
        database.obj.is_migrated = False
    return missing


def _runner() -> Runner:
    return Runner(database.obj, str(Path(__file__).parent))
