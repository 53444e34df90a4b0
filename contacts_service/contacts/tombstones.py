"""Tombstones: what the change feed tells of contacts that were deleted or merged. A trigger writes them."""

from datetime import UTC, datetime, timedelta

from contacts_service.contacts.tables import ChangeFeed, ContactTombstone
from contacts_service.db.database import database

RETENTION = timedelta(days=90)
_DELETED_EACH_TIME = 10  # More than one is added, so that expired tombstones go without a job of their own.


def delete_expired_tombstones() -> None:
    """Delete some of the tombstones that have expired, the oldest first. Call it last in a transaction."""
    order = (ContactTombstone.change_seq, ContactTombstone.pk)
    oldest = ContactTombstone.select(ContactTombstone.id).order_by(*order).limit(_DELETED_EACH_TIME)
    oldest = database.unlocked(oldest)
    is_oldest = ContactTombstone.id.in_(oldest.select(oldest.c.id))
    is_expired = is_oldest & (ContactTombstone.ended_at < datetime.now(UTC) - RETENTION)
    deleted = ContactTombstone.delete().with_cte(oldest).where(is_expired).returning(order[0])
    expired = [row.change_seq for row in deleted.execute()]
    if expired:
        # From here on a token that is older is refused: its reader would miss what was deleted.
        newest = max(expired)
        ChangeFeed.update(horizon=newest).where(ChangeFeed.horizon < newest).execute()
