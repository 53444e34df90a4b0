"""Kill workers, and now and then the whole service, under load: nothing that was acknowledged may be lost.

    PYTHONPATH=tests:. python tests/faults/kill_workers.py --kills 100

`kill -9` of a random worker, and each fourth time of gunicorn's master and all workers, which are then started
again on the same port.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from conftest import KINDS, Databases, Service, free_port
from ledger import Ledger
from load import arguments, load
from servers import kill_service, start_service, stop_service, workers
from traffic import CUT, Traffic
from verification import report, verify


def main() -> int:
    given = arguments(__doc__, kills=100)
    held = True
    with tempfile.TemporaryDirectory(prefix="contacts-kills-") as folder:
        databases = Databases(Path(folder))
        for kind in given.kind or KINDS:
            print(f"\n{kind}", flush=True)
            held &= kill(databases.create(kind), Path(folder) / kind, given.kills, given.callers, given.seed)
    return 0 if held else 1


def kill(database_url: str, folder: Path, kills: int, callers: int, seed: int) -> bool:
    """Kill so many times under load, and verify."""
    chance = random.Random(seed)
    service = start_service(database_url, folder, free_port())
    # A worker that is killed takes its connections along. The database is there all the time.
    traffic, ledger, whole = Traffic([service.url], tolerated=frozenset({CUT})), Ledger(), 0
    try:
        with load(traffic, ledger, callers=callers, seed=seed):
            for number in range(1, kills + 1):
                wait_for_workers(service)
                time.sleep(chance.uniform(0.05, 0.8))
                if number % 4 == 0:
                    whole += 1
                    kill_service(service.process)
                    service = start_service(database_url, folder, int(service.url.rpartition(":")[2]))
                else:
                    os.kill(chance.choice(workers(service)), signal.SIGKILL)
                if number % 10 == 0:
                    print(
                        f"{number} kills, {len(traffic.tries)} requests, {len(traffic.failures)} failures", flush=True
                    )
            wait_for_workers(service)
            time.sleep(2)
        findings = verify(service.url, database_url, ledger)
    finally:
        stop_service(service.process)
    print(f"kills {kills}, {whole} of them of the whole service")
    return report(traffic, ledger, findings, [service.log])


def wait_for_workers(service: Service) -> None:
    """Wait until gunicorn has replaced who was killed, so that each kill hits one that works."""
    deadline = time.monotonic() + 60
    while len(workers(service)) < 2:
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
