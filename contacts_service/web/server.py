"""Adapts gunicorn: its own error responses are in the envelope, and SIGTERM refuses new connections at once."""

import contextlib
import errno
import logging
import socket
from http import HTTPStatus
from typing import Any

import uuid_utils
from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

from contacts_service.errors import documented_errors
from contacts_service.web.envelope import encode, error_body

_log = logging.getLogger(__name__)


def keep_gunicorn_in_the_envelope() -> None:
    """Have gunicorn refuse requests in our envelope. It has no setting for that, so its function is replaced."""
    util.write_error = _write_error


class Worker(ThreadWorker):
    """gunicorn's worker with threads; it survives that the listening socket is shut down while it accepts."""

    def accept(self, listener: Any) -> None:
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno != errno.EINVAL:  # From accept(2): the socket doesn't listen any more.
                raise
            self.set_accept_enabled(False)


def refuse_when_stopped(arbiter: Any) -> None:
    """Have the socket refuse connections from the moment of SIGTERM.

    gunicorn closes it in the master alone: while a worker has a request in flight, the kernel would go on accepting
    connections that no one answers.
    """
    stop = arbiter.stop

    def refuse_and_stop(*args: Any, **kwargs: Any) -> None:
        is_shared = arbiter.reexec_pid or arbiter.master_pid or arbiter.systemd  # Another gunicorn goes on with it.
        for listener in () if is_shared else arbiter.LISTENERS:
            with contextlib.suppress(OSError):
                listener.sock.shutdown(socket.SHUT_RDWR)
        stop(*args, **kwargs)

    arbiter.stop = refuse_and_stop


def _write_error(client: socket.socket, status: int, reason: str, message: str) -> None:  # noqa: ARG001
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
