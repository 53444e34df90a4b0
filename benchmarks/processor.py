"""The CPU time of a server's processes and of its database, which other load on the machine hardly changes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

PARTS = ("worker_cpu", "database_cpu")
# SQLite runs in the workers. Autovacuum is left out: it comes when it wants.
_BACKENDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' OR backend_type = 'walwriter'
"""


@contextmanager
def measure(master: int, url: str) -> Iterator[dict[str, float]]:
    """Fill the dict with the seconds of CPU that the block took: workers of a gunicorn, backends of its database."""
    before = _seconds(children(master)), _seconds(_backends(url))
    found: dict[str, float] = {}
    yield found
    after = _seconds(children(master)), _seconds(_backends(url))
    for part, first, last in zip(PARTS, before, after, strict=True):
        found[part] = sum(seconds - first.get(pid, 0.0) for pid, seconds in last.items())


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _backends(url: str) -> list[int]:
    if url.startswith("sqlite"):
        return []
    with psycopg.connect(url) as connection:
        own = connection.info.backend_pid
        return [pid for (pid,) in connection.execute(_BACKENDS) if pid != own]


def _seconds(pids: list[int]) -> dict[int, float]:
    """Time on a processor by process, of all its threads (``schedstat`` counts nanoseconds, ``stat`` hundredths)."""
    found = {}
    for pid in pids:
        with suppress(FileNotFoundError):  # It has just ended.
            threads = Path(f"/proc/{pid}/task").iterdir()
            found[pid] = sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    return found
