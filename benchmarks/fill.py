"""Fills databases for the benchmarks: ``python -m benchmarks.fill --size 1000000``."""

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
from benchmarks.dataset import CHUNK, flow_rows, make_rows
from benchmarks.targets import SMALL

PROCESSES = 2
_BAR_WIDTH = 30


def ensure_filled(kind: str, size: int) -> dict[str, Any]:
    """Fill the database if necessary, and return the result of the fill with its URL."""
    if not (result := storage.load_fill_result(kind, size)):
        storage.create_empty(kind, size)
        result = _fill(kind, size)
        storage.save_fill_result(kind, size, result)
    return {**result, "url": storage.database_url(kind, size)}


def _fill(kind: str, size: int) -> dict[str, Any]:
    url = storage.database_url(kind, size)
    upgrade = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    subprocess.run(upgrade, cwd=storage.ROOT, env={**os.environ, "DATABASE_URL": url}, stdout=sys.stderr, check=True)
    start = time.monotonic()
    counts: dict[str, int] = {}
    stored_at = 0.0

    def on_step(name: str) -> None:
        nonlocal stored_at
        stored_at = stored_at or time.monotonic()
        show_progress(f"{kind}: {name}", 1.0)

    backend = fill_sqlite if kind == "sqlite" else fill_postgresql
    backend.fill(url, _chunks(kind, size, counts, start), on_step)
    seconds, rows = time.monotonic() - start, sum(counts.values())
    text = f"{kind}: {rows:,} rows of {size:,} contacts, {rows / seconds:,.0f} rows/s with indexes"
    show_progress(text, 1.0, end="\n")
    return {
        "contacts": size,
        "rows": counts,
        "rows_per_second_stored": rows / (stored_at - start),
        "rows_per_second": rows / seconds,
        "seconds": seconds,
    }


def _chunks(kind: str, size: int, counts: dict[str, int], start: float) -> Iterator[Any]:
    """Generate the rows in other processes, a few chunks ahead of the database."""
    flows = {"flow": flow_rows()}
    counts["flow"] = len(flows["flow"])
    yield flows if kind == "sqlite" else fill_postgresql.to_copy_format(flows)
    pending: deque[Any] = deque()
    chunks = -(-size // CHUNK)
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        for chunk in range(chunks + 2 * PROCESSES):
            if chunk < chunks:
                pending.append(pool.submit(_make_chunk, kind, chunk, size))
            if chunk >= 2 * PROCESSES or chunk >= chunks:
                if not pending:
                    break
                rows, chunk_counts = pending.popleft().result()
                for table, count in chunk_counts.items():
                    counts[table] = counts.get(table, 0) + count
                yield rows
                stored, rate = counts["contact"], sum(counts.values()) / (time.monotonic() - start)
                show_progress(f"{kind}: {stored:,} of {size:,} contacts, {rate:,.0f} rows/s", stored / size)


def _make_chunk(kind: str, chunk: int, size: int) -> tuple[Any, dict[str, int]]:
    rows = make_rows(chunk, size)
    counts = {table: len(table_rows) for table, table_rows in rows.items()}
    return (rows if kind == "sqlite" else fill_postgresql.to_copy_format(rows)), counts


def show_progress(text: str, share: float, end: str = "") -> None:
    """Draw a progress bar on a terminal; elsewhere write only texts with an ``end``."""
    filled = int(share * _BAR_WIDTH)
    if sys.stderr.isatty():
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {text}\033[K{end}")
    elif end:
        sys.stderr.write(text + end)
    sys.stderr.flush()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", type=int, default=1_000_000, help="how many contacts (1000000)")
    arguments.add_argument("--database", choices=storage.KINDS, action="append", help="only this kind")
    given = arguments.parse_args()
    if given.size < SMALL:
        arguments.error(f"searches need at least {SMALL} contacts")
    for kind in given.database or storage.KINDS:
        result = ensure_filled(kind, given.size)
        print(f"{kind}: {result['contacts']:,} contacts, filled in {result['seconds']:.0f} s")


if __name__ == "__main__":
    main()
