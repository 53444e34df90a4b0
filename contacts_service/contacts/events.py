"""Events: who changed which fields of a contact; tombstones: what the change feed tells of contacts that ended.

Triggers write both, in the transaction of the change. An event is numbered by the version that the change made, and its
id is made of the contact's id and that number.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from contacts_service.contacts.tables import ChangeFeed, Contact, ContactEvent, ContactTombstone, by_id
from contacts_service.contacts.writes import require_contact
from contacts_service.db.caller import AllowedAccounts, actor, on_behalf_of
from contacts_service.db.database import database, reading
from contacts_service.db.prepared import Row, prepared
from contacts_service.errors import EventNotFound

TOMBSTONE_AGE = timedelta(days=90)
_DELETED_EACH_TIME = 10  # More than one is added, so that expired tombstones go without a job of their own.
_MAX_VERSION = 2**31 - 1  # Of an INTEGER.


@reading()
def list_events(
    contact_id: str, *, allowed_accounts: AllowedAccounts, limit: int, before: str | None = None
) -> dict[str, Any]:
    """Read events, newest first, or those older than an event. Raises ContactNotFound, ContactMerged, EventNotFound."""
    version = _MAX_VERSION
    if before:
        version = UUID(before).int ^ UUID(contact_id).int
        if version > _MAX_VERSION:
            raise EventNotFound(before)
    rows = _list_events(contact_id, allowed_accounts, version, limit + 1)
    if not rows:
        require_contact(contact_id, allowed_accounts)
    items = [{"id": str(UUID(int=UUID(contact_id).int ^ row["version"])), **row} for row in rows[:limit]]
    return {"items": items, "has_more": len(rows) > limit}


def record_merge(contact: Row, kind: str) -> None:
    """Say that what made the present version of a contact was a merge, or the undoing of one.

    ``kind`` is ``merged`` or ``unmerged``. There may be no event yet, as when no field changed.
    """
    event = {"contact": contact["pk"], "version": contact["version"], "at": contact["updated_at"], "kind": kind}
    who: Row = {"fields": [], "actor": actor.get(), "on_behalf_of": on_behalf_of.get()}
    ContactEvent.insert({**event, **who}).on_conflict(
        conflict_target=[ContactEvent.contact, ContactEvent.version], preserve=[ContactEvent.kind]
    ).execute()


@prepared
def _list_events(contact_id: Any, allowed_accounts: Any, before: Any, limit: Any) -> Any:
    columns = (ContactEvent.at, ContactEvent.kind, ContactEvent.fields, ContactEvent.actor, ContactEvent.on_behalf_of)
    contact = Contact.select(Contact.pk).where(by_id(contact_id, allowed_accounts))
    events = ContactEvent.select(*columns, ContactEvent.version)
    events = events.where(ContactEvent.contact == contact, ContactEvent.version < before)
    return events.order_by(ContactEvent.version.desc()).limit(limit)


def delete_expired_tombstones() -> None:
    """Delete some of the tombstones that have expired, the oldest first. Call it last in a transaction."""
    order = (ContactTombstone.change_seq, ContactTombstone.pk)
    oldest = ContactTombstone.select(ContactTombstone.id).order_by(*order).limit(_DELETED_EACH_TIME)
    oldest = database.unlocked(oldest)
    is_oldest = ContactTombstone.id.in_(oldest.select(oldest.c.id))
    is_expired = is_oldest & (ContactTombstone.ended_at < datetime.now(UTC) - TOMBSTONE_AGE)
    deleted = ContactTombstone.delete().with_cte(oldest).where(is_expired).returning(order[0])
    expired = [row.change_seq for row in deleted.execute()]
    if expired:
        # From here on a token that is older is refused: its reader would miss what was deleted.
        newest = max(expired)
        ChangeFeed.update(horizon=newest).where(ChangeFeed.horizon < newest).execute()
