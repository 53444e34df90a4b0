"""A mixed load with a ledger; run as a script it tests a service without any fault.

PYTHONPATH=tests:. python tests/faults/load.py --seconds 60
"""

import argparse
import contextlib
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from helpers.databases import KINDS, Databases
from ledger import Ledger
from operations import OPERATIONS, SimulatedCaller
from servers import serving
from traffic import Client, Traffic, Unexpected
from verification import report, verify

CALLERS = 8


@contextlib.contextmanager
def load(traffic: Traffic, ledger: Ledger, *, callers: int, seed: int, pause: float = 0.0) -> Iterator[None]:
    """Run callers until the block ends and each request that was sent has its response.

    ``pause`` is the mean time in seconds that a caller waits between two requests.
    """
    stop = threading.Event()
    print(f"{callers} callers, --seed {seed}", flush=True)

    def work(number: int) -> None:
        rng = random.Random(seed * 1000 + number)
        caller = SimulatedCaller(f"caller{seed}-{number}", Client(traffic, rng), ledger, rng)
        while not stop.is_set():
            [operation] = rng.choices(list(OPERATIONS), list(OPERATIONS.values()))
            try:
                operation(caller)
            except Unexpected:
                pass  # The failure is recorded.
            except Exception as error:  # noqa: BLE001 - Such as a response that lacks a field.
                traffic.failures.append(f"{operation.__name__}: {error!r}")
            stop.wait(rng.random() * 2 * pause)
        caller.client.close()

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def arguments(description: str, flags: Sequence[str] = (), **numbers: float) -> argparse.Namespace:
    """Parse the options that all these scripts share, and the given flags and numbers with defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    for name in flags:
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--callers", type=int, default=CALLERS)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="repeats the callers' choices")
    parser.add_argument("--kind", choices=KINDS, action="append", help="by default both, where there is a choice")
    return parser.parse_args()


def main() -> int:
    options = arguments(__doc__, seconds=30)
    passed = True
    with tempfile.TemporaryDirectory(prefix="contacts-load-") as folder:
        databases = Databases(Path(folder))
        for kind in options.kind or KINDS:
            print(f"\n{kind}", flush=True)
            database_url, ledger = databases.create(kind), Ledger()
            with serving(database_url, Path(folder) / kind) as service:
                traffic = Traffic([service.url])
                with load(traffic, ledger, callers=options.callers, seed=options.seed):
                    for _ in range(int(options.seconds / 5)):
                        time.sleep(5)
                        print(f"{len(traffic.tries)} requests, {len(traffic.failures)} failures", flush=True)
                passed &= report(traffic, ledger, verify(service.url, database_url, ledger), [service.log])
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
