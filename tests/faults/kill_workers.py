"""Kill workers, and every fourth time the whole service, under load: nothing acknowledged may be lost.

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

from helpers.databases import KINDS, Databases
from helpers.service import Service, free_port
from ledger import Ledger
from load import arguments, load
from servers import kill_service, start_service, stop_service, workers
from traffic import CUT, Traffic
from verification import report, verify


def main() -> int:
    options = arguments(__doc__, kills=100)
    passed = True
    with tempfile.TemporaryDirectory(prefix="contacts-kills-") as folder:
        databases = Databases(Path(folder))
        for kind in options.kind or KINDS:
            print(f"\n{kind}", flush=True)
            passed &= kill(databases.create(kind), Path(folder) / kind, options.kills, options.callers, options.seed)
    return 0 if passed else 1


def kill(database_url: str, folder: Path, kills: int, callers: int, seed: int) -> bool:
    """Kill that many times under load, then verify."""
    rng = random.Random(seed)
    service = start_service(database_url, folder, free_port())
    # A killed worker's connections are closed. The database is available throughout.
    traffic, ledger, whole = Traffic([service.url], tolerated=frozenset({CUT})), Ledger(), 0
    try:
        with load(traffic, ledger, callers=callers, seed=seed):
            for number in range(1, kills + 1):
                wait_for_workers(service)
                time.sleep(rng.uniform(0.05, 0.8))
                if number % 4 == 0:
                    whole += 1
                    kill_service(service.process)
                    service = start_service(database_url, folder, int(service.url.rpartition(":")[2]))
                else:
                    os.kill(rng.choice(workers(service)), signal.SIGKILL)
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
    """Wait until gunicorn has replaced killed workers, so that each kill hits a running one."""
    deadline = time.monotonic() + 60
    while len(workers(service)) < 2:
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
