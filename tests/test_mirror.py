"""examples/mirror.py keeps a copy in step, is killed, begins again after a restore, and waits while it can't read."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.databases import Databases, sqlite_file
from helpers.service import ROOT, Service, call, run_flask

pytestmark = pytest.mark.processes


def mirror(service: Service, file: Path, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "examples/mirror.py", service.url, str(file), *options]
    return subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, **environment})


def contacts_of(file: Path) -> dict[str, Any]:
    connection = sqlite3.connect(file, timeout=60)
    copied = {
        contact_id: json.loads(whole) for contact_id, whole in connection.execute("SELECT id, whole FROM contact")
    }
    connection.close()
    return copied


def contacts_of_service(service: Service) -> dict[str, Any]:
    items = call(service, "GET", "/api/contacts?limit=100")[1]["data"]["items"]
    return {item["id"]: call(service, "GET", f"/api/contacts/{item['id']}")[1]["data"] for item in items}


def wait_until_equal(service: Service, file: Path) -> None:
    deadline = time.monotonic() + 120
    while contacts_of(file) != (expected := contacts_of_service(service)):
        assert time.monotonic() < deadline, (contacts_of(file), expected)
        time.sleep(0.2)


def test_copies_equal_the_table_after_kills_merges_and_an_open_transaction(kind: str, databases: Databases) -> None:
    """The short form of tests/faults/mirror_feed.py."""
    done = subprocess.run(
        [sys.executable, "tests/faults/mirror_feed.py", "--kind", kind, "--runs=1", "--writers=8", "--seconds=2"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "tests:.", "TEST_DATABASE_URL": databases.server_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kind}, run 1 of 1: equal" in done.stdout


def test_copy_is_kept_in_step(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "mirror.db"
    created = [
        call(service, "POST", "/api/contacts", {"phone_number": f"+123456780{number}"})[1]["data"]["id"]
        for number in range(5)
    ]
    assert mirror(service, file, "--once").wait(timeout=60) == 0
    running = mirror(service, file)
    try:
        call(service, "PUT", f"/api/contacts/{created[0]}", {"name": "Ana", "metadata": {"plan": "gold"}})
        call(service, "POST", f"/api/contacts/{created[1]}/merge", {"source_id": created[2]})
        call(service, "DELETE", f"/api/contacts/{created[3]}")
        wait_until_equal(service, file)
        running.send_signal(signal.SIGKILL)
        running.wait()
        call(service, "DELETE", f"/api/contacts/{created[4]}")
        assert "void" in run_flask(service.database_url, "db", "restored").stdout
        running = mirror(service, file)
        wait_until_equal(service, file)
    finally:
        running.kill()
        running.wait()
    assert set(contacts_of(file)) == {created[0], created[1]}


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_copy_begins_again_after_an_old_file_was_put_back(own_service: Service, tmp_path: Path) -> None:
    """As docs/operations.md says: the file is replaced, and `db restored` is run."""
    file, backup = tmp_path / "mirror.db", sqlite_file(own_service.database_url).with_suffix(".backup")
    kept = call(own_service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    with sqlite3.connect(sqlite_file(own_service.database_url)) as connection:
        connection.execute("VACUUM INTO ?", [str(backup)])
    call(own_service, "POST", "/api/contacts", {"phone_number": "+1234567891"})
    call(own_service, "PUT", f"/api/contacts/{kept}", {"name": "Lost by the restore"})
    assert mirror(own_service, file, "--once").wait(timeout=60) == 0
    assert len(contacts_of(file)) == 2
    for suffix in ("-wal", "-shm"):
        sqlite_file(f"{own_service.database_url}{suffix}").unlink(missing_ok=True)
    backup.replace(sqlite_file(own_service.database_url))
    assert run_flask(own_service.database_url, "db", "restored").returncode == 0
    assert mirror(own_service, file, "--once").wait(timeout=60) == 0
    assert contacts_of(file) == contacts_of_service(own_service)
    assert contacts_of(file)[kept]["name"] is None
