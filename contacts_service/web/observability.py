"""What operators see of each request: its id, one log line and its part in the metrics; and the security headers.

No log line holds a phone number, a name of a person or a secret: of an address only the route's template is logged.
"""

import logging
import re
from datetime import UTC, datetime
from functools import cache
from time import perf_counter, time
from typing import Any

import orjson
import uuid_utils
from flask import Flask, Request, Response, g, has_request_context, request
from werkzeug.routing import MapAdapter

from contacts_service.metrics import REQUEST_SECONDS, REQUESTS

CONTENT_SECURITY_POLICY = "Content-Security-Policy"
_PAGE_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
DATA_HEADERS = [
    *_PAGE_HEADERS,
    # Responses hold no page, so a browser must not run, frame or load anything in them.
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    # A cache may keep a response for this caller alone, and has to ask whether it still holds.
    ("Cache-Control", "private, no-cache"),
]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_UNKNOWN = "(unknown)"
_NOT_SAID = {*vars(logging.makeLogRecord({})), "message", "asctime"}  # Attributes that every log record has.
_log = logging.getLogger(__name__)
_TEMPLATE = vars(
    logging.makeLogRecord({"name": __name__, "levelno": logging.INFO, "levelname": "INFO", "msg": "request"})
)


class RequestRecord(logging.LogRecord):
    """A log record of a request, without what others have of the place in the code: about 7 of 155 µs of a get."""

    def __init__(self, **values: Any) -> None:
        vars(self).update(_TEMPLATE, created=time(), **values)


class RequestIdFilter(logging.Filter):
    """Adds the id of the current request to every log line."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id") and has_request_context() and "request_id" in g:
            record.request_id = g.request_id
        return True


class InvalidRequestFilter(logging.Filter):
    """Drops gunicorn's line on a request that it refused: it quotes what was sent. web/server.py logs another."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Invalid request from")


class JsonFormatter(logging.Formatter):
    """Lines for programs: a JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        line |= {name: value for name, value in vars(record).items() if name not in _NOT_SAID}
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        return orjson.dumps({**line, "time": datetime.fromtimestamp(record.created, UTC)}, str).decode()


class TextFormatter(logging.Formatter):
    """Lines for people at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        more = {n: v for n, v in vars(record).items() if n not in _NOT_SAID and v is not None}
        trace = more.pop("traceback", "")
        line = super().format(record) + "".join(f" {name}={printable(str(value))}" for name, value in more.items())
        return f"{line}\n{trace}" if trace else line


def printable(text: str) -> str:
    """Escape what would move the cursor, break the line or turn its direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": RequestIdFilter}, "no_quotes": {"()": InvalidRequestFilter}},
    "formatters": {
        "json": {"()": JsonFormatter},
        "text": {"()": TextFormatter, "format": "%(asctime)s %(levelname)s %(message)s", "datefmt": "%H:%M:%S"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["request_id"]}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "propagate": True, "filters": ["no_quotes"]}},
}


class ServiceResponse(Response):
    """A response with the security headers.

    They are added to what goes to the server. In ``after_request`` Werkzeug would check each of them again for every
    response: 4 to 13 of 300 µs of a get.
    """

    def get_wsgi_response(self, environ: Any) -> Any:
        constant = _PAGE_HEADERS if CONTENT_SECURITY_POLICY in self.headers else DATA_HEADERS
        # Werkzeug would copy the headers and look for what to correct: 5.5 µs instead of 1.5.
        is_complete = self.status_code in {200, 201} and isinstance(self.response, list)
        if is_complete and environ["REQUEST_METHOD"] != "HEAD":
            return self.response, self.status, [*self.headers, *constant]
        body, status, headers = super().get_wsgi_response(environ)
        return body, status, headers + constant


class ObservedFlask(Flask):
    """Gives each request its id, logs it and counts it."""

    response_class = ServiceResponse

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # No log line tells where in the code, in which thread or process it was written (Python's logging HOWTO,
        # "Optimization"): 10 µs of each request.
        logging._srcfile = None  # noqa: SLF001
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
        # Flask and flask-smorest ask about ten times per request whether a function is a coroutine: 5 of 300 µs of a
        # get.
        self.ensure_sync = cache(self.ensure_sync)  # type: ignore[method-assign]
        self.before_request(_begin)  # The first, so that its time includes everything else.
        self.after_request(_finish)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Match the path alone. No route depends on the host, which Flask reads, checks and encodes: 4 µs."""
        if request is None:
            return None
        return MapAdapter(self.url_map, "", request.root_path, "", request.scheme, request.path, request.method)


def _begin() -> None:
    given = request.environ.get("HTTP_X_REQUEST_ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid_utils.uuid7())
    g.began = perf_counter()


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = request_id = g.request_id
    seconds = perf_counter() - g.began
    caller = g.get("caller")
    # Callers can make up methods and addresses, and each series costs memory for ever.
    current = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Not by proxy.
    rule = current.url_rule
    method = current.method if rule else _UNKNOWN
    route, count, observe = _series_of(method, rule.rule if rule else _UNKNOWN, response.status_code)
    count.inc()
    observe.observe(seconds)
    if _log.isEnabledFor(logging.INFO):
        record = RequestRecord(
            method=method,
            route=route,
            status=response.status_code,
            ms=round(seconds * 1000, 2),
            request_id=request_id,
            key=caller.name if caller else None,
        )
        _log.handle(record)
    return response


@cache
def _series_of(method: str, rule: str, status: int) -> tuple[str, Any, Any]:
    """The template of a route, and the series of its metrics."""
    route = re.sub("<[^>:]*:?([^>]*)>", r"{\1}", rule)
    return route, REQUESTS.labels(method, route, status), REQUEST_SECONDS.labels(method, route)
