"""Use cases of the database itself."""

from contacts_service.errors import Unavailable
from contacts_service.models import migrations
from contacts_service.models.database import close_connection, reading


def upgrade() -> list[str]:
    """Bring the tables up to date and return the steps that were missing. Raises Unavailable."""
    return migrations.upgrade()


def is_current() -> bool:
    """Tell whether this process has seen today's tables, without asking the database."""
    return migrations.is_current()


def disconnect() -> None:
    """Close this thread's connection, when it has no more use for it."""
    close_connection()


@reading()
def check() -> None:
    """Ask the database whether it answers and has today's tables. Raises Unavailable."""
    if migrations.pending():
        raise Unavailable
