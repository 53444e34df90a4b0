"""Ten minutes of mixed load on each database: the workers' memory may not grow.

    PYTHONPATH=tests:. python tests/faults/soak.py --minutes 10

Memory is RSS, VmRSS of /proc/<pid>/status: unlike PSS it doesn't change when another worker stops sharing a page. Each
connection to SQLite caches up to 2 MiB of the file's pages (sqlite.org/pragma.html, "cache_size"), which takes minutes
to fill on a database that starts empty. So a load without pauses first makes the database larger than that, and
everything in it is read, before the minutes count.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from helpers.databases import KINDS, Databases
from ledger import Ledger
from load import arguments, load
from servers import serving, workers
from traffic import Traffic
from verification import report, verify

MOST_GROWTH = 1.05
"""How much larger the median of the last minute may be than that of the second."""
INTERVAL = 3.0
"""Seconds between two samples."""
FILLING = 60.0
"""Seconds of load without pauses before the minutes count."""
PAUSE = 0.02
"""Mean seconds that a caller pauses between two requests."""


def main() -> int:
    options = arguments(__doc__, minutes=10.0)
    passed = True
    with tempfile.TemporaryDirectory(prefix="contacts-soak-") as folder:
        databases = Databases(Path(folder))
        for kind in options.kind or KINDS:
            print(f"\n{kind}", flush=True)
            database_url, ledger = databases.create(kind), Ledger()
            with serving(database_url, Path(folder) / kind) as service:
                traffic, pids = Traffic([service.url]), workers(service)
                with load(traffic, ledger, callers=options.callers, seed=options.seed):
                    time.sleep(FILLING)
                filled = verify(service.url, database_url, ledger)
                print(f"filled by {len(traffic.tries)} requests and read", flush=True)
                # Another seed, because the same one would repeat keys and ids.
                with load(traffic, ledger, callers=options.callers, seed=options.seed + 1, pause=PAUSE):
                    samples = watch(pids, traffic, 60 * options.minutes)
                kept = [has_kept(pid, samples) for pid in pids]
                passed &= workers(service) == pids and all(kept) and not any(vars(filled).values())
                passed &= report(traffic, ledger, verify(service.url, database_url, ledger), [service.log])
    return 0 if passed else 1


def watch(pids: list[int], traffic: Traffic, seconds: float) -> list[tuple[float, dict[int, int]]]:
    """Sample the memory of processes: after how many seconds, and the KiB of each."""
    began, samples = time.monotonic(), []
    while (passed := time.monotonic() - began) < seconds:
        samples.append((passed, {pid: resident(pid) for pid in pids}))
        if len(samples) % 10 == 0:
            memory = ", ".join(f"{kib / 1024:.1f} MiB" for kib in samples[-1][1].values())
            print(f"{passed:.0f} s, {len(traffic.tries)} requests, {memory}", flush=True)
        time.sleep(INTERVAL)
    return samples


def resident(pid: int) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])


def has_kept(pid: int, samples: list[tuple[float, dict[int, int]]]) -> bool:
    """Compare the second minute with the last."""
    end = samples[-1][0]
    second = statistics.median(sample[pid] for passed, sample in samples if 60 <= passed < 120)
    last = statistics.median(sample[pid] for passed, sample in samples if passed > end - 60)
    ratio = last / second
    print(f"worker {pid}: RSS {second / 1024:.1f} MiB in minute 2, {last / 1024:.1f} MiB in the last: {ratio:.3f}")
    return ratio <= MOST_GROWTH


if __name__ == "__main__":
    sys.exit(main())
