"""Idempotency-Key: a POST that its caller may send again when it doesn't know what became of it."""

import hashlib
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, request

from contacts_service.api.errors import InvalidRequest, service_error
from contacts_service.api.keys import caller
from contacts_service.api.parsing import read_body
from contacts_service.errors import ServiceError, Unavailable, VersionMismatch
from contacts_service.services.retries import Answer, once

KEY_FORM = "[!-~]([ -~]{0,253}[!-~])?"
_KEY = re.compile(KEY_FORM)
_KEPT_HEADERS = ("ETag", "Location")


def retriable(view: Callable[..., Response]) -> Callable[..., Response]:
    """Make a view answer the same request with the same Idempotency-Key as it answered the first.

    What breaks the schema has done nothing and isn't kept.
    """

    @wraps(view)
    def answer_once(*args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(*args, **kwargs)
        if not _KEY.fullmatch(key):
            raise InvalidRequest({"Idempotency-Key": ["Not 1 to 255 printable ASCII characters."]})
        body = read_body(request)  # Before the transaction begins: it may come slowly.
        answer, is_replay = once(
            _digest(caller().prefix or "", key), _request(body), lambda: _perform(view, args, kwargs)
        )
        response = Response(answer.body, answer.status, answer.headers, content_type="application/json")
        if is_replay:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    return answer_once


def _perform(view: Callable[..., Response], args: Any, kwargs: Any) -> Answer:
    try:
        response = view(*args, **kwargs)
        # Not by orjson, which reads no integers of any size.
        told = json.loads(response.get_data())["data"]
    except Unavailable:
        raise
    except ServiceError as error:  # An outcome like any other; what the use case had written is undone.
        response = service_error(error)
        told = error.current or {} if isinstance(error, VersionMismatch) else {}
    body = response.get_data(as_text=True)
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return Answer(response.status_code, headers, body, told.get("contact_id") or told.get("id"))


def _request(body: bytes) -> str:
    """Stand for all that tells requests apart."""
    condition = request.headers.get("If-Match", "")
    return _digest(request.method, request.path, request.query_string.decode("latin-1"), condition, body)


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8) + encoded)  # With lengths, no two lists of parts look alike.
    return digest.hexdigest()
