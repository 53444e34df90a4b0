"""The files through which workers share their metrics: bounded, and removed with their service."""

import contextlib
import fcntl
import http.client
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from helpers.databases import Databases
from helpers.service import Service, call, serve
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from test_observability import metrics, workers_of

from contacts_service.metrics import collect, merge_ended_workers

pytestmark = pytest.mark.processes
COUNTED = 'contacts_http_requests_total{method="GET",route="/api/contacts",status="200"}'


def folder_of(service: Service) -> Path:
    """The folder on which the service holds its lock."""
    [folder] = {
        link.readlink()
        for link in Path(f"/proc/{service.process.pid}/fd").iterdir()
        if "contacts-service-metrics-" in str(link.readlink()) and link.readlink().is_dir()
    }
    return folder


def kill_workers(service: Service) -> None:
    """Kill all workers, and wait until others serve."""
    killed = workers_of(service)
    for worker in killed:
        os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while set(workers_of(service)) & set(killed) or len(workers_of(service)) < len(killed):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with contextlib.suppress(OSError):
        call(service, "GET", "/healthz")


def test_killed_workers_leave_no_files_and_what_they_counted_stays(databases: Databases, tmp_path: Path) -> None:
    with serve(databases.create("sqlite"), tmp_path) as service:
        for _ in range(10):
            assert call(service, "GET", "/api/contacts")[0] == 200
        kill_workers(service)
        call(service, "GET", "/api/contacts")
        files, counted = len(list(folder_of(service).iterdir())), [metrics(service)[COUNTED]]
        done = threading.Event()

        def scrape() -> None:
            while not done.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException):  # From a worker that is killed.
                    counted.append(metrics(service)[COUNTED])

        scraper = threading.Thread(target=scrape)
        scraper.start()
        for _ in range(4):
            kill_workers(service)
        done.set()
        scraper.join()
        kill_workers(service)
        call(service, "GET", "/healthz")
        assert set(counted) == {11}
        assert metrics(service)[COUNTED] == 11
        assert len(list(folder_of(service).iterdir())) <= files, "after 10 more workers"


def test_folder_of_a_killed_service_is_removed_by_the_next_start(databases: Databases, tmp_path: Path) -> None:
    url = databases.create("sqlite")
    for name in ("killed", "other"):
        (tmp_path / name).mkdir()
    with serve(url, tmp_path / "other") as other:
        with serve(url, tmp_path / "killed") as killed:
            folders = [folder_of(other), folder_of(killed)]
            for process in [killed.process.pid, *workers_of(killed)]:
                os.kill(process, signal.SIGKILL)
        with serve(url, tmp_path / "killed") as third:
            assert [folder.exists() for folder in folders] == [True, False]
            assert folder_of(third).exists()
            assert metrics(other)["contacts_database_faults_total"] == 0
    assert not folders[0].exists(), "a service that is stopped removes its own"


def test_series_of_alerts_exist_before_anything_happens(databases: Databases, tmp_path: Path) -> None:
    """Prometheus sees no increase in a series that begins with 1."""
    with serve(databases.create("sqlite"), tmp_path) as service:
        found = metrics(service)
        assert found['contacts_errors_total{code="internal_error"}'] == 0
        assert found['contacts_errors_total{code="unauthenticated"}'] == 0
        assert found["contacts_database_faults_total"] == 0


def test_files_are_not_merged_while_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that was read twice or not at all would look like a counter that began anew."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    key = mmap_key("contacts_errors_total", "contacts_errors_total", ["code"], ["not_found"], "Errors.")
    for process in (1, 2, 3):
        values = MmapedDict(str(tmp_path / f"counter_{process}.db"))
        values.write_value(key, float(process), 0.0)
        values.close()

    def encode_and_merge(registry: CollectorRegistry) -> bytes:
        merge_ended_workers(str(tmp_path), {3})
        return generate_latest(registry)

    expected = b'contacts_errors_total{code="not_found"} 6.0'
    assert expected in collect(encode_and_merge)
    assert len(list(tmp_path.glob("counter_*.db"))) == 3
    merge_ended_workers(str(tmp_path), {3})
    assert {file.name for file in tmp_path.glob("*.db")} == {"counter_3.db", "counter_ended.db"}
    assert expected in collect(generate_latest)


def test_an_ended_worker_that_was_being_read_is_merged_when_the_reader_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its connections would count as open until another worker ends."""
    (tmp_path / "gauge_livesum_1.db").touch()
    with (tmp_path / "lock").open("w") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(reader, fcntl.LOCK_UN))
        merge_ended_workers(str(tmp_path), {2})
    assert not list(tmp_path.glob("*.db"))
