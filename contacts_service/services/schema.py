"""Use cases of the database itself."""

from contacts_service.models import migrations
from contacts_service.models.database import reading


def upgrade() -> list[str]:
    """Bring the tables up to date and return the steps that were missing. Raises Unavailable."""
    return migrations.upgrade()


@reading()
def check() -> None:
    """Ask the database for something that only a migrated one has. Raises Unavailable."""
    migrations.read_history()
