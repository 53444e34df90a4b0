"""Imports and exports many contacts over HTTP, beside floors written by hand. Nothing else should run meanwhile.

python -m benchmarks.transfer --rows 1000000 --kind sqlite
"""

import argparse
import csv
import http.client
import io
import random
import sqlite3
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import psycopg

from benchmarks import storage
from benchmarks.keys import headers_for
from benchmarks.names import SCRIPTS
from benchmarks.served import Server, serve
from contacts_service.db.database import close_connection, connect
from contacts_service.db.migrations import upgrade
from contacts_service.settings import Settings
from contacts_service.transfer.writing import COLUMNS

_HEADER = ("phone_number", "external_id", "name", "profile_name", "tags", "marketing_opt_out", "metadata.plan")
_FLOOR = (
    """CREATE TABLE floor_contact (pk INTEGER PRIMARY KEY, id TEXT UNIQUE, phone_number TEXT, external_id TEXT,
    name TEXT, profile_name TEXT, tags TEXT, metadata TEXT)""",
    """CREATE TABLE floor_identifier (account TEXT, kind TEXT, value TEXT, pk INTEGER,
    PRIMARY KEY (account, kind, value))""",
)
_STORED = [name for name in COLUMNS if not name.startswith("service_window")]
_PAGE = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=storage.KINDS, action="append")
    options = parser.parse_args()
    file = storage.folder() / f"import_{options.rows}.csv"
    _write_file(file, options.rows)
    print(f"{options.rows:,} rows, {file.stat().st_size / 1e6:.0f} MB; load {Path('/proc/loadavg').read_text()}")
    for kind in options.kind or storage.KINDS:
        print(f"\n{kind}", flush=True)
        _measure(kind, file, options.rows)


def _write_file(file: Path, rows: int) -> None:
    rng = random.Random(1)
    with file.open("w", newline="", encoding="utf-8") as output:
        writer = csv.writer(output)
        writer.writerow(_HEADER)
        for number in range(rows):
            script = SCRIPTS[number % len(SCRIPTS)]
            first = rng.choice(script.first_names)
            row = (
                f"+49{1_500_000_000 + number * 7}",
                f"CRM-{number}",
                f"{first} {rng.choice(script.last_names)}",
                first,
            )
            tags, plan = rng.choice(("", "new", "new,vip")), rng.choice(("gold", "silver", "free"))
            writer.writerow((*row, tags, "false", plan))


def _measure(kind: str, file: Path, rows: int) -> None:
    size = rows + 1  # Not a database of the other benchmarks, which has contacts.
    storage.create_empty(kind, size)
    url = storage.database_url(kind, size)
    connect(Settings(database_url=url))
    upgrade()
    close_connection()
    headers = headers_for(url)
    with serve("service", url, headers) as server:
        contact = _request(server, "POST", "/api/contacts", headers, b'{"phone_number": "+15550100"}')["data"]["id"]
        before = _p99_of_get(server, contact, headers, seconds=5.0)
        memory = _memory(server)
        stop, during = threading.Event(), [0.0]
        other = threading.Thread(
            target=lambda: during.__setitem__(0, _p99_of_get(server, contact, headers, until=stop))
        )
        other.start()
        seconds, counts = _import(server, file, headers)
        stop.set()
        other.join()
        ratio = during[0] / before
        _tell("import", f"{seconds:.1f} s, {seconds / rows * 1e6:.0f} µs a row, {counts}")
        _tell("p99 of a get", f"{before * 1000:.1f} ms before, {during[0] * 1000:.1f} ms during: {ratio:.1f} ×")
        _tell("largest worker", f"{memory / 1e6:.1f} MB before, {_memory(server) / 1e6:.1f} MB after")
        again, counts = _import(server, file, headers)
        _tell("the same again", f"{again:.1f} s, {again / rows * 1e6:.0f} µs a row, {counts}")
        exports = {name: _export(server, name, headers) for name in ("csv", "ndjson")}
        _tell("after exports", f"{_memory(server) / 1e6:.1f} MB")
    floor = _import_floor(url, file)
    _tell(
        "floor of import", f"{floor:.1f} s, {floor / rows * 1e6:.0f} µs a row: the import takes {seconds / floor:.1f} ×"
    )
    for name, (exported, taken) in exports.items():
        floor_size, floor_seconds = _export_floor(url, name)
        rate, floor_rate = exported / taken / 1e6, floor_size / floor_seconds / 1e6
        _tell(f"export {name}", f"{taken:.1f} s, {rate:.1f} MB/s; floor {floor_rate:.1f}: {floor_rate / rate:.1f} ×")


