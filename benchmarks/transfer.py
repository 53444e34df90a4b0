"""Imports and exports many contacts behind gunicorn, beside the least that a database needs for the same rows.

``python -m benchmarks.transfer --rows 1000000`` prints the seconds of both, what other callers' gets take meanwhile,
and the memory of the workers.
"""

import argparse
import csv
import http.client
import io
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import psycopg

from benchmarks import processor, storage
from benchmarks.served import Server, serve

_EMPTY = 0  # The size in the name of the database that is filled here.
_TABLE = "CREATE TABLE bare (phone_number TEXT UNIQUE, external_id TEXT UNIQUE, name TEXT, tags TEXT, plan TEXT)"
_HEADER = ("phone_number", "external_id", "name", "tags", "metadata.plan")
_FIRST = {"phone_number": "+4910000000", "name": "The one who is read meanwhile"}
_PART = 256 * 1024


class Reader(threading.Thread):
    """Gets one contact again and again, and keeps the latencies."""

    def __init__(self, server: Server, path: str) -> None:
        super().__init__(daemon=True)
        self._server, self._path = server, path
        self._is_over = threading.Event()
        self.latencies: list[float] = []

    def run(self) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self._server.port)) as connection:
            while not self._is_over.wait(0.005):
                began = time.perf_counter()
                connection.request("GET", self._path)
                response = connection.getresponse()
                response.read()
                if response.status != http.HTTPStatus.OK:
                    raise RuntimeError(response.status)
                self.latencies.append(time.perf_counter() - began)

    def p99(self) -> float:
        """Stop reading. Returns milliseconds."""
        self._is_over.set()
        self.join()
        return sorted(self.latencies)[int(len(self.latencies) * 0.99)] * 1000


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--database", choices=storage.KINDS, action="append", help="only this kind")
    given = arguments.parse_args()
    file = storage.folder() / f"import_{given.rows}.csv"
    with file.open("w", newline="") as written:
        csv.writer(written).writerows([_HEADER, *_rows(given.rows)])
    for kind in given.database or storage.KINDS:
        _measure(kind, file, given.rows)
    file.unlink()


def _rows(count: int) -> Iterator[tuple[str, ...]]:
    for number in range(count):
        yield f"+49171{number:08}", f"CRM-{number}", f"Jürgen Müller {number}", "imported,vip", "gold"


def _measure(kind: str, file: Path, rows: int) -> None:
    storage.create_empty(kind, _EMPTY)
    url = storage.database_url(kind, _EMPTY)
    with serve("service", url, {}) as server:
        path = _create(server)
        quiet = _reading(server, path, lambda: time.sleep(5))
        memory = _memory(server)
        busy = _reading(server, path, lambda: print(_import(server, file)))
        print(f"{kind}: import {busy[1]:.1f} s, {rows / busy[1]:,.0f} rows/s")
        print(f"  p99 of a get {quiet[0]:.2f} ms before, {busy[0]:.2f} ms meanwhile")
        print(f"  workers {memory} MiB before, {_memory(server)} MiB after")
        began = time.perf_counter()
        size = _export(server)
        seconds = time.perf_counter() - began
        print(f"  export {size / 1e6 / seconds:.1f} MB/s ({size / 1e6:.0f} MB), workers {_memory(server)} MiB after")
    began = time.perf_counter()
    (_load_sqlite if kind == "sqlite" else _load_postgresql)(url, file)
    floor = time.perf_counter() - began
    print(f"  floor of the import {floor:.1f} s: {busy[1] / floor:.1f} times as long")
    began = time.perf_counter()
    size = (_dump_sqlite if kind == "sqlite" else _dump_postgresql)(url)
    print(f"  floor of the export {size / 1e6 / (time.perf_counter() - began):.1f} MB/s")


def _reading(server: Server, path: str, what: Callable[[], Any]) -> tuple[float, float]:
    """Do something while another client reads. Returns its p99 in milliseconds, and how many seconds it took."""
    reader = Reader(server, path)
    reader.start()
    began = time.perf_counter()
    what()
    seconds = time.perf_counter() - began
    return reader.p99(), seconds


def _create(server: Server) -> str:
    """Create the contact that is read. Returns its path."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        connection.request("POST", "/api/contacts", orjson.dumps(_FIRST), {"Content-Type": "application/json"})
        return f"/api/contacts/{orjson.loads(connection.getresponse().read())['data']['id']}"


def _import(server: Server, file: Path) -> str:
    headers = {"Content-Type": "text/csv", "Content-Length": str(file.stat().st_size)}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection, file.open("rb") as body:
        connection.request("POST", "/api/contacts/import", body, headers)
        return connection.getresponse().read().decode()[:200]


def _export(server: Server) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        connection.request("GET", "/api/contacts/export?format=csv")
        response = connection.getresponse()
        return sum(map(len, iter(lambda: response.read(_PART), b"")))


def _memory(server: Server) -> list[int]:
    """Resident memory of each worker, in MiB."""
    return [
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 >> 20
        for pid in processor.children(server.process.pid)
    ]


def _load_sqlite(url: str, file: Path) -> None:
    bare = Path(url.removeprefix("sqlite:///")).with_name("bare.db")
    bare.unlink(missing_ok=True)
    with closing(sqlite3.connect(bare)) as connection, file.open(newline="") as read:
        connection.execute(_TABLE)
        rows = csv.reader(read)
        next(rows)
        connection.executemany("INSERT INTO bare VALUES (?, ?, ?, ?, ?)", rows)
        connection.commit()
    bare.unlink()


def _load_postgresql(url: str, file: Path) -> None:
    with psycopg.connect(url) as connection, file.open("rb") as read:
        connection.execute(_TABLE)
        with connection.cursor().copy("COPY bare FROM STDIN (FORMAT csv, HEADER)") as copy:
            while part := read.read(_PART):
                copy.write(part)


def _dump_sqlite(url: str) -> int:
    """Write all columns of all contacts as CSV, without a look at them."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return _write_csv(connection.execute("SELECT * FROM contact ORDER BY pk"))


def _dump_postgresql(url: str) -> int:
    with psycopg.connect(url) as connection, connection.cursor("contacts") as cursor:
        cursor.itersize = 1000
        return _write_csv(cursor.execute("SELECT * FROM contact ORDER BY pk"))


def _write_csv(rows: Any) -> int:
    size = 0
    while part := rows.fetchmany(1000):
        text = io.StringIO()
        csv.writer(text).writerows(part)
        size += len(text.getvalue().encode())
    return size


if __name__ == "__main__":
    main()
