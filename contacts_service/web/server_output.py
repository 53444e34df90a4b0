"""Adapts what gunicorn writes: errors are in the envelope, and responses cost less (docs/decisions/served-path.md)."""

import logging
import socket
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import uuid_utils
from gunicorn import glogging, util
from gunicorn.http import wsgi

from contacts_service.errors import documented_errors
from contacts_service.web.envelope import encode, error_body
from contacts_service.web.observability import DATA_HEADERS

_CONSTANT = {*DATA_HEADERS, ("Content-Type", "application/json")}
_log = logging.getLogger(__name__)


def adapt_gunicorn() -> None:
    """Replace what gunicorn has no setting for: it refuses in our envelope, and spends less on each response."""
    util.write_error = write_error
    util.http_date = _date
    wsgi.Response = Response


class Logger(glogging.Logger):
    """gunicorn's logger without access records: it would make one of each request, and the service logs its own."""

    def access(self, *_: Any) -> None:
        pass


class Response(wsgi.Response):
    """A response that is sent by one system call in one packet, if it is one piece."""

    headers_sent: bool

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Check the headers, but not again those that are always the same: 3 of 6 µs."""
        super().process_headers([each for each in headers if each not in _CONSTANT])
        self.headers += [each for each in headers if each in _CONSTANT]

    def write(self, data: bytes) -> None:
        if self.headers_sent or self._omits_body or self.response_length != len(data):
            super().write(data)
            return
        fields = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        head = "".join([*self.default_headers(), fields, "\r\n"])
        self.headers_sent, self.sent = True, len(data)
        self.sock.sendall(head.encode("latin-1") + data)


def _date() -> str:
    """The header Date of this moment; gunicorn formats it again for each response."""
    return _date_of(int(time.time()))


@lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    return formatdate(second, usegmt=True)


def write_error(client: socket.socket, status: int, reason: str, message: str) -> None:  # noqa: ARG001
    # The message is left out: it repeats what the caller sent, or says what went wrong inside.
    request_id = str(uuid_utils.uuid7())
    reason = HTTPStatus(status).phrase  # gunicorn has one reason for several statuses.
    known = next(documented_errors(status), None)
    code = known.code if known else reason.lower().replace(" ", "_")
    _log.warning("refused", extra={"status": status, "request_id": request_id})
    body = encode(error_body(code, f"The server refused the request: {reason}.", request_id))
    head = (
        f"HTTP/1.1 {status} {reason}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"X-Request-ID: {request_id}\r\n"
        "\r\n"
    )
    util.write_nonblock(client, head.encode() + body)