def _tell(what: str, result: str) -> None:
    print(f"{what:16} {result}", flush=True)


def _request(server: Server, method: str, path: str, headers: dict[str, str], body: Any = None) -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=3600)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json", **headers})
        return orjson.loads(connection.getresponse().read())


def _import(server: Server, file: Path, headers: dict[str, str]) -> tuple[float, dict[str, int]]:
    began = time.perf_counter()
    with file.open("rb") as body:
        headers = {**headers, "Content-Type": "text/csv", "Content-Length": str(file.stat().st_size)}
        result = _request(server, "POST", "/api/contacts/import", headers, body)["data"]
    return time.perf_counter() - began, {name: count for name, count in result.items() if name != "rejected" and count}


def _export(server: Server, file_format: str, headers: dict[str, str]) -> tuple[int, float]:
    began, size = time.perf_counter(), 0
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=3600)) as connection:
        connection.request("GET", f"/api/contacts/export?format={file_format}", headers=headers)
        response = connection.getresponse()
        while data := response.read(1_000_000):
            size += len(data)
    return size, time.perf_counter() - began


def _p99_of_get(
    server: Server, contact: str, headers: dict[str, str], *, seconds: float = 1e9, until: Any = None
) -> float:
    latencies, end = [], time.perf_counter() + seconds
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        while time.perf_counter() < end and not (until and until.is_set()):
            began = time.perf_counter()
            connection.request("GET", f"/api/contacts/{contact}", headers=headers)
            connection.getresponse().read()
            latencies.append(time.perf_counter() - began)
            time.sleep(0.005)
    return statistics.quantiles(latencies, n=100)[-1]


def _memory(server: Server) -> int:
    """Bytes that the largest worker has in memory (VmRSS)."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    found = [Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0] for pid in children]
    return max(map(int, found)) * 1024


def _rows(file: Path) -> Iterator[tuple[tuple[Any, ...], list[tuple[Any, ...]]]]:
    with file.open(newline="", encoding="utf-8") as opened:
        for number, (phone, key, name, profile, tags, _, plan) in enumerate(list(row) for row in _skip_header(opened)):
            contact = (number, str(number), phone, key, name, profile, tags, f'{{"plan":"{plan}"}}')
            yield contact, [("none", "phone_number", phone, number), ("none", "external_id", key, number)]


def _skip_header(opened: Any) -> Iterator[list[str]]:
    reader = csv.reader(opened)
    next(reader)
    return reader


def _import_floor(url: str, file: Path) -> float:
    """Put the same rows into bare tables with the same unique keys: by COPY, or one statement for all on SQLite."""
    if not url.startswith("sqlite"):
        with psycopg.connect(url) as connection:
            for statement in _FLOOR:
                connection.execute(statement)
            began = time.perf_counter()
            for table, at in (("floor_contact", 0), ("floor_identifier", 1)):
                with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    for row in _rows(file):
                        for each in [row[0]] if at == 0 else row[1]:
                            copy.write_row(each)
            connection.commit()
            return time.perf_counter() - began
    with closing(sqlite3.connect(urlsplit(url).path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in _FLOOR:
            connection.execute(statement)
        began = time.perf_counter()
        connection.execute("BEGIN")
        contacts = (row[0] for row in _rows(file))
        connection.executemany("INSERT INTO floor_contact VALUES (?, ?, ?, ?, ?, ?, ?, ?)", contacts)
        identifiers = (each for row in _rows(file) for each in row[1])
        connection.executemany("INSERT INTO floor_identifier VALUES (?, ?, ?, ?)", identifiers)
        connection.execute("COMMIT")
        return time.perf_counter() - began


def _export_floor(url: str, file_format: str) -> tuple[int, float]:
    """Read the same rows and write them as the driver gives them."""
    began, size = time.perf_counter(), 0
    for rows in _pages(url):
        if file_format == "csv":
            text = io.StringIO()
            csv.writer(text).writerows(rows)
            size += len(text.getvalue().encode())
        else:
            size += sum(len(orjson.dumps(dict(zip(_STORED, row, strict=True)), default=str)) + 1 for row in rows)
    return size, time.perf_counter() - began


def _pages(url: str) -> Iterator[list[tuple[Any, ...]]]:
    query = f"SELECT {', '.join(_STORED)} FROM contact ORDER BY pk"
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(url).path)) as connection:
            cursor: Any = connection.execute(query)
            while rows := cursor.fetchmany(_PAGE):
                yield rows
    else:
        with psycopg.connect(url) as connection, connection.cursor("floor") as cursor:
            cursor.execute(query)
            while rows := cursor.fetchmany(_PAGE):
                yield rows


if __name__ == "__main__":
    main()
