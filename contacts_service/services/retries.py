"""Use case of a request that its caller may send twice: what it does and what it is answered commit together."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from contacts_service.errors import IdempotencyKeyReused, NotFound, RetryInProgress
from contacts_service.models import retries
from contacts_service.models.database import try_lock_key, writing

KEPT = timedelta(hours=24)
_REMOVED_EACH_TIME = 10  # More than are added, so that what has expired goes without anybody who looks after it.


@dataclass(frozen=True)
class Answer:
    """What a caller is told."""

    status: int
    headers: dict[str, str]
    body: str
    contact_id: str | None
    """Whom the body tells of: it is emptied when this contact is deleted."""


@writing()
def once(key: str, request: str, perform: Callable[[], Answer]) -> tuple[Answer, bool]:
    """Perform a request, or find what the first one of this key was answered. Returns it and whether it is a replay.

    ``key`` stands for the caller and its Idempotency-Key, ``request`` for all that tells requests apart. ``perform``
    runs within the transaction. When it raises, nothing is kept, and the next request with the key is the first.
    Raises RetryInProgress, IdempotencyKeyReused, and NotFound when the contact of the first answer was deleted since.
    """
    if not try_lock_key(f"retry/{key}"):
        raise RetryInProgress
    now = datetime.now(UTC)
    if first := retries.get_first_answer(key, since=now - KEPT):
        if first["request"] != request:
            raise IdempotencyKeyReused
        if first["body"] is None:
            raise NotFound("contact", first["contact_id"])
        return Answer(first["status"], first["headers"].parsed(), first["body"], first["contact_id"]), True
    answer = perform()
    retries.keep_first_answer({"key": key, "request": request, "created_at": now, **vars(answer)})
    # At the end, so that nobody waits for these rows while holding others.
    retries.forget_first_answers(now - KEPT, at_most=_REMOVED_EACH_TIME)
    return answer, False
