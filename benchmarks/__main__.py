"""Fills the databases, measures and reports: ``python -m benchmarks --size 1000000``."""

import argparse
import subprocess
import sys

import orjson

from benchmarks import report, storage
from benchmarks.fill import ensure_filled, show_progress
from benchmarks.served import measure_served
from benchmarks.targets import SMALL

DEFAULT_SIZE = 1_000_000


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    arguments.add_argument("--size", type=int, default=DEFAULT_SIZE, help=f"how many contacts ({DEFAULT_SIZE})")
    arguments.add_argument("--database", choices=storage.KINDS, action="append", help="only this kind")
    given = arguments.parse_args()
    if given.size < SMALL:
        arguments.error(f"searches need at least {SMALL} contacts")
    kinds = given.database or storage.KINDS
    for kind in kinds:
        for size in sorted({SMALL, given.size}):
            _measure(kind, size, served=size == given.size)
    results = {kind: by_size for kind, by_size in report.read_results().items() if kind in kinds}
    report.print_table(results, given.size)
    print(f"Queries and plans: {report.write_plans(results, given.size)}")
    if given.size >= DEFAULT_SIZE and set(kinds) == set(storage.KINDS):
        report.write_documents(results, sorted({size for by_size in results.values() for size in by_size} - {SMALL}))


def _measure(kind: str, size: int, *, served: bool) -> None:
    fill = ensure_filled(kind, size)
    url = fill.pop("url")
    path = storage.folder() / f"result_{kind}_{size}.json"
    show_progress(f"{kind}: measuring with {size:,} contacts", 0.0, end="\n")
    # In another process, see measure.py.
    subprocess.run(
        [sys.executable, "-m", "benchmarks.measure", url, str(size), str(path)], cwd=storage.ROOT, check=True
    )
    result = {**orjson.loads(path.read_bytes()), "fill": fill}
    if served:
        show_progress(f"{kind}: measuring behind gunicorn", 0.5, end="\n")
        result |= measure_served(url, size)
    path.write_bytes(orjson.dumps(result))


if __name__ == "__main__":
    main()
