"""What gunicorn answers by itself: requests that are not even HTTP, and so never reach Flask."""

import logging
import socket
from http import HTTPStatus

import uuid_utils
from gunicorn import util

from contacts_service.api.envelope import encode, error_body
from contacts_service.api.errors import CODES

_log = logging.getLogger(__name__)


def keep_gunicorn_in_the_envelope() -> None:
    """Have gunicorn refuse requests in our envelope. It has no setting for that, only this function of its."""
    util.write_error = _write_error


def _write_error(client: socket.socket, status: int, reason: str, message: str) -> None:  # noqa: ARG001
    # The message is left out: it repeats what the caller sent, or says what went wrong inside.
    request_id = str(uuid_utils.uuid7())
    reason = HTTPStatus(status).phrase  # gunicorn has one reason for several statuses.
    code = next(iter(CODES.get(status, ())), reason.lower().replace(" ", "_"))
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
