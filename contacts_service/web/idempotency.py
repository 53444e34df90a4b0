"""Idempotency-Key: a POST that its caller may send again when it doesn't know what became of it."""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from flask import Response, g, request

from contacts_service.db.database import database, writing
from contacts_service.errors import (
    ContactNotFound,
    IdempotencyKeyReused,
    InvalidRequest,
    RetryInProgress,
    ServiceError,
    VersionMismatch,
)
from contacts_service.web.error_handlers import service_error
from contacts_service.web.parser import read_body
from contacts_service.web.stored_responses import StoredResponse, delete_expired

KEY_PATTERN = "[!-~]([ -~]{0,253}[!-~])?"
RETENTION = timedelta(hours=24)
_KEY = re.compile(KEY_PATTERN)
_STORED_HEADERS = ("ETag", "Location", "Link")
_NOT_STORED = {400, 413, 415, 503}  # The request was never carried out.
_DELETED_EACH_TIME = 10  # More than one is added, so that expired responses go without a job of their own.


def idempotent(view: Callable[..., Response]) -> Callable[..., Response]:
    """Make a view answer the same request with the same Idempotency-Key as it answered the first.

    What was answered to a request that breaks the schema isn't stored: nothing was done.
    """

    @wraps(view)
    def replay_or_run(*args: Any, **kwargs: Any) -> Response:
        if "HTTP_IDEMPOTENCY_KEY" not in request.environ:
            return view(*args, **kwargs)
        key = request.headers["Idempotency-Key"]
        if not _KEY.fullmatch(key):
            raise InvalidRequest({"Idempotency-Key": ["Not 1 to 255 printable ASCII characters."]})
        body = read_body(request)  # Before the transaction begins: it may come slowly.
        return run_idempotent(_digest(g.caller.prefix or "", key), _fingerprint(body), lambda: view(*args, **kwargs))

    return replay_or_run


@writing()
def run_idempotent(key: str, fingerprint: str, view: Callable[[], Response]) -> Response:
    """Run a view and store its response in the same transaction, or answer the response that is stored.

    If the view fails for a reason that isn't the caller's, nothing is stored and the next request is the first. Raises
    RetryInProgress, IdempotencyKeyReused, and ContactNotFound if the contact of the stored response was deleted.
    """
    if not database.try_lock_key(f"retry/{key}"):
        raise RetryInProgress
    now = datetime.now(UTC)
    stored = StoredResponse.get_or_none(StoredResponse.key == key, StoredResponse.created_at > now - RETENTION)
    if stored:
        if stored.request != fingerprint:
            raise IdempotencyKeyReused
        if stored.body is None:
            raise ContactNotFound(message="The contact was deleted.")
        headers = {**stored.headers.parsed(), "Idempotent-Replayed": "true"}
        return Response(stored.body, stored.status, headers, content_type="application/json")
    response, contact_id = _run(view)
    values = {
        "key": key,
        "request": fingerprint,
        "status": response.status_code,
        "headers": {name: response.headers[name] for name in _STORED_HEADERS if name in response.headers},
        "body": response.get_data(as_text=True),
        "contact_id": contact_id,
        "created_at": now,
    }
    replaced = [StoredResponse._meta.fields[name] for name in values if name != "key"]  # noqa: SLF001 - Peewee's documented place.
    StoredResponse.insert(values).on_conflict(conflict_target=[StoredResponse.key], preserve=replaced).execute()
    # Last, so that no transaction waits for these rows while it holds others.
    delete_expired(now - RETENTION, limit=_DELETED_EACH_TIME)
    return response


def _run(view: Callable[[], Response]) -> tuple[Response, str | None]:
    """Run the view. Returns its response and the id of the contact that the response tells of."""
    try:
        response = view()
        # Not by orjson, which reads no integers of any size.
        entity = json.loads(response.get_data())["data"] or {}
    except ServiceError as error:
        if error.status in _NOT_STORED:
            raise
        # A result like any other; what the use case had written is rolled back.
        entity = error.current or {} if isinstance(error, VersionMismatch) else {}
        # What it had locked isn't locked any more: a delete would miss the response that is about to be stored.
        if isinstance(error, VersionMismatch) and not error.lock():
            error, entity = ContactNotFound(entity["id"]), {}
        response = service_error(error)
    return response, entity.get("contact_id") or entity.get("id")


def _fingerprint(body: bytes) -> str:
    condition = request.headers.get("If-Match", "")
    return _digest(request.method, request.path, request.query_string.decode("latin-1"), condition, body)


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8) + encoded)  # With lengths, no two lists of parts look alike.
    return digest.hexdigest()
