"""What is seen of each request from outside: its id, one log line, and its part in the metrics.

No log line holds a phone number, a name of a person or a secret: of an address only the route's template is told.
"""

import logging
import re
from collections.abc import Iterable
from functools import cache
from time import perf_counter
from typing import Any

import uuid_utils
from flask import Flask, Request, has_request_context, request

from contacts_service.metrics import REQUEST_SECONDS, REQUESTS
from contacts_service.services.access import Caller

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_UNKNOWN = "(unknown)"
_SEEN = "contacts.seen"  # Its place in the WSGI environment.
_log = logging.getLogger(__name__)


class AddRequestId(logging.Filter):
    """Put the id of the request that is being answered into every log line."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id") and has_request_context() and _SEEN in request.environ:
            record.request_id = seen(request).request_id
        return True


class LeaveOutQuotes(logging.Filter):
    """Drop gunicorn's line on a request that it refused: it quotes what was sent. api/server.py logs another."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Invalid request from")


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": AddRequestId}, "no_quotes": {"()": LeaveOutQuotes}},
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.orjson.OrjsonFormatter",
            "style": "{",
            "format": "{levelname}{name}{message}",
            "rename_fields": {"levelname": "level", "name": "logger"},
            "timestamp": "time",
        }
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["request_id"]},
    },
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "propagate": True, "filters": ["no_quotes"]}},
}


class Seen:
    """What is known of a request while it is answered."""

    __slots__ = ("began", "caller", "request_id", "rule", "status")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.began = perf_counter()
        self.caller: Caller | None = None
        self.rule: str | None = None  # None for an address that the service doesn't have.
        self.status = 0


def seen(request: Request) -> Seen:
    found: Seen = request.environ[_SEEN]
    return found


def observe_requests(app: Flask) -> None:
    """Give each request its id, log it, and count it. Around Flask, so that the time is all of the time."""
    app.before_request(_see_rule)
    answer = app.wsgi_app

    def observed(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        it = environ[_SEEN] = Seen(given if _REQUEST_ID.fullmatch(given) else str(uuid_utils.uuid7()))

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            it.status = int(status[:3])
            return start_response(status, [*headers, ("X-Request-ID", it.request_id)], exc_info)

        body = answer(environ, start)
        _tell(it, environ["REQUEST_METHOD"].upper())
        return body

    app.wsgi_app = observed  # type: ignore[method-assign]


def _see_rule() -> None:
    current: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Not by proxy twice.
    if rule := current.url_rule:
        current.environ[_SEEN].rule = rule.rule


def _tell(it: Seen, method: str) -> None:
    seconds = perf_counter() - it.began
    method = method if it.rule else _UNKNOWN  # Anybody may make methods and addresses up.
    route = _template(it.rule) if it.rule else _UNKNOWN
    count, observe = _metrics(method, route, it.status)
    count.inc()
    observe.observe(seconds)
    _log.info(
        "request",
        extra={
            "method": method,
            "route": route,
            "status": it.status,
            "ms": round(seconds * 1000, 2),
            "request_id": it.request_id,
            "key": it.caller.name if it.caller else None,
        },
    )


@cache
def _template(rule: str) -> str:
    return re.sub("<[^>:]*:?([^>]*)>", r"{\1}", rule)


@cache
def _metrics(method: str, route: str, status: int) -> tuple[Any, Any]:
    return REQUESTS.labels(method, route, status), REQUEST_SECONDS.labels(method, route)
