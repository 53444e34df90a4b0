"""Adapts gunicorn: no thread waits for a client, error responses are in the envelope, SIGTERM refuses connections."""

import contextlib
import errno
import logging
import selectors
import socket
from collections import deque
from functools import partial
from http import HTTPStatus
from time import monotonic
from typing import Any, NoReturn

import uuid_utils
from gunicorn import util
from gunicorn.http.errors import NoMoreData
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import Unreader
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from contacts_service.errors import documented_errors
from contacts_service.web.envelope import encode, error_body
from contacts_service.web.request_buffer import RequestBuffer

_REQUEST_SECONDS = 60.0  # From the first byte of a request to its last.
_SILENCE_SECONDS = 30.0  # Between two parts of a body that a thread reads.
_MIN_RATE = 10 * 1024  # Bytes that such a client has to send for each second that it makes the thread wait beyond that.
_CLOSING_SECONDS = 2.0  # For a client to read the last response and close, before we do.
_MAX_RECEIVED = 64 * 1024  # At once; only requests larger than this count for _MAX_BUFFERED.
_MAX_BUFFERED = 64 * 1024 * 1024
_log = logging.getLogger(__name__)


def keep_gunicorn_in_the_envelope() -> None:
    """Have gunicorn refuse requests in our envelope. It has no setting for that, so its function is replaced."""
    util.write_error = _write_error


class _Buffered(Unreader):
    """A request that was received whole: there is no more data than that."""

    def chunk(self, size_hint: int | None = None) -> NoReturn:  # noqa: ARG002
        raise NoMoreData(b"")


class _Streamed(Unreader):
    """A request whose body a thread reads as it comes."""

    def __init__(self, client: socket.socket) -> None:
        super().__init__()
        self._client = client
        self._waited = self._received = 0.0

    def chunk(self, size_hint: int | None = None) -> bytes:  # noqa: ARG002
        """Wait for more. Raises TimeoutError for a client that is silent or sends too slowly."""
        left = _REQUEST_SECONDS + self._received / _MIN_RATE - self._waited
        if left <= 0:
            raise TimeoutError
        began = monotonic()
        self._client.settimeout(min(left, _SILENCE_SECONDS))
        try:
            data = self._client.recv(_MAX_RECEIVED)
        finally:
            self._client.settimeout(None)
            self._waited += monotonic() - began
        self._received += len(data)
        return data


class Worker(ThreadWorker):
    """gunicorn's worker with threads, which get whole requests: the main loop waits for clients.

    As it comes, a thread waits for the first byte, for the rest of the request, and the main loop for a client that
    doesn't close; so a few silent clients stop the service. See docs/decisions/slow-connections.md.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Beside keepalived_conns, which wait for a request, and pending_conns, which wait for the rest of one.
        self._closing_conns: deque[Any] = deque()

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        super().check_config(cfg, log)
        if cfg.is_ssl:
            raise RuntimeError("The service doesn't speak TLS: put a proxy in front of it that does.")

    def accept(self, listener: Any) -> None:
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno != errno.EINVAL:  # From accept(2): the socket doesn't listen any more.
                raise
            self.set_accept_enabled(False)
        if self.nr_conns >= self.worker_connections and (waiting := self.keepalived_conns or self.pending_conns):
            self._close(waiting[0])

    def enqueue_req(self, conn: Any) -> None:
        """Wait for the next request of a connection, and let a thread handle it."""
        if not conn.initialized:
            conn.initialized = True
            conn.parser = RequestParser(self.cfg, (), conn.client)
            conn.parser.unreader = _Buffered()
        conn.buffer = RequestBuffer()
        received = conn.parser.unreader.take_buffered()  # Behind the request before.
        if received and conn.buffer.add(received):
            self._submit(conn)
        elif received:
            self._wait(conn, self.pending_conns, _REQUEST_SECONDS)
        else:
            self._wait(conn, self.keepalived_conns, self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER)

    def finish_request(self, conn: Any, fs: Any) -> None:
        try:
            conn.sock.setblocking(False)
            if not fs.cancelled() and not fs.exception() and fs.result():
                self.enqueue_req(conn)
                return
            # Closed at once, the kernel might drop the response that the client hasn't read (RFC 9112, section 9.6).
            conn.sock.shutdown(socket.SHUT_WR)
            self._wait(conn, self._closing_conns, _CLOSING_SECONDS)
        except OSError:  # Closed by the client, or by gunicorn after an error.
            self.nr_conns -= 1
            conn.close()

    def murder_pending(self) -> None:
        for waiting in (self.pending_conns, self._closing_conns):
            while waiting and waiting[0].timeout <= monotonic():
                if waiting is self.pending_conns:
                    with contextlib.suppress(OSError):
                        _write_error(waiting[0].sock, HTTPStatus.REQUEST_TIMEOUT, "", "")
                self._close(waiting[0])

    def _receive(self, conn: Any, client: socket.socket) -> None:
        """Take what a client has sent."""
        if client.fileno() < 0:  # Closed since the poller reported it.
            return
        try:
            data = client.recv(_MAX_RECEIVED)
        except BlockingIOError:
            return
        except OSError:
            self._close(conn)
            return
        is_first = conn.waiting is self.keepalived_conns
        if conn.waiting is self._closing_conns or (is_first and not data):
            if not data:
                self._close(conn)
        elif not data or conn.buffer.add(data):
            self._stop_waiting(conn)
            self._submit(conn)
        else:
            if is_first:
                self._stop_waiting(conn)
                self._wait(conn, self.pending_conns, _REQUEST_SECONDS)
            if conn.buffer.expects_continue:
                conn.buffer.expects_continue = False
                with contextlib.suppress(OSError):
                    client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            while len(conn.buffer.data) > _MAX_RECEIVED and self._buffered() > _MAX_BUFFERED:
                self._close(self.pending_conns[0])

    def _buffered(self) -> int:
        return sum(len(conn.buffer.data) for conn in self.pending_conns)

    def _submit(self, conn: Any) -> None:
        if conn.buffer.is_streamed:
            conn.parser.unreader = _Streamed(conn.sock)
        conn.parser.unreader.unread(bytes(conn.buffer.data))
        conn.buffer = None
        super().enqueue_req(conn)

    def handle_request(self, req: Any, conn: Any) -> bool:
        if isinstance(conn.parser.unreader, _Streamed):
            req.should_close = lambda: True  # Else the thread would read what is left of the body.
        return bool(super().handle_request(req, conn))

    def _wait(self, conn: Any, waiting: deque[Any], seconds: float) -> None:
        conn.waiting, conn.timeout = waiting, monotonic() + seconds
        waiting.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))

    def _stop_waiting(self, conn: Any) -> None:
        conn.waiting.remove(conn)
        self.poller.unregister(conn.sock)

    def _close(self, conn: Any) -> None:
        self._stop_waiting(conn)
        self.nr_conns -= 1
        conn.close()


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
