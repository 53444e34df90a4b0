"""Kill the primary under load on two replicas of the service: the standby takes over and nothing is lost.

    PYTHONPATH=tests:. python tests/faults/failover.py --seconds 5 --pooler

Each commit waits for the standby (synchronous_commit = on), so what was acknowledged is on both servers. DATABASE_URL
names both with target_session_attrs=read-write. The primary's processes are killed and the standby is promoted; the
load continues. This is done twice: with a standby that keeps up, and with one that has been down for longer than the
service's timeout and returns after the primary's death. In the second case commits are in doubt, and none of them may
have been acknowledged, because the standby lacks them.

A copy follows the change feed throughout and has to equal the contacts in the end. Commits in doubt were visible on the
old primary, so in the second case `db restored` is run, as docs/operations.md says, and the copy begins again.

`--pooler` runs the load through PgBouncer in transaction mode too, without a failover.
"""

import contextlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from helpers.service import Service, free_port, run_flask
from ledger import Ledger
from load import arguments, load
from mirror_feed import Copy, read_all, report_difference, rows
from postgresql_server import (
    DATABASE,
    SYSTEM_USER,
    PostgresqlServer,
    create_server,
    create_standby,
    kill,
    postgresql_folder,
    promote,
    start,
)
from servers import serving
from traffic import Client, Traffic
from verification import report, verify

TIMEOUT = 2.0
"""CONTACTS_DATABASE_TIMEOUT of these services, in seconds."""
ABSENCE = 4 * TIMEOUT
"""Seconds that the standby is down before the primary is killed: more than the service's timeout."""
BACK_WITHIN = 5.0
"""Seconds from the promotion to the first success of each replica."""
NOTHING, AWAY = frozenset[int | str](), frozenset[int | str]({503})


def main() -> int:
    options = arguments(__doc__, flags=["pooler"], seconds=5)
    passed = True
    for absence in (0.0, ABSENCE):
        print(f"\nfailover to a standby that was away for {absence:.0f} s before", flush=True)
        passed &= fail_over(options.callers, options.seed, options.seconds, absence)
    if options.pooler and not shutil.which("pgbouncer"):
        print("\npgbouncer is not on PATH: nothing is run through it")
    elif options.pooler:
        for settings in pooler_settings():
            print(f"\nPgBouncer in transaction mode, {settings or 'otherwise its defaults'}", flush=True)
            passed &= pooled(options.callers, options.seed, options.seconds, settings)
    return 0 if passed else 1


def fail_over(callers: int, seed: int, seconds: float, absence: float) -> bool:
    """Kill the primary under load, promote the standby, and verify against it."""
    with postgresql_folder() as folder:
        primary = create_server(folder / "primary")
        standby = create_standby(primary, folder / "standby")
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        both = f"postgresql://postgres@{hosts}/{DATABASE}?target_session_attrs=read-write"
        with replicas(both, folder) as services:
            traffic, ledger = Traffic([service.url for service in services]), Ledger()
            copy = Copy(traffic, seed)
            copy.start()
            with load(traffic, ledger, callers=callers, seed=seed):
                time.sleep(seconds)
                print(f"{len(traffic.tries)} requests, {len(traffic.failures)} failures", flush=True)
                traffic.tolerated = AWAY
                if absence:
                    kill(standby)
                    time.sleep(absence)
                kill(primary)
                print(f"the primary is dead, {len(traffic.tries)} requests", flush=True)
                if absence:
                    start(standby)
                time.sleep(1)
                promoted = promote(standby)
                time.sleep(BACK_WITHIN)
                traffic.tolerated = NOTHING
                if absence:
                    assert run_flask(both, "db", "restored").returncode == 0
                time.sleep(seconds)
            findings = verify(services[0].url, standby.url, ledger)
            copy.finish()
            expected = read_all(Client(traffic, Random(seed)), rows(standby.url, "SELECT id FROM contact"))
        delays = [traffic.first_success(promoted, url) or float("inf") for url in traffic.urls]
        print(f"from the promotion to the first success {', '.join(f'{delay:.3f} s' for delay in delays)}")
        print(f"slowest response {max(t.ended - t.began for t in traffic.tries):.2f} s")
        passed = report(traffic, ledger, findings, [service.log for service in services])
        equals = "equals" if copy.contacts == expected else "DIFFERS FROM"
        print(f"the copy {equals} {len(expected)} contacts, began again {copy.restarts} times")
        if copy.contacts != expected:
            report_difference(copy.contacts, expected)
    passed &= copy.contacts == expected and copy.restarts == bool(absence)
    return passed and max(delays) <= BACK_WITHIN


def pooled(callers: int, seed: int, seconds: float, settings: dict[str, str]) -> bool:
    """Run the load on two replicas that share one PgBouncer."""
    with postgresql_folder() as folder:
        server = create_server(folder / "server")
        with pooler(server, folder, settings) as url, replicas(url, folder) as services:
            traffic, ledger = Traffic([service.url for service in services]), Ledger()
            with load(traffic, ledger, callers=callers, seed=seed):
                time.sleep(3 * seconds)
            findings = verify(services[0].url, server.url, ledger)
        return report(traffic, ledger, findings, [service.log for service in services])


@contextlib.contextmanager
def replicas(database_url: str, folder: Path) -> Iterator[list[Service]]:
    """Run the service twice, until the block ends."""
    with contextlib.ExitStack() as stack:
        environment = {"CONTACTS_DATABASE_TIMEOUT": str(TIMEOUT)}
        yield [stack.enter_context(serving(database_url, folder, **environment)) for _ in range(2)]


def pooler_settings() -> list[dict[str, str]]:
    """PgBouncer's defaults, and settings without prepared statements that ignore startup options."""
    output = subprocess.run(["pgbouncer", "--version"], capture_output=True, text=True, check=True).stdout
    version = tuple(map(int, re.findall(r"\d+", output)[:2]))
    print(f"\nPgBouncer {version[0]}.{version[1]}")
    # Before 1.21 there was no such setting, and no support for prepared statements to turn off.
    unprepared = {"max_prepared_statements": "0"} if version >= (1, 21) else {}
    return [{}, {**unprepared, "ignore_startup_parameters": "options"}]


@contextlib.contextmanager
def pooler(server: PostgresqlServer, folder: Path, settings: dict[str, str]) -> Iterator[str]:
    """Run PgBouncer in front of a server, until the block ends; yields the URL to connect to."""
    port, file = free_port(), folder / "pgbouncer.ini"
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
        "default_pool_size": "4",  # Fewer than the services have threads: transactions move between connections.
        **settings,
    }
    lines = [f"{DATABASE} = host=127.0.0.1 port={server.port} user=postgres"]
    lines = ["[databases]", *lines, "[pgbouncer]", *(f"{name} = {value}" for name, value in settings.items())]
    file.write_text("\n".join(lines) + "\n")
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(["pgbouncer", file], cwd=folder, user=SYSTEM_USER, stdout=log, stderr=log)
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/{DATABASE}"
    finally:
        process.terminate()
        process.wait(timeout=10)


if __name__ == "__main__":
    sys.exit(main())
