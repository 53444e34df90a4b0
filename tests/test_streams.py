"""Imports and exports over the running service: as they come, in bounded memory, and interrupted."""

import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.databases import Databases
from helpers.service import Service, call, run_flask, serve, status_of

from contacts_service.settings import MAX_BODY_BYTES
from contacts_service.web import server
from contacts_service.web.request_buffer import RequestBuffer

IMPORT = "/api/contacts/import"
HEAD = b"POST /api/contacts/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
DEADLINE = 60  # Seconds.
MAX_GROWTH_KB = 60_000


def send(service: Service, body: bytes | Iterable[bytes], **headers: str) -> tuple[int, Any]:
    """Send an import, chunked if its body is no bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=300)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", IMPORT, body, {"Content-Type": "text/csv", **named})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text) if response.headers["Content-Type"] == "application/json" else text


def wait_until(is_so: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (found := is_so()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def workers(service: Service) -> list[int]:
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def memory_of_worker(service: Service, name: str) -> int:
    [memory] = re.findall(rf"{name}:\s+([0-9]+) kB", Path(f"/proc/{workers(service)[0]}/status").read_text())
    return int(memory)


def total(service: Service) -> int:
    return int(call(service, "GET", "/api/contacts?limit=1")[1]["data"]["total"])


ONE_OF_TWO = {"WEB_CONCURRENCY": "1", "CONTACTS_THREADS": "2"}


@pytest.fixture
def lone_worker(kind: str, services: Callable[..., Service]) -> Service:
    """One worker of two threads, of which one may import or export."""
    return services(kind, **ONE_OF_TWO)


@pytest.fixture
def own_worker(kind: str, databases: Databases, tmp_path: Path) -> Iterator[Service]:
    """The same, that no other test has written to."""
    with serve(databases.create(kind), tmp_path, **ONE_OF_TWO) as service:
        yield service


@pytest.mark.processes
def test_hundred_megabytes_are_imported_and_exported_in_bounded_memory(own_worker: Service) -> None:
    """Of rows that are stored, rows that are rejected and come back, and cells that are ignored."""
    fat = b"x" * 30_000
    rows = [b"+15550%06d,A,%s,%s\n" % (number, fat, fat) if number % 2 else b"1,%s,,\n" % fat for number in range(2200)]
    assert sum(map(len, rows)) > 95_000_000
    assert send(own_worker, b"phone_number\n+15559999999\n")[0] == 200
    before = memory_of_worker(own_worker, "VmRSS")
    header = b"phone_number,name,metadata.x,last_message_preview\n"
    status, answer = send(own_worker, iter([header, *rows]), Accept="text/csv")
    assert status == 200
    assert answer.count(b"\r\n") == 1101
    assert memory_of_worker(own_worker, "VmHWM") - before < MAX_GROWTH_KB
    connection = http.client.HTTPConnection("127.0.0.1", own_worker.port, timeout=300)
    connection.request("GET", "/api/contacts/export")
    size = len(connection.getresponse().read())
    connection.close()
    assert size > 33_000_000
    assert memory_of_worker(own_worker, "VmHWM") - before < MAX_GROWTH_KB


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("curl") is None, reason="it is about curl")
@pytest.mark.parametrize("options", [["--data-binary", "@{}"], ["-T", "{}", "-X", "POST"], ["-T", "-", "-X", "POST"]])
def test_curl_sends_a_large_file(lone_worker: Service, tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "contacts.csv"
    file.write_bytes(b"phone_number,id\n" + b"".join(b"+1555%07d,%s\n" % (n, b"x" * 10_000) for n in range(300)))
    assert file.stat().st_size > 2 * MAX_BODY_BYTES
    arguments = [option.format(file) for option in options]
    done = subprocess.run(
        ["curl", "-sS", lone_worker.url + IMPORT, "-H", "Content-Type: text/csv", *arguments],
        stdin=file.open("rb"),
        capture_output=True,
        timeout=DEADLINE * 2,
        check=True,
    )
    assert json.loads(done.stdout)["data"]["created"] == 300


@pytest.mark.processes
def test_early_refusal_reaches_a_client_that_still_sends(kind: str, databases: Databases, tmp_path: Path) -> None:
    url = databases.create(kind)
    with serve(url, tmp_path, WEB_CONCURRENCY="1", CONTACTS_IMPORT_LIMIT="3000000") as service:
        body = b"phone_number,id\n" + (b"+15550100,%s\n" % (b"x" * 10_000)) * 250
        assert send(service, b"nmae" + body)[0] == 400
        assert send(service, body, Content_Type="application/json")[0] == 415
        assert send(service, body + body)[0] == 413
        assert send(service, iter([body, body]))[0] == 413
        key = run_flask(url, "keys", "create", "test", "--scope", "contacts:write").stdout.strip()
        wait_until(lambda: send(service, body)[0] == 401)
        assert send(service, body, X_API_Key=key)[0] == 200


def begun_import(service: Service) -> socket.socket:
    """The connection of an import that has begun, and so keeps others away."""
    deadline = time.monotonic() + DEADLINE
    while True:
        slow = socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE)
        slow.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1a\r\nphone_number\n+15550100\n+15\r\n")
        while not select.select([slow], [], [], 0)[0]:  # Else it was refused because of the one that asks.
            if send(service, b"phone_number\n")[1].get("code") == "too_many_streams":
                return slow
            assert time.monotonic() < deadline
        slow.close()


@pytest.mark.processes
def test_slow_imports_hold_up_no_other_request(lone_worker: Service) -> None:
    with begun_import(lone_worker) as slow:
        body = b"phone_number\n" + b"+15550101\n" * 200_000
        assert send(lone_worker, body)[1]["code"] == "too_many_streams"
        assert call(lone_worker, "GET", "/healthz")[0] == 200
        assert call(lone_worker, "POST", "/api/contacts", {"phone_number": "+15550102"})[0] == 201
        assert call(lone_worker, "GET", "/api/contacts/export")[1]["code"] == "too_many_streams"
        slow.sendall(b"7\r\n550103\n\r\n0\r\n\r\n")
        answer = b""
        while received := slow.recv(10_000):
            answer += received
        assert b'"created":2' in answer
    assert total(lone_worker) == 3


@pytest.mark.processes
@pytest.mark.parametrize("framing", [b"Content-Length: 9999999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n26\r\n"])
def test_row_that_a_client_broke_off_is_not_imported(lone_worker: Service, framing: bytes) -> None:
    with socket.create_connection(("127.0.0.1", lone_worker.port), timeout=DEADLINE) as connection:
        connection.sendall(HEAD + framing + b"phone_number\n+15550100\n+1555010")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10_000).startswith(b"HTTP/1.1 400 ")
    assert total(lone_worker) == 0


@pytest.mark.processes
def test_import_that_was_killed_and_sent_again_ends_as_one_that_was_not(
    kind: str, databases: Databases, tmp_path: Path
) -> None:
    row, padding = b"+1555%07d,K%d,name %d,%s,%s\n", b"x" * 200
    rows = [row % (n % 1700, n % 1700, n, b"true" if n % 5 else b"", padding) for n in range(3000)]
    body = b"phone_number,external_id,name,marketing_opt_out,id\n" + b"".join(rows)
    ends = []
    for kills in (0, 2):
        folder = tmp_path / str(kills)
        folder.mkdir()
        with serve(databases.create(kind), folder, WEB_CONCURRENCY="1") as service:
            for number in range(kills):
                kill_in_the_middle(service, body, wanted=500 + 500 * number)
            status, answer = send(service, body)
            assert (status, answer["data"]["failed"]) == (200, 0)
            exported = subprocess.run(
                ["curl", "-sS", f"{service.url}/api/contacts/export?format=ndjson"], capture_output=True, check=True
            )
            own = {"id", "created_at", "updated_at", "version", "marketing_opt_out_at"}
            found = [json.loads(line) for line in exported.stdout.splitlines()]
            ends.append([{name: each[name] for name in each.keys() - own} for each in found])
    assert ends[0] == ends[1]
    assert len(ends[0]) == 1700


def kill_in_the_middle(service: Service, body: bytes, *, wanted: int) -> None:
    """Send half of an import, and kill the worker when so many contacts exist."""

    def half() -> Iterator[bytes]:
        yield body[: len(body) // 2]
        gate.wait(DEADLINE)

    def sending() -> None:
        try:
            send(service, half())
        except OSError:
            broken.set()
        except http.client.HTTPException:
            broken.set()

    gate, broken = threading.Event(), threading.Event()
    thread = threading.Thread(target=sending)
    thread.start()
    wait_until(lambda: total(service) >= wanted)
    [pid] = workers(service)
    os.kill(pid, signal.SIGKILL)
    gate.set()
    thread.join()
    assert broken.is_set()
    wait_until(lambda: [each for each in workers(service) if each != pid])


@pytest.mark.processes
def test_export_that_breaks_off_is_noticed(own_worker: Service) -> None:
    body = b"phone_number,metadata.x\n" + b"".join(b"+1555%07d,%s\n" % (n, b"x" * 20_000) for n in range(1000))
    assert send(own_worker, body)[0] == 200
    connection = http.client.HTTPConnection("127.0.0.1", own_worker.port, timeout=DEADLINE)
    connection.request("GET", "/api/contacts/export")
    response = connection.getresponse()
    assert response.read(1000)
    os.kill(workers(own_worker)[0], signal.SIGKILL)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    connection.close()
    assert wait_until(lambda: status_of(f"{own_worker.url}/healthz")) == 200, "another worker serves"


def test_only_large_and_chunked_bodies_of_imports_are_streamed() -> None:
    long, short = b"Content-Length: 9999999\r\n\r\n", b"Content-Length: 10\r\n\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    other = HEAD.replace(b"import", b"bulk")
    for sent, is_streamed, is_done in (
        (HEAD + long, True, True),
        (HEAD.replace(b" HTTP", b"?dry_run=true HTTP") + chunked, True, True),
        (HEAD + short, False, False),
        (other + long, False, True),
        (other + chunked, False, False),
    ):
        buffer = RequestBuffer()
        assert (buffer.add(sent), buffer.is_streamed) == (is_done, is_streamed), sent


def test_body_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_SILENCE_SECONDS", 0.05)
    ours, theirs = socket.socketpair()
    unreader = server._Streamed(ours)  # noqa: SLF001
    theirs.sendall(b"x")
    assert unreader.chunk() == b"x"
    with pytest.raises(TimeoutError):
        unreader.chunk()
    monkeypatch.setattr(server, "_REQUEST_SECONDS", 0.0)
    theirs.sendall(b"x")
    with pytest.raises(TimeoutError):
        unreader.chunk()
    ours.close()
    theirs.close()
