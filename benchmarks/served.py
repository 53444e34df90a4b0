"""Measures service and floor behind gunicorn, and the memory and start of their processes.

``python -m benchmarks.served --against CHECKOUT`` compares the CPU of each request with that of another checkout, which
has databases of its own.
"""

import argparse
import contextlib
import http.client
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from benchmarks import floor_postgresql, floor_sqlite, processor, storage
from benchmarks.fill import ensure_filled
from benchmarks.keys import headers_for
from benchmarks.operations import Request, all_operations
from benchmarks.targets import SMALL

OPERATIONS = ("get", "session data", "list", "search: 100 matches", "create", "update", "assign", "record a message")
CONNECTIONS = 8  # The number of threads of both workers.
SECONDS, ROUNDS = 2.0, 2
_SHORT = 0.7  # Seconds of a run when checkouts are compared.
_SAMPLES = 50
_WRITES = 20_000  # All different, and more than a server completes in SECONDS.
_COMMANDS = {
    "service": ["wsgi:app"],
    "floor": ["--config", "python:benchmarks.floor_gunicorn", "benchmarks.floor:create_floor()"],
}


class Server(NamedTuple):
    process: subprocess.Popen[bytes]
    port: int
    url: str
    headers: dict[str, str]
    seconds_to_first_response: float


def measure_served(url: str, size: int) -> dict[str, Any]:
    """Throughput, latencies and CPU of both servers, measured alternately; memory and start of their workers."""
    headers = headers_for(url)
    with serve("service", url, headers) as service, serve("floor", url, headers) as floor:
        served = _measure_alternately({"service": service, "floor": floor}, size, ROUNDS, SECONDS)
        footprint = {
            "workers": [_memory(pid) for pid in processor.children(service.process.pid)],
            "seconds_to_first_response": service.seconds_to_first_response,
            "floor_workers": [_memory(pid) for pid in processor.children(floor.process.pid)],
            "floor_seconds_to_first_response": floor.seconds_to_first_response,
        }
    return {"served": served, "footprint": footprint}


def _measure_alternately(
    servers: dict[str, Server], size: int, rounds: int, seconds: float, names: Sequence[str] = OPERATIONS
) -> dict[str, dict[str, dict[str, float]]]:
    """Results by operation and server."""
    url = next(iter(servers.values())).url
    driver = floor_sqlite if url.startswith("sqlite") else floor_postgresql
    driver.use_database(url)
    operations = {operation.name: operation for operation in all_operations(driver.execute, _fetch_no_cursor, size)}
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {name: {side: [] for side in servers} for name in names}
    for _ in range(rounds):
        for name in names:
            for side, server in servers.items():
                make = operations[name].request
                count = _SAMPLES if make(0).method == "GET" else _WRITES
                requests = [_raw_request(make(turn), server.headers) for turn in range(count)]
                with processor.measure(server.process.pid, server.url) as cpu:
                    run = _load(server.port, requests, seconds)
                runs[name][side].append({**run, **cpu})
    return {name: {side: _summarize(each) for side, each in sides.items()} for name, sides in runs.items()}


@contextlib.contextmanager
def serve(side: str, url: str, headers: dict[str, str], root: Path = storage.ROOT) -> Iterator[Server]:
    """Run gunicorn with the defaults of ``make run`` until the block ends; ``root`` is the checkout."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "DATABASE_URL": url, "PORT": str(port)}
    log = storage.folder() / f"gunicorn_{side}.log"
    start = time.perf_counter()
    with log.open("wb") as output:
        command = [sys.executable, "-m", "gunicorn", *_COMMANDS[side.partition(" ")[0]]]
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=output, stderr=output)
    try:
        _wait_for_response(process, port, headers, log)
        yield Server(process, port, url, headers, time.perf_counter() - start)
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


def _load(port: int, requests: list[str], seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.load", "127.0.0.1", str(port), str(seconds), str(CONNECTIONS)]
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
        # The lowest, as other load on the machine only adds, by emptying caches.
        **{part: min(run[part] / run["responses"] for run in runs) for part in processor.PARTS},
    }


def _memory(pid: int) -> dict[str, int]:
    """Bytes in memory (RSS), and with shared pages divided by the processes that share them (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.split(":")[0].lower(): int(line.split()[1]) for line in lines}
    return {name: kilobytes[name] * 1024 for name in ("rss", "pss")}


def _fetch_no_cursor(*_: Any) -> dict[str, Any]:
    """Replace an application in this process: cursors aren't measured behind gunicorn."""
    return {"next_cursor": None, "next": None}


def _compare(root: Path, kind: str, size: int, rounds: int, names: Sequence[str]) -> None:
    """Print the CPU of each request of this checkout, of another one, and of the floor."""
    url = ensure_filled(kind, size)["url"]
    own_folder = storage.folder()
    os.environ["CONTACTS_BENCH_DATA"] = str(own_folder / "against")
    fill = [sys.executable, "-m", "benchmarks.fill", "--size", str(size), "--database", kind]
    other_url = storage.database_url(kind, size)  # Starts the server before the fill would start and stop it.
    subprocess.run(fill, cwd=root, stdout=sys.stderr, check=True)
    headers, other_headers = headers_for(url), headers_for(other_url)
    with (
        serve("service", url, headers) as service,
        serve("service (other)", other_url, other_headers, root) as other,
        serve("floor", url, headers) as floor,
    ):
        found = _measure_alternately({"service": service, "other": other, "floor": floor}, size, rounds, _SHORT, names)
    os.environ["CONTACTS_BENCH_DATA"] = str(own_folder)
    print(f"{kind}, {size:,} contacts; CPU of workers + database of each request, ms")
    for name, sides in found.items():
        total = {side: sum(result[part] for part in processor.PARTS) for side, result in sides.items()}
        cells = [" + ".join(f"{result[part] * 1000:.3f}" for part in processor.PARTS) for result in sides.values()]
        ratios = f"÷ other {total['service'] / total['other']:.2f}, ÷ floor {total['service'] / total['floor']:.2f}"
        print(f"{name:20}", *(f"{side} {cell}" for side, cell in zip(sides, cells, strict=True)), ratios, sep="  ")


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.served", description=__doc__)
    arguments.add_argument("--against", type=Path, required=True, help="the checkout to compare with")
    arguments.add_argument("--size", type=int, default=SMALL, help=f"how many contacts ({SMALL})")
    arguments.add_argument("--rounds", type=int, default=8, help="how often each operation runs (8)")
    arguments.add_argument("--database", choices=storage.KINDS, action="append", help="only this kind")
    arguments.add_argument("--operation", choices=OPERATIONS, action="append", help="only this operation")
    given = arguments.parse_args()
    for kind in given.database or storage.KINDS:
        _compare(given.against, kind, given.size, given.rounds, given.operation or OPERATIONS)


if __name__ == "__main__":
    main()
