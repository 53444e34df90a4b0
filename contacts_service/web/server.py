"""Adapts how gunicorn receives: no thread waits for a client, and SIGTERM refuses connections."""

import contextlib
import errno
import logging
import mmap
import select
import socket
import sys
import threading
import time
from http import HTTPStatus
from time import monotonic
from typing import Any, NoReturn

from gunicorn.http.errors import NoMoreData
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import Unreader
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from contacts_service.web.request_buffer import RequestBuffer
from contacts_service.web.server_output import write_error

_REQUEST_SECONDS = 60.0  # From the first byte of a request to its last.
_SILENCE_SECONDS = 30.0  # Between two parts of a body that a thread reads.
_MIN_RATE = 10 * 1024  # Bytes that such a client has to send for each second that it makes the thread wait beyond that.
_CLOSING_SECONDS = 2.0  # For a client to read the last response and close, before we do.
_MAX_RECEIVED = 64 * 1024  # At once; only requests larger than this count for _MAX_BUFFERED.
_MAX_BUFFERED = 64 * 1024 * 1024
# Between threads. With Python's 5 ms an import that computes delays a get six times: after each system call and each
# answer of the database. See docs/decisions/import-export.md.
_SWITCH_SECONDS = 0.001
_YIELD_SECONDS = 0.001  # In which a worker that has fewer connections may accept one: the kernel has woken it too.
_NEXT, _REST, _CLOSE = "the next request", "the rest of a request", "the client to close"
_ONCE = select.EPOLLIN | select.EPOLLONESHOT
# How many connections each worker has, plus one, by its age. Made before the workers are forked, which share it.
_CONNECTIONS = memoryview(mmap.mmap(-1, 256)).cast("I")
_log = logging.getLogger(__name__)


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
    """gunicorn's worker with threads, in which none of them waits for one client.

    As it comes, a thread waits for the first byte, for the rest of the request, and the main loop for a client that
    doesn't close; so a few silent clients stop the service. See docs/decisions/slow-connections.md. Here the threads
    wait together for all clients, and the one that gets the end of a request handles it: handing it over from the main
    loop and back costs more than parsing it, see docs/decisions/served-path.md. The main loop accepts and closes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._conns: dict[int, Any] = {}
        """Open connections by file descriptor."""
        self._waiting: dict[Any, str] = {}
        """Connections that wait for their client, and for what, oldest first. The thread that removes one owns it."""

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        super().check_config(cfg, log)
        if cfg.is_ssl:
            raise RuntimeError("The service doesn't speak TLS: put a proxy in front of it that does.")

    def init_process(self) -> None:
        # Settings are read twenty times for each request, by way of __getattr__.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        self._epoll = select.epoll()
        sys.setswitchinterval(_SWITCH_SECONDS)
        super().init_process()

    def run(self) -> None:
        for _ in range(self.cfg.threads):
            threading.Thread(target=self._serve, daemon=True).start()
        self._share_count()
        super().run()

    def _share_count(self) -> None:
        _CONNECTIONS[self.age % len(_CONNECTIONS)] = self.nr_conns + 1

    def accept(self, listener: Any) -> None:
        if any(0 < count <= self.nr_conns for count in _CONNECTIONS):
            time.sleep(_YIELD_SECONDS)
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno != errno.EINVAL:  # From accept(2): the socket doesn't listen any more.
                raise
            self.set_accept_enabled(False)
        self._share_count()
        if self.nr_conns >= self.worker_connections:
            waiting = list(self._waiting.items())
            idle = [conn for conn, phase in waiting if phase == _NEXT]
            for conn in (idle or [conn for conn, _ in waiting])[:1]:
                self._close_if_waiting(conn)

    def enqueue_req(self, conn: Any) -> None:
        """Wait for the first request of a connection."""
        conn.initialized = True
        conn.sock.setblocking(True)
        conn.parser = RequestParser(self.cfg, (), conn.client)
        conn.parser.unreader = _Buffered()
        conn.buffer = RequestBuffer()
        conn.descriptor, conn.is_open = conn.sock.fileno(), True
        self._conns[conn.descriptor] = conn
        self._waiting[conn], conn.timeout = _NEXT, monotonic() + self.cfg.keepalive
        self._epoll.register(conn.descriptor, _ONCE)

    def murder_pending(self) -> None:
        now = monotonic()
        for conn, phase in list(self._waiting.items()):
            if conn.timeout <= now and self._waiting.pop(conn, None):
                if phase == _REST:
                    with contextlib.suppress(OSError):
                        write_error(conn.sock, HTTPStatus.REQUEST_TIMEOUT, "", "")
                self._close(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        for conn, phase in list(self._waiting.items()):
            if phase == _NEXT:
                conn.timeout = min(conn.timeout, deadline)

    def _serve(self) -> None:
        while True:
            try:
                self._serve_next()
            except Exception:  # noqa: BLE001 - Whatever went wrong with one, the thread serves the others.
                _log.exception("a connection failed")

    def _serve_next(self, timeout: float | None = None) -> None:
        """Take what a client has sent."""
        for descriptor, _ in self._epoll.poll(timeout, 1):
            conn: Any = self._conns.get(descriptor)
            phase = self._waiting.pop(conn, None)
            if phase is None:  # The main loop closes it.
                continue
            try:
                self._receive(conn, phase)
            except BlockingIOError:  # It has the descriptor of one that was closed meanwhile.
                self._wait(conn, phase, conn.timeout)
            except OSError:
                self.method_queue.defer(self._close, conn)

    def _receive(self, conn: Any, phase: str) -> None:
        data = conn.sock.recv(_MAX_RECEIVED, socket.MSG_DONTWAIT)
        if not data and phase != _REST:
            self.method_queue.defer(self._close, conn)
        elif phase == _CLOSE:
            self._wait(conn, phase, conn.timeout)
        elif not data or conn.buffer.add(data):
            self._handle(conn)
        else:
            if conn.buffer.expects_continue:
                conn.buffer.expects_continue = False
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._wait(conn, _REST, monotonic() + _REQUEST_SECONDS if phase == _NEXT else conn.timeout)
            if len(conn.buffer.data) > _MAX_RECEIVED:
                self.method_queue.defer(self._bound_buffers)

    def _handle(self, conn: Any) -> None:
        """Answer requests that were received whole."""
        while True:
            if conn.buffer.is_streamed:
                conn.parser.unreader = _Streamed(conn.sock)
            conn.parser.unreader.unread(bytes(conn.buffer.data))
            conn.buffer = RequestBuffer()
            if not self.handle(conn):
                # Closed at once, the kernel might drop the response that the client hasn't read (RFC 9112, 9.6).
                conn.sock.shutdown(socket.SHUT_WR)
                self._wait(conn, _CLOSE, monotonic() + _CLOSING_SECONDS)
            elif not (received := conn.parser.unreader.take_buffered()):
                seconds = self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER
                self._wait(conn, _NEXT, monotonic() + seconds)
            elif not conn.buffer.add(received):
                self._wait(conn, _REST, monotonic() + _REQUEST_SECONDS)
            else:
                continue
            return

    def handle_request(self, req: Any, conn: Any) -> bool:
        if isinstance(conn.parser.unreader, _Streamed):
            req.should_close = lambda: True  # Else the thread would read what is left of the body.
        return bool(super().handle_request(req, conn))

    def _wait(self, conn: Any, phase: str, timeout: float) -> None:
        conn.timeout = timeout
        self._waiting[conn] = phase
        self._epoll.modify(conn.descriptor, _ONCE)

    def _bound_buffers(self) -> None:
        receiving = [conn for conn, phase in list(self._waiting.items()) if phase == _REST]
        excess = sum(len(conn.buffer.data) for conn in receiving) - _MAX_BUFFERED
        for conn in receiving:
            if excess > 0:
                excess -= len(conn.buffer.data)
                self._close_if_waiting(conn)

    def _close_if_waiting(self, conn: Any) -> None:
        if self._waiting.pop(conn, None):
            self._close(conn)

    def _close(self, conn: Any) -> None:
        """Close a connection that no thread has, in the main loop."""
        if conn.is_open:
            conn.is_open = False
            descriptor = conn.descriptor
            if self._conns.get(descriptor) is conn:  # Else gunicorn closed it, and another has its descriptor.
                del self._conns[descriptor]
            self.nr_conns -= 1
            self._share_count()
            conn.close()


def forget_connections(worker: Any) -> None:
    """Have the workers no longer yield to one that ended."""
    _CONNECTIONS[worker.age % len(_CONNECTIONS)] = 0


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
