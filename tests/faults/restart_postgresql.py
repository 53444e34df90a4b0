"""Stop, start and freeze PostgreSQL, and close its connections, under load: 503 until the service recovers by itself.

    PYTHONPATH=tests:. python tests/faults/restart_postgresql.py --restarts 20 --seconds 20 --freezes 3

Stops alternate between fast, which ends each connection with a message, and immediate, which needs recovery.
`--seconds` is how long connections are terminated one by one.
"""

import random
import sys
import time

import psycopg
from ledger import Ledger
from load import arguments, load
from postgresql_server import PostgresqlServer, create_server, freeze, postgresql_folder, start, stop, thaw
from servers import serving, workers
from traffic import Traffic
from verification import report, verify

TIMEOUT = 2.0
"""CONTACTS_DATABASE_TIMEOUT of this service, in seconds."""
LONGEST = TIMEOUT + 3
"""Seconds within which each response comes, even from a frozen server: the timeout, a second in which the server
may report it, a second to cancel the statement, and one more for a machine that is busy."""
BACK_WITHIN = 1.0
"""Seconds from the first accepted connection to the first success."""
NOTHING, AWAY = frozenset[int | str](), frozenset[int | str]({503})


def main() -> int:
    options = arguments(__doc__, restarts=20, seconds=20, freezes=3)
    with postgresql_folder() as folder:
        server, ledger = create_server(folder / "server"), Ledger()
        # A thread for each caller, so that no response includes time in a queue.
        environment = {"CONTACTS_DATABASE_TIMEOUT": str(TIMEOUT), "CONTACTS_THREADS": str(options.callers)}
        with serving(server.url, folder, **environment) as service:
            traffic, pids = Traffic([service.url]), workers(service)
            with load(traffic, ledger, callers=options.callers, seed=options.seed):
                time.sleep(2)
                passed = restart(server, traffic, options.restarts, random.Random(options.seed))
                terminate(server, traffic, options.seconds, random.Random(options.seed))
                passed &= frozen(server, traffic, options.freezes)
            slowest = max(t.ended - t.began for t in traffic.tries)
            print(f"slowest response {slowest:.2f} s, slowest 503 {traffic.slowest(503):.2f} s, at most {LONGEST} s")
            if is_same := workers(service) == pids and service.process.poll() is None:
                print("the service's processes are still the same")
            findings = verify(service.url, server.url, ledger)
        passed &= report(traffic, ledger, findings, [service.log])
    return 0 if passed and is_same and slowest <= LONGEST else 1


def restart(server: PostgresqlServer, traffic: Traffic, restarts: int, rng: random.Random) -> bool:
    """Restart the server so many times. Returns whether the service was back soon enough each time."""
    delays, last_faults = [], []
    for number in range(1, restarts + 1):
        traffic.tolerated = AWAY
        stop(server, "immediate" if number % 2 else "fast")
        time.sleep(rng.uniform(0.1, 2.0))
        accepted = start(server)
        time.sleep(BACK_WITHIN)
        traffic.tolerated = NOTHING
        time.sleep(0.5)
        delays.append(traffic.first_success(accepted) or float("inf"))
        last_faults.append(max((t.ended - accepted for t in traffic.tries if t.outcome == 503), default=0.0))
        print(f"{number} restarts, {len(traffic.tries)} requests, {len(traffic.failures)} failures", flush=True)
    print(
        f"restarts {restarts}, from the first accepted connection to the first success "
        f"at most {max(delays):.3f} s, to the last 503 at most {max(*last_faults, 0.0):.3f} s"
    )
    return max(delays) <= BACK_WITHIN


def terminate(server: PostgresqlServer, traffic: Traffic, seconds: float, rng: random.Random) -> None:
    """End connections of the service one by one, idle or at work."""
    traffic.tolerated = AWAY
    terminated, until = 0, time.monotonic() + seconds
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(server.url, autocommit=True) as connection:
        while time.monotonic() < until:
            found = connection.execute(f"SELECT pid {others}").fetchall()
            if found:
                terminated += 1
                connection.execute("SELECT pg_terminate_backend(%s)", rng.choice(found))
            time.sleep(0.02)
    time.sleep(0.2)
    traffic.tolerated = NOTHING
    print(f"terminated connections {terminated}, {len(traffic.tries)} requests, {len(traffic.failures)} failures")


def frozen(server: PostgresqlServer, traffic: Traffic, freezes: int) -> bool:
    """Freeze the server for longer than the timeout. Returns whether the service was back soon enough each time."""
    delays = []
    for number in range(1, freezes + 1):
        traffic.tolerated = AWAY
        freeze(server)
        time.sleep(3 * TIMEOUT)
        thaw(server)
        thawed = time.monotonic()
        time.sleep(BACK_WITHIN + LONGEST)
        traffic.tolerated = NOTHING
        delays.append(traffic.first_success(thawed) or float("inf"))
        print(f"{number} freezes, {len(traffic.tries)} requests, {len(traffic.failures)} failures", flush=True)
    print(f"freezes {freezes}, from the thaw to the first success at most {max(delays, default=0):.3f} s")
    return max(delays, default=0) <= LONGEST


if __name__ == "__main__":
    sys.exit(main())
