"""What Prometheus is told. Under gunicorn the workers share their values by files, see gunicorn.conf.py."""

import contextlib
import fcntl
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

# Seconds. A request that finds its rows in memory takes about one millisecond.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Counter("contacts_http_requests_total", "Requests answered.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "contacts_http_request_duration_seconds",
    "From the parsed request to its answer.",
    ["method", "route"],
    buckets=_BUCKETS,
)
ERRORS = Counter("contacts_errors_total", "Errors answered, by the code in their envelope.", ["code"])
DATABASE_SECONDS = Histogram(
    "contacts_database_duration_seconds",
    "A use case with its connection: connecting, waiting for locks, queries and commit.",
    ["access"],
    buckets=_BUCKETS,
)
DATABASE_FAULTS = Counter("contacts_database_faults_total", "Use cases that the database could not serve.")
OPEN_CONNECTIONS = Gauge(
    "contacts_database_connections_open", "Connections to the database.", multiprocess_mode="livesum"
)
BUSY_CONNECTIONS = Gauge(
    "contacts_database_connections_busy", "Connections that a use case holds.", multiprocess_mode="livesum"
)
CHANGES_HELD_SECONDS = Gauge(
    "contacts_changes_held_seconds",
    "Age of the oldest change that the change feed holds back, as an older transaction was open when it was last read.",
    multiprocess_mode="mostrecent",
)


def collect(encode: Callable[[CollectorRegistry], bytes]) -> bytes:
    """Encode the metrics of all workers, or of this process alone if it shares no folder."""
    registry = CollectorRegistry()
    try:
        folder = MultiProcessCollector(registry)._path  # noqa: SLF001 - It has found it in the environment.
    except ValueError:
        return encode(REGISTRY)
    with _locked(folder, fcntl.LOCK_SH):
        return encode(registry)


def merge_ended_workers(folder: str, living: Collection[int]) -> None:
    """Add up the files of workers that ended in one, or the folder would grow with each of them.

    ``living`` are the processes to leave alone. Reading the files takes milliseconds; if a worker is reading them for
    a second, which only one that is stopped does, the next call does it.
    """
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            _merge_files(folder, living)
            return
        time.sleep(0.01)


def _merge_files(folder: str, living: Collection[int]) -> None:
    with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for file in Path(folder).glob("*.db"):
            kind, _, process = file.stem.rpartition("_")
            if not process.isdigit() or int(process) in living:
                continue
            if kind in {"counter", "histogram"}:  # Gauges end with their process.
                total = MmapedDict(str(file.with_name(f"{kind}_ended.db")))
                for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):
                    total.write_value(key, total.read_value(key)[0] + value, 0.0)
                total.close()
            file.unlink()


@contextlib.contextmanager
def _locked(folder: str, operation: int) -> Iterator[None]:
    with Path(folder, "lock").open("w") as lock:
        fcntl.flock(lock, operation)
        yield
