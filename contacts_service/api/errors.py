"""From what went wrong to what the caller is told: the one table of statuses and codes."""

import logging
from collections.abc import Iterator
from itertools import islice
from traceback import format_tb
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, HTTPException

from contacts_service.api.entity_tags import tag_of
from contacts_service.api.envelope import failure
from contacts_service.api.request_log import seen
from contacts_service.errors import (
    AccountForbidden,
    ContactExists,
    IdempotencyKeyReused,
    IdentityConflict,
    InvalidCursor,
    LocalOnly,
    NotFound,
    RetryInProgress,
    ScopeMissing,
    ServiceError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unidentified,
    VersionMismatch,
)

_log = logging.getLogger(__name__)

# HTTP status and the codes that go with it, each with a message as an example.
CODES: dict[int, dict[str, str]] = {
    400: {"invalid_request": "The request is not valid: see errors."},
    401: {"unauthenticated": "Send a valid key as X-API-Key, or as Authorization: Bearer."},
    403: {
        "account_forbidden": "The key is limited to accounts: name one of them as account_id.",
        "local_only": "No key exists yet, so only callers on the service's own machine are answered.",
        "scope_missing": "The key lacks the scope contacts:write.",
    },
    404: {
        "contact_not_found": "No contact has the id 01890a5d-ac96-774b-bcce-b302099a8057.",
        "flow_not_found": "No flow has the id 5d1a3c77-9f0e-4a6b-8a55-0e1f4f6a2b90.",
        "message_not_found": "No message has the id 018f3c6e-7c11-7d2a-9a3e-2f6f1f0b5c44.",
        "not_found": "There is nothing at this address.",
    },
    405: {"method_not_allowed": "This address does not know the method; Allow names those that it knows."},
    406: {"not_acceptable": "The answer is application/json, which Accept excludes."},
    409: {
        "contact_exists": "A contact of this account already has this phone number or bsuid.",
        "identity_conflict": "The identifiers belong to different contacts.",
        "contact_unidentified": "A contact needs a phone_number or a bsuid.",
        "retry_in_progress": "The first request with this Idempotency-Key still runs.",
    },
    412: {"version_mismatch": "The current version is not the one in the request."},
    413: {"payload_too_large": "The body is larger than 1 MiB."},
    414: {"uri_too_long": "The address with its query is longer than 8,190 bytes."},
    415: {"unsupported_media_type": "Send the body as application/json."},
    422: {"idempotency_key_reused": "Another request was made with this Idempotency-Key."},
    500: {"internal_error": "Something went wrong on our side. The request id finds it in our log."},
    503: {"unavailable": "The database can't answer at the moment. Try again."},
}
RETRY_AFTER_SECONDS = 1
MOST_ERRORS = 100  # A body of a million mistakes gets no answer of a million texts.


class InvalidRequest(BadRequest):
    """The request breaks the contract. ``errors`` may be nested as marshmallow nests them.

    It is one of Werkzeug's errors, so that routing may raise it too.
    """

    def __init__(self, errors: Any) -> None:
        super().__init__()
        self.errors = dict(islice(_flat(errors), MOST_ERRORS))


def register_error_handlers(app: Flask) -> None:
    """Keep every answer in the envelope, whatever happens."""
    app.register_error_handler(InvalidRequest, _invalid_request)
    app.register_error_handler(ServiceError, service_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _internal_error)


def _invalid_request(error: InvalidRequest) -> Response:
    return failure(400, "invalid_request", CODES[400]["invalid_request"], error.errors)


# The errors that need no more than their status and code.
_PLAIN: dict[type[ServiceError], tuple[int, str]] = {
    Unauthenticated: (401, "unauthenticated"),
    AccountForbidden: (403, "account_forbidden"),
    LocalOnly: (403, "local_only"),
    ScopeMissing: (403, "scope_missing"),
    Unidentified: (409, "contact_unidentified"),
    RetryInProgress: (409, "retry_in_progress"),
    VersionMismatch: (412, "version_mismatch"),
    TooLarge: (413, "payload_too_large"),
    IdempotencyKeyReused: (422, "idempotency_key_reused"),
    Unavailable: (503, "unavailable"),
}
_RETRY_LATER = {"Retry-After": str(RETRY_AFTER_SECONDS)}


def service_error(error: ServiceError) -> Response:
    """Answer what went wrong in the domain."""
    errors: dict[str, list[str]] | None = None
    more: dict[str, Any] = {}
    headers: dict[str, str] = {}
    match error:
        case NotFound():
            status, code = 404, f"{error.noun}_not_found"
        case ContactExists():
            status, code, errors = 409, "contact_exists", {"id": [error.existing_id]}
        case IdentityConflict():
            status, code, errors = 409, "identity_conflict", {"id": error.contact_ids}
        case InvalidCursor():
            status, code, errors = 400, "invalid_request", {"cursor": [str(error)]}
        case _:
            status, code = _PLAIN[type(error)]
    match error:
        case Unauthenticated():
            headers = {"WWW-Authenticate": "Bearer"}
        case VersionMismatch():
            more = {"current": error.current}
            headers = {"ETag": f'"{tag_of(error.current)}"'} if error.current else {}
        case RetryInProgress():
            headers = _RETRY_LATER
        case Unavailable():
            _log.warning("the database failed: %s", _first_line(error.fault))
            headers = _RETRY_LATER
    response = failure(status, code, str(error), errors, **more)
    response.headers.update(headers)
    return response


def _first_line(error: BaseException | None) -> str:
    """Tell an error without what may follow in the lines below: PostgreSQL quotes values there."""
    return str(error).partition("\n")[0]


def _http_error(error: HTTPException) -> Response:
    """Put Flask's and Werkzeug's own errors into the envelope, and keep headers such as Allow."""
    status = error.code or 500
    known = CODES.get(status, {})
    code = "not_found" if status == 404 else next(iter(known), error.name.lower().replace(" ", "_"))
    message = known.get(code, error.name)
    response = failure(status, code, message, {"body": [message]} if status == 400 else None)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _internal_error(error: Exception) -> Response:
    _log.error("the request failed", extra={"traceback": _traceback(error), "request_id": seen(request).request_id})
    return failure(500, "internal_error", CODES[500]["internal_error"])


def _traceback(error: Exception) -> str:
    """Tell where it happened, and what went wrong in one line each; errors of a database quote values there."""
    told: list[str] = []
    found: BaseException | None = error
    while found is not None:
        what = getattr(found, "sqlstate", None) or getattr(found, "sqlite_errorname", None) or _first_line(found)
        is_of_database = type(found).__module__.startswith(("psycopg", "peewee", "sqlite3"))
        name = type(found).__name__
        told += [
            f"{name}: {what}" if not is_of_database or what != _first_line(found) else name,
            *format_tb(found.__traceback__),
        ]
        found = found.__cause__ or found.__context__
    return "\n".join(told)


def _flat(errors: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Join marshmallow's nested messages to dotted paths: ``panel_config.sections.0.id``.

    >>> dict(_flat({"a": {0: {"b": ["Not so."]}}, "_schema": ["No."]}))
    {'a.0.b': ['Not so.'], 'body': ['No.']}
    """
    if isinstance(errors, dict):
        for key, inner in errors.items():
            # A key may be what the caller sent, and so hold what UTF-8 can't.
            name = str(key).encode(errors="backslashreplace").decode()
            yield from _flat(inner, path if key == "_schema" else f"{path}.{name}".lstrip("."))
    else:
        yield path or "body", [str(text) for text in (errors if isinstance(errors, list) else [errors])]
