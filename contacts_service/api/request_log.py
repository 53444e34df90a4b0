"""What is seen of each request from outside: its id, one log line, and its part in the metrics.

No log line holds a phone number, a name of a person or a secret: of an address only the route's template is told.
"""

import logging
import re
from functools import cache
from time import perf_counter
from typing import Any

import uuid_utils
from flask import Flask, Response, g, has_request_context, request

from contacts_service.metrics import REQUEST_SECONDS, REQUESTS

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_UNKNOWN = "(unknown)"
_log = logging.getLogger(__name__)


class AddRequestId(logging.Filter):
    """Put the id of the request that is being answered into every log line."""

    def filter(self, record: logging.LogRecord) -> bool:
        if has_request_context() and not hasattr(record, "request_id"):
            record.request_id = g.get("request_id")
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


def observe_requests(app: Flask) -> None:
    """Give each request its id, log it, and count it."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    given = request.environ.get("HTTP_X_REQUEST_ID", "")
    state = vars(g._get_current_object())  # noqa: SLF001 - Once, not by proxy three times.
    state["request_id"] = given if _REQUEST_ID.fullmatch(given) else str(uuid_utils.uuid7())
    state["caller"] = None
    state["began"] = perf_counter()


def _end(response: Response) -> Response:
    state = vars(g._get_current_object())  # noqa: SLF001
    seconds = perf_counter() - state["began"]
    response.headers.add("X-Request-ID", state["request_id"])
    rule = request.url_rule
    method = request.method if rule else _UNKNOWN  # Anybody may make methods and addresses up.
    route = _template(rule.rule) if rule else _UNKNOWN
    count, observe = _metrics(method, route, response.status_code)
    count.inc()
    observe.observe(seconds)
    _log.info(
        "request",
        extra={
            "method": method,
            "route": route,
            "status": response.status_code,
            "ms": round(seconds * 1000, 2),
            "request_id": state["request_id"],
            "key": state["caller"].name if state["caller"] else None,
        },
    )
    return response


@cache
def _template(rule: str) -> str:
    return re.sub("<[^>:]*:?([^>]*)>", r"{\1}", rule)


@cache
def _metrics(method: str, route: str, status: int) -> tuple[Any, Any]:
    return REQUESTS.labels(method, route, status), REQUEST_SECONDS.labels(method, route)
