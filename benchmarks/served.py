"""Measures service and floor behind gunicorn, and the memory and start of their processes."""

import contextlib
import http.client
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from benchmarks import floor_postgresql, floor_sqlite, storage
from benchmarks.keys import headers_for
from benchmarks.operations import Request, all_operations

OPERATIONS = ("get", "session data", "list", "search: 100 matches", "record a message")
CONNECTIONS = 8  # The number of threads of both workers.
SECONDS, ROUNDS = 2.0, 2
_SAMPLES = 50
_WRITES = 20_000  # All different, and more than a server completes in SECONDS.
_COMMANDS = {
    "service": ["wsgi:app"],
    "floor": ["--config", "python:benchmarks.floor_gunicorn", "benchmarks.floor:create_floor()"],
}


class Server(NamedTuple):
    process: subprocess.Popen[bytes]
    port: int
    seconds_to_first_response: float


def measure_served(url: str, size: int) -> dict[str, Any]:
    """Throughput and latencies of both servers, which are measured alternately; memory and start of their workers."""
    driver = floor_sqlite if url.startswith("sqlite") else floor_postgresql
    driver.use_database(url)
    operations = {operation.name: operation for operation in all_operations(driver.execute, _fetch_no_cursor, size)}
    headers = headers_for(url)
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {name: {"service": [], "floor": []} for name in OPERATIONS}
    with serve("service", url, headers) as service, serve("floor", url, headers) as floor:
        for _ in range(ROUNDS):
            for name in OPERATIONS:
                for side, server in (("service", service), ("floor", floor)):
                    make = operations[name].request
                    count = _SAMPLES if make(0).method == "GET" else _WRITES
                    requests = [_raw_request(make(turn), headers) for turn in range(count)]
                    runs[name][side].append(_load(server.port, requests))
        footprint = {
            "workers": [_memory(pid) for pid in _children(service.process.pid)],
            "seconds_to_first_response": service.seconds_to_first_response,
            "floor_workers": [_memory(pid) for pid in _children(floor.process.pid)],
            "floor_seconds_to_first_response": floor.seconds_to_first_response,
        }
    served = {name: {side: _summarize(each) for side, each in sides.items()} for name, sides in runs.items()}
    return {"served": served, "footprint": footprint}


@contextlib.contextmanager
def serve(side: str, url: str, headers: dict[str, str]) -> Iterator[Server]:
    """Run gunicorn with the defaults of ``make run`` until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "DATABASE_URL": url, "PORT": str(port)}
    log = storage.folder() / f"gunicorn_{side}.log"
    start = time.perf_counter()
    with log.open("wb") as output:
        command = [sys.executable, "-m", "gunicorn", *_COMMANDS[side]]
        process = subprocess.Popen(command, cwd=storage.ROOT, env=environment, stdout=output, stderr=output)
    try:
        _wait_for_response(process, port, headers, log)
        yield Server(process, port, time.perf_counter() - start)
    finally:
        process.terminate()
        process.wait(timeout=40)


def _wait_for_response(process: subprocess.Popen[bytes], port: int, headers: dict[str, str], log: Path) -> None:
    """Wait for a page of contacts, for which the database has to be open."""
    while process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.closing(connection), contextlib.suppress(ConnectionError):
            connection.request("GET", "/api/contacts?limit=1", headers=headers)
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(0.01)
    raise RuntimeError(log.read_text())


def _raw_request(request: Request, headers: dict[str, str]) -> str:
    body = orjson.dumps(request.body).decode() if request.body else ""
    path = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
    lines = [f"{request.method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"]
    return "\r\n".join([*lines, "", body])


def _load(port: int, requests: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.load", "127.0.0.1", str(port), str(SECONDS), str(CONNECTIONS)]
    completed = subprocess.run(
        command, cwd=storage.ROOT, input=orjson.dumps(requests), stdout=subprocess.PIPE, check=True
    )
    return orjson.loads(completed.stdout)


def _summarize(runs: list[dict[str, Any]]) -> dict[str, float]:
    latencies = sorted(latency for run in runs for latency in run["latencies"])
    return {
        "requests_per_second": sum(run["responses"] for run in runs) / sum(run["seconds"] for run in runs),
        "p50": statistics.median(latencies),
        "p99": latencies[int(len(latencies) * 0.99)],
        "refused": sum(run["refused"] for run in runs),
    }


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _memory(pid: int) -> dict[str, int]:
    """Bytes in memory (RSS), and with shared pages divided by the processes that share them (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.split(":")[0].lower(): int(line.split()[1]) for line in lines}
    return {name: kilobytes[name] * 1024 for name in ("rss", "pss")}


def _fetch_no_cursor(*_: Any) -> dict[str, Any]:
    """Replace an application in this process: cursors aren't measured behind gunicorn."""
    return {"next_cursor": None}
