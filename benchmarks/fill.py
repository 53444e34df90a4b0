"""Fills databases of contacts for the benchmarks: ``python -m benchmarks.fill --size 1000000``."""

import argparse
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from benchmarks import fill_postgresql, fill_sqlite, storage
from benchmarks.people import CHUNK, flow_rows, make_chunk
from benchmarks.targets import SMALL

PROCESSES = 2
_BAR = 30


def ensure_filled(kind: str, size: int) -> dict[str, Any]:
    """Fill the database unless it is already, and return its URL and how long the fill took."""
    if not (figures := storage.filled(kind, size)):
        storage.create_empty(kind, size)
        figures = _fill(kind, size)
        storage.mark_filled(kind, size, figures)
    return {**figures, "url": storage.database_url(kind, size)}


def _fill(kind: str, size: int) -> dict[str, Any]:
    url = storage.database_url(kind, size)
    upgrade = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    subprocess.run(upgrade, cwd=storage.ROOT, env={**os.environ, "DATABASE_URL": url}, stdout=sys.stderr, check=True)
    began = time.monotonic()
    counts: dict[str, int] = {}
    stored_at = 0.0

    def step(name: str) -> None:
        nonlocal stored_at
        stored_at = stored_at or time.monotonic()
        show(f"{kind}: {name}", 1.0)

    backend = fill_sqlite if kind == "sqlite" else fill_postgresql
    backend.fill(url, _chunks(kind, size, counts, began), step)
    seconds, rows = time.monotonic() - began, sum(counts.values())
    show(f"{kind}: {rows:,} rows of {size:,} contacts, {rows / seconds:,.0f} rows/s with indexes", 1.0, end="\n")
    return {
        "contacts": size,
        "rows": counts,
        "rows_per_second_stored": rows / (stored_at - began),
        "rows_per_second": rows / seconds,
        "seconds": seconds,
    }


def _chunks(kind: str, size: int, counts: dict[str, int], began: float) -> Iterator[Any]:
    """Make the rows in other processes, a few chunks ahead of whoever stores them."""
    flows = {"flow": flow_rows()}
    counts["flow"] = len(flows["flow"])
    yield flows if kind == "sqlite" else fill_postgresql.copied(flows)
    waiting: deque[Any] = deque()
    last = -(-size // CHUNK)
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        for chunk in range(last + 2 * PROCESSES):
            if chunk < last:
                waiting.append(pool.submit(_make, kind, chunk, size))
            if chunk >= 2 * PROCESSES or chunk >= last:
                if not waiting:
                    break
                rows, made = waiting.popleft().result()
                for table, count in made.items():
                    counts[table] = counts.get(table, 0) + count
                yield rows
                stored, rate = counts["contact"], sum(counts.values()) / (time.monotonic() - began)
                show(f"{kind}: {stored:,} of {size:,} contacts, {rate:,.0f} rows/s", stored / size)


def _make(kind: str, chunk: int, size: int) -> tuple[Any, dict[str, int]]:
    rows = make_chunk(chunk, size)
    counts = {table: len(table_rows) for table, table_rows in rows.items()}
    return (rows if kind == "sqlite" else fill_postgresql.copied(rows)), counts


def show(what: str, part: float, end: str = "") -> None:
    """Draw a progress bar on a terminal; elsewhere write only lines that end something."""
    done = int(part * _BAR)
    if sys.stderr.isatty():
        sys.stderr.write(f"\r[{'#' * done}{'.' * (_BAR - done)}] {what}\033[K{end}")
    elif end:
        sys.stderr.write(what + end)
    sys.stderr.flush()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", type=int, default=1_000_000, help="how many contacts (1000000)")
    arguments.add_argument("--database", choices=storage.KINDS, action="append", help="only this kind")
    given = arguments.parse_args()
    if given.size < SMALL:
        arguments.error(f"with fewer than {SMALL} contacts there are not as many matches as searches look for")
    for kind in given.database or storage.KINDS:
        figures = ensure_filled(kind, given.size)
        print(f"{kind}: {figures['contacts']:,} contacts, filled in {figures['seconds']:.0f} s")


if __name__ == "__main__":
    main()
