"""Turns every error into a response in the envelope."""

import logging
from traceback import format_tb

from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

from contacts_service.errors import (
    AddressNotFound,
    InternalError,
    ServiceError,
    Unavailable,
    VersionMismatch,
    documented_errors,
)
from contacts_service.web.envelope import failure

_log = logging.getLogger(__name__)


def register_error_handlers(app: Flask) -> None:
    """Keep every response in the envelope, whatever happens."""
    app.register_error_handler(ServiceError, service_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _internal_error)


def service_error(error: ServiceError) -> Response:
    """Answer one of our own errors."""
    more = {"current": error.current} if isinstance(error, VersionMismatch) else {}
    response = failure(error.status, error.code, str(error), error.errors, **more)
    response.headers.update(error.headers)
    if isinstance(error, VersionMismatch) and error.etag:
        response.headers["ETag"] = f'"{error.etag}"'
    if isinstance(error, Unavailable):
        _log.warning("the database failed: %s", _first_line(error.fault))
    return response


def _http_error(error: HTTPException) -> Response:
    """Answer an error of Flask or Werkzeug, and keep headers such as Allow."""
    status = error.code or 500
    known = AddressNotFound if status == 404 else next(documented_errors(status), None)
    code = known.code if known else error.name.lower().replace(" ", "_")
    message = known.message if known else error.name
    response = failure(status, code, message, {"body": [message]} if status == 400 else None)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _internal_error(error: Exception) -> Response:
    _log.error("the request failed", extra={"traceback": _traceback(error), "request_id": g.request_state.request_id})
    return failure(InternalError.status, InternalError.code, InternalError.message)


def _first_line(error: BaseException | None) -> str:
    """The message without the lines below, where PostgreSQL quotes values."""
    return str(error).partition("\n")[0]


def _traceback(error: Exception) -> str:
    """Where it happened, and what went wrong in one line each, without values that a database quotes."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        what = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or _first_line(cause)
        is_of_database = type(cause).__module__.startswith(("psycopg", "peewee", "sqlite3"))
        name = type(cause).__name__
        lines.append(f"{name}: {what}" if not is_of_database or what != _first_line(cause) else name)
        lines += format_tb(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    return "\n".join(lines)
