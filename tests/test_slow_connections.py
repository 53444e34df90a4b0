"""Clients that are silent, send slowly or don't close: they hold up no one else, and what they hold is bounded."""

import contextlib
import json
import logging
import os
import re
import select
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn
from helpers.databases import Databases
from helpers.service import Service, call, serve

from contacts_service.settings import MAX_BODY_BYTES
from contacts_service.web import server
from contacts_service.web.request_buffer import RequestBuffer

HEAD = b"POST /api/contacts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CONTACT = b'{"phone_number": "+1234567890"}'
CONTINUE = b"Expect: 100-continue\r\n"
LENGTH = HEAD + b"Content-Length: %d\r\n" % len(CONTACT)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"9;a=b\r\n%s\r\nA\r\n%s\r\nc\r\n%s\r\n0\r\n" % (CONTACT[:9], CONTACT[9:19], CONTACT[19:])
UNFINISHED = {
    "silent": b"",
    "in the head": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: a",
    "in the body": HEAD + b"Content-Length: 1000\r\n\r\n{",
    "before the body": HEAD + b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
    "in a chunk": CHUNKED + b"\r\n3e8\r\n{",
    "behind what looks like the last chunk": CHUNKED + b"\r\n3e8\r\n0\r\n\r\n",
    "in a body that is too large": HEAD + b"Content-Length: 3000000\r\n\r\n{",
    "behind the response": b"GET /healthz HTTP/1.0\r\n\r\n",
}
WHOLE = [
    (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
    (b"\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
    (LENGTH + b"\r\n" + CONTACT, CONTACT),
    (LENGTH + CONTINUE + b"\r\n" + CONTACT, CONTACT),
    (HEAD + CONTINUE + LENGTH.removeprefix(HEAD) + b"\r\n" + CONTACT, CONTACT),
    (CHUNKED + b"\r\n" + CHUNKS + b"\r\n", CONTACT),
    (CHUNKED + CONTINUE + b"\r\n" + CHUNKS + b"X-Trailer: a\r\n\r\n", CONTACT),
    (CHUNKED + b"\r\nA\r\n0\r\n\r\n55555\r\n0\r\n\r\n", b"0\r\n\r\n55555"),
]
REFUSED_UNREAD = [
    b"\x16\x03\x01",  # TLS
    b"GET / HTTP/1.1\n\n",
    b"GET /" + b"x" * 400_000,
    HEAD + b"Content-Length: 3000000\r\n\r\n",
    HEAD + b"Transfer-Encoding: xchunked\r\n\r\n",
    CHUNKED + b"\r\nnot a size\r\n",
    CHUNKED + b"\r\n" + b"1" * 5000,
    CHUNKED + b"\r\n" + b"1\r\n \r\n" * (MAX_BODY_BYTES // 2),
    CHUNKED + b"\r\n0\r\n" + b"X: y\r\n" * 60_000,
]


ONE_OF_TWO = {"WEB_CONCURRENCY": "1", "CONTACTS_THREADS": "2"}


@pytest.fixture
def lone_worker(services: Callable[..., Service]) -> Service:
    return services("sqlite", **ONE_OF_TWO)


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=30)


def is_open(connection: socket.socket) -> bool:
    """Whether the service has neither responded nor closed."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        received = connection.recv(1000)
        return received.startswith(b"HTTP/1.1 100")
    return True


@pytest.mark.processes
@pytest.mark.parametrize("stopped", UNFINISHED)
def test_unfinished_requests_hold_up_no_other(lone_worker: Service, stopped: str) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(lone_worker)) for _ in range(40)]
        for connection in held:
            connection.sendall(UNFINISHED[stopped])
        began = time.monotonic()
        assert call(lone_worker, "GET", "/healthz")[0] == 200
        assert call(lone_worker, "POST", "/api/contacts", {"phone_number": "+1234567890"})[0] == 201
        assert time.monotonic() - began < 20, "forty in two threads, each for seconds, would take longer"
        if stopped not in {"in a body that is too large", "behind the response"}:
            assert all(is_open(connection) for connection in held)


@pytest.mark.processes
@pytest.mark.parametrize("stopped", ["silent", "behind the response"])
def test_connections_without_a_request_hold_up_no_stop(databases: Databases, tmp_path: Path, stopped: str) -> None:
    with serve(databases.create("sqlite"), tmp_path, **ONE_OF_TWO) as service, contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(service)) for _ in range(40)]
        for connection in held:
            connection.sendall(UNFINISHED[stopped])
        assert call(service, "GET", "/healthz")[0] == 200
        service.process.terminate()
        assert service.process.wait(timeout=20) == 0


@pytest.mark.processes
def test_request_that_comes_byte_by_byte_is_answered(lone_worker: Service) -> None:
    for sent, _ in WHOLE[:-1]:
        with connect(lone_worker) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in sent:
                connection.sendall(bytes([byte]))
            response = connection.recv(1000).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n") or connection.recv(1000)
            assert response.split()[1] in {b"200", b"201", b"409"}, sent


@pytest.mark.processes
def test_requests_sent_at_once_are_answered_in_their_order(lone_worker: Service) -> None:
    with connect(lone_worker) as connection:
        connection.sendall(WHOLE[2][0] + WHOLE[5][0] + WHOLE[0][0] + WHOLE[0][0][:20])
        received = b""
        while received.count(b"HTTP/1.1") < 3 or not received.endswith(b"}"):
            received += connection.recv(10_000)
        assert re.findall(rb"HTTP/1.1 ([0-9]+)", received) == [b"201", b"409", b"200"]
        connection.sendall(WHOLE[0][0][20:])
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.processes
def test_response_to_a_body_that_is_too_large_arrives_before_the_connection_closes(lone_worker: Service) -> None:
    with connect(lone_worker) as connection:
        size = 2 * MAX_BODY_BYTES
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        connection.sendall(b"x" * size)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while chunk := connection.recv(10_000):
            received += chunk
        assert received.startswith(b"HTTP/1.1 413")
        assert received.count(b"HTTP/1.1") == 1, "what was not read is no request"


def parsed(data: bytes) -> tuple[bytes, bytes]:
    """What gunicorn's parser reads as the body, and what it leaves."""
    parser = RequestParser(Config(), (), ("127.0.0.1", 1))
    parser.unreader = server._Buffered()  # noqa: SLF001
    parser.unreader.unread(data)
    return next(parser).body.read(), parser.unreader.take_buffered()


@pytest.mark.parametrize(("sent", "body"), WHOLE)
def test_request_is_whole_with_its_last_byte_wherever_it_is_cut(sent: bytes, body: bytes) -> None:
    for size in range(1, len(sent) + 1):
        buffer = RequestBuffer()
        pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
        assert [buffer.add(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        assert parsed(bytes(buffer.data)) == (body, b"")
    buffer = RequestBuffer()
    assert buffer.add(sent + sent)
    assert parsed(bytes(buffer.data)) == (body, sent)


@pytest.mark.parametrize("sent", REFUSED_UNREAD, ids=lambda sent: sent[:90])
def test_request_that_will_be_refused_is_not_waited_for(sent: bytes) -> None:
    assert RequestBuffer().add(sent)


def test_request_cut_short_is_no_request() -> None:
    with pytest.raises(NoMoreData):
        parsed(LENGTH + b"\r\n" + CONTACT[:-1])
    with pytest.raises(NoMoreData):
        parsed(LENGTH)


class LoneWorker(server.Worker):
    """A worker without processes and threads, which runs step by step, and handles no request."""

    def __init__(self) -> None:
        super().__init__(0, os.getpid(), [], None, 30, Config(), logging.getLogger())
        self.poller = selectors.DefaultSelector()
        self._epoll = select.epoll()
        self.method_queue.init()
        self.poller.register(self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks)
        self.submitted: list[Any] = []

    def connect(self) -> tuple[Any, socket.socket]:
        ours, theirs = socket.socketpair()
        theirs.settimeout(10)
        connection = TConn(self.cfg, ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        self.nr_conns += 1
        self.enqueue_req(connection)
        return connection, theirs

    def _handle(self, conn: Any) -> None:
        self.submitted.append(conn)

    def step(self) -> None:
        for _ in range(self.nr_conns):
            self._serve_next(0)
        self.wait_for_and_dispatch_events(0)

    def receiving(self) -> list[Any]:
        return [conn for conn, phase in self._waiting.items() if phase == server._REST]  # noqa: SLF001


def test_unfinished_request_is_408_in_the_envelope_after_its_time() -> None:
    worker = LoneWorker()
    connection, client = worker.connect()
    client.sendall(UNFINISHED["in the body"])
    worker.step()
    worker.murder_pending()
    assert is_open(client)
    connection.timeout = 0
    worker.murder_pending()
    client.setblocking(True)
    head, _, body = client.recv(10_000).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout")
    assert json.loads(body)["code"] == "request_timeout"
    assert (client.recv(1), worker.nr_conns, worker.submitted) == (b"", 0, [])


def test_client_that_closes_is_forgotten() -> None:
    worker = LoneWorker()
    for sent in (b"", UNFINISHED["in the body"]):
        connection, client = worker.connect()
        client.sendall(sent)
        worker.step()
        client.close()
        worker.step()
        assert worker.submitted == ([connection] if sent else []), "its parser finds the request cut short"
    assert worker.nr_conns == 1


def test_bytes_of_unfinished_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MAX_BUFFERED", 1_000_000)
    worker = LoneWorker()
    clients = [worker.connect()[1] for _ in range(8)]
    for client in clients:
        client.setblocking(False)
        left = memoryview(HEAD + b"Content-Length: 300000\r\n\r\n" + b"x" * 299_999)
        while left:
            with contextlib.suppress(BlockingIOError):
                left = left[client.send(left) :]
            worker.step()
    assert sum(len(connection.buffer.data) for connection in worker.receiving()) <= 1_000_000
    assert worker.nr_conns == len(worker.receiving()) == 3, "the oldest are closed"


def test_connection_closed_in_the_same_turn_as_it_sent_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MAX_RECEIVED", 1000)
    monkeypatch.setattr(server, "_MAX_BUFFERED", 1000)
    worker = LoneWorker()
    clients = [worker.connect()[1] for _ in range(8)]
    for _ in range(3):
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(HEAD + b"X: " + b"x" * 1000)
        worker.step()
    assert worker.nr_conns == len(worker._waiting) < 8  # noqa: SLF001


def test_service_refuses_to_start_with_tls() -> None:
    config = Config()
    config.set("certfile", "server.pem")
    with pytest.raises(RuntimeError, match="TLS"):
        server.Worker.check_config(config, logging.getLogger())


def test_many_silent_connections_don_t_keep_a_new_one_out() -> None:
    worker = LoneWorker()
    worker.worker_connections = 5
    with socket.create_server(("127.0.0.1", 0)) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(20)]
        for _ in clients:
            worker.accept(listener)
        assert worker.nr_conns < 5
        clients[-1].sendall(WHOLE[0][0])
        while not worker.submitted:
            worker.step()
        for client in clients:
            client.close()


def test_worker_accepts_behind_one_that_has_fewer_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = LoneWorker()
    clients = [worker.connect()[1] for _ in range(2)]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        clients.append(socket.create_connection(listener.getsockname()))
        monkeypatch.setattr(server.time, "sleep", lambda _: listener.accept()[0].close())
        monkeypatch.setattr(server, "_CONNECTIONS", [3, 2, 0])  # This one has two, the other one.
        worker.accept(listener)
        assert worker.nr_conns == 2, "the other took it"
        monkeypatch.setattr(server, "_CONNECTIONS", [3, 4, 0])
        clients.append(socket.create_connection(listener.getsockname()))
        worker.accept(listener)
        assert worker.nr_conns == 3
    for client in clients:
        client.close()
