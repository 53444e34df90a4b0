"""Numbered steps from an empty database to today's tables, each applied once by whichever process comes first."""

from pathlib import Path

from playhouse.migrations import Runner

from contacts_service.db.database import database, reading, writing
from contacts_service.errors import Unavailable


def upgrade() -> list[str]:
    """Apply the missing steps, all or none of them, and return their names. Raises Unavailable.

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


def pending() -> bool:
    """Ask the database whether steps are missing."""
    missing = any(not step.applied for step in _runner().status())
    if missing:
        database.obj.is_migrated = False
    return missing


@reading()
def require_migrated() -> None:
    """Ask the database whether it answers and has today's tables. Raises Unavailable."""
    if pending():
        raise Unavailable("migrations are missing", "The database lacks the service's tables.")


def _runner() -> Runner:
    return Runner(database.obj, str(Path(__file__).parent))
