"""The table of stored responses: what a request with an Idempotency-Key was answered."""

from datetime import datetime

from peewee import IntegerField, TextField

from contacts_service.db.database import BaseModel, database
from contacts_service.db.fields import IdField, JSONTextField, UtcDateTimeField


class StoredResponse(BaseModel):
    key = TextField(primary_key=True)  # Digest of the caller and its Idempotency-Key.
    request = TextField()  # Digest of the request.
    status = IntegerField()
    headers = JSONTextField()
    body = TextField(null=True)  # Null since the contact that it tells of was deleted.
    contact_id = IdField(null=True)
    created_at = UtcDateTimeField()


def delete_expired(before: datetime, *, limit: int) -> None:
    """Delete some of the responses that have expired, the oldest first."""
    expired = StoredResponse.select(StoredResponse.key).where(StoredResponse.created_at <= before)
    oldest = database.unlocked(expired.order_by(StoredResponse.created_at).limit(limit))
    chosen = StoredResponse.key.in_(oldest.select(oldest.c.key))
    StoredResponse.delete().with_cte(oldest).where(chosen).execute()


def empty_stored_responses(contact_id: str) -> None:
    """Remove what responses tell of a contact. That their requests were made stays known."""
    StoredResponse.update(body=None, headers={}, contact_id=None).where(
        StoredResponse.contact_id == contact_id
    ).execute()
