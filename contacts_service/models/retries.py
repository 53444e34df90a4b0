"""The table of first answers: what a request that may be repeated was answered."""

from datetime import datetime
from typing import Any

from peewee import IntegerField, TextField

from contacts_service.models.database import Table, locked
from contacts_service.models.fields import IdField, JSONTextField, TimeField


class FirstAnswer(Table):
    key = TextField(primary_key=True)  # Of the caller and its Idempotency-Key.
    request = TextField()  # A digest, to tell another request under the same key.
    status = IntegerField()
    headers = JSONTextField()
    body = TextField(null=True)  # Null since the contact that it told of was deleted.
    contact_id = IdField(null=True)
    created_at = TimeField()


FirstAnswer.add_index(FirstAnswer.index(FirstAnswer.created_at, name="first_answer_created"))
FirstAnswer.add_index(FirstAnswer.index(FirstAnswer.contact_id, name="first_answer_contact"))


def get_first_answer(key: str, *, since: datetime) -> dict[str, Any] | None:
    return next(iter(FirstAnswer.select().where(FirstAnswer.key == key, FirstAnswer.created_at > since).dicts()), None)


def keep_first_answer(values: dict[str, Any]) -> None:
    """Store an answer, in the place of one that has expired."""
    columns = [field for field in FirstAnswer._meta.sorted_fields if field is not FirstAnswer.key]  # noqa: SLF001 - Peewee's documented place.
    FirstAnswer.insert(values).on_conflict(conflict_target=[FirstAnswer.key], preserve=columns).execute()


def forget_first_answers(before: datetime, *, at_most: int) -> None:
    """Delete some of the answers that have expired, the oldest first."""
    old = FirstAnswer.select(FirstAnswer.key).where(FirstAnswer.created_at <= before)
    oldest = old.order_by(FirstAnswer.created_at).limit(at_most)
    FirstAnswer.delete().where(FirstAnswer.key.in_(locked(oldest, skip=True))).execute()


def empty_first_answers(contact_id: str) -> None:
    """Take out of the answers what they tell of a contact. That their requests were made stays known."""
    FirstAnswer.update(body=None, headers={}).where(FirstAnswer.contact_id == contact_id).execute()
