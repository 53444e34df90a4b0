"""Ten minutes of mixed load on each database: the workers' memory may not grow.

    PYTHONPATH=tests:. python tests/faults/soak.py --minutes 10

What is measured is RSS, VmRSS of /proc/<pid>/status: unlike PSS it doesn't change when another worker stops sharing a
page. Each connection to SQLite keeps up to 2 MiB of the file's pages (sqlite.org/pragma.html, "cache_size"): a bounded
growth that takes minutes on a database which begins empty. So before the minutes count, a load without pauses makes the
database larger than that, and everything in it is read.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from conftest import KINDS, Databases
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
    given = arguments(__doc__, minutes=10.0)
    held = True
    with tempfile.TemporaryDirectory(prefix="contacts-soak-") as folder:
        databases = Databases(Path(folder))
        for kind in given.kind or KINDS:
            print(f"\n{kind}", flush=True)
            database_url, ledger = databases.create(kind), Ledger()
            with serving(database_url, Path(folder) / kind) as service:
                traffic, pids = Traffic([service.url]), workers(service)
                with load(traffic, ledger, callers=given.callers, seed=given.seed):
                    time.sleep(FILLING)
                filled = verify(service.url, database_url, ledger)
                print(f"filled by {len(traffic.tries)} requests and read", flush=True)
                # Another seed, or the same keys and ids would come again.
                with load(traffic, ledger, callers=given.callers, seed=given.seed + 1, pause=PAUSE):
                    samples = watch(pids, traffic, 60 * given.minutes)
                kept = [has_kept(pid, samples) for pid in pids]
                held &= workers(service) == pids and all(kept) and not any(vars(filled).values())
                held &= report(traffic, ledger, verify(service.url, database_url, ledger), [service.log])
    return 0 if held else 1


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
