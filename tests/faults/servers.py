"""The processes that faults happen to: the service, PostgreSQL servers of its own, PgBouncer."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from helpers.service import ROOT, Service, free_port, wait_for_response


def start_service(database_url: str, folder: Path, port: int, **environment: str) -> Service:
    """Start the service in a process group of its own, so that it can be killed whole. Its log is added to."""
    folder.mkdir(exist_ok=True)
    log = folder / f"gunicorn-{port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "wsgi:app"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url, "PORT": str(port), **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for_response(f"{url}/healthz", process, log)
    except BaseException:
        kill_service(process)
        raise
    return Service(url, database_url, process, log)


def stop_service(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=40)


def kill_service(process: subprocess.Popen[bytes]) -> None:
    """Kill master and workers at once, and wait until none is left that could hold the port."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    while any(group == process.pid for _, group in processes().values()):
        time.sleep(0.01)


@contextlib.contextmanager
def serving(database_url: str, folder: Path, **environment: str) -> Iterator[Service]:
    """Run the service until the block ends."""
    service = start_service(database_url, folder, free_port(), **environment)
    try:
        yield service
    finally:
        stop_service(service.process)


def workers(service: Service) -> list[int]:
    """List the process ids of the workers, which are the children of gunicorn's master."""
    return children(service.process.pid)


def children(pid: int) -> list[int]:
    return sorted(child for child, (parent, _) in processes().items() if parent == pid)


def processes() -> dict[int, tuple[int, int]]:
    """Parent and process group of each living process of the machine, by process id."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It has just ended.
            # The second field is the program's name in brackets, which may hold anything.
            state, parent, group = stat.read_text().rpartition(") ")[2].split()[:3]
            if state != "Z":
                found[int(stat.parent.name)] = (int(parent), int(group))
    return found
