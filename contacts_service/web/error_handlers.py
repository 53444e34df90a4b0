"""Turns every error into a response in the envelope."""

import logging
import threading
from time import monotonic
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
from contacts_service.metrics import ERRORS
from contacts_service.web.envelope import failure

_LOGGED_EVERY = 60.0  # Seconds.
_MAX_CAUSES = 100
_log = logging.getLogger(__name__)


def register_error_handlers(app: Flask) -> None:
    """Keep every response in the envelope, whatever happens."""
    app.register_error_handler(ServiceError, service_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _internal_error)
    for error in documented_errors():
        ERRORS.labels(error.code)  # From 0 on: Prometheus sees no increase in a series that begins with 1.


class _FaultLog:
    """Logs why the database fails: each cause once a minute, with the number of requests that met it meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._causes: dict[str, tuple[float, int]] = {}  # When the cause was logged, and how often it came again.

    def add(self, cause: str) -> None:
        with self._lock:
            logged_at, repeated = self._causes.get(cause, (float("-inf"), 0))
            if monotonic() - logged_at < _LOGGED_EVERY:
                self._causes[cause] = logged_at, repeated + 1
                return
            if len(self._causes) >= _MAX_CAUSES:
                self._causes.clear()
            self._causes[cause] = monotonic(), 0
        times = f" ({repeated} more requests since it was last logged)" if repeated else ""
        _log.warning("the database failed: %s%s", cause, times)


_faults = _FaultLog()


def service_error(error: ServiceError) -> Response:
    more = {"current": error.current} if isinstance(error, VersionMismatch) else {}
    response = failure(error.status, error.code, str(error), error.errors, **more)
    response.headers.update(error.headers)
    if isinstance(error, VersionMismatch) and error.etag:
        response.headers["ETag"] = f'"{error.etag}"'
    if isinstance(error, Unavailable):
        _faults.add(error.details)
    return response


def _http_error(error: HTTPException) -> Response:
    """Answer an error of Flask or Werkzeug, and keep headers such as Allow."""
    status = error.code or 500
    known = AddressNotFound if status == 404 else next(documented_errors(status), None)
    code = known.code if known else error.name.lower().replace(" ", "_")
    message = known.example_message() if known else error.name
    response = failure(status, code, message, {"body": [message]} if status == 400 else None)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _internal_error(error: Exception) -> Response:
    _log.error("the request failed", extra={"traceback": _traceback(error), "request_id": g.request_id})
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
