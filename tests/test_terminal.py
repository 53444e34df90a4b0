"""What a person sees who starts the service, and what stops it from starting."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.databases import Databases
from helpers.service import ROOT, call, free_port, run_service, serve

pytestmark = pytest.mark.processes

IS_FORKED_SLOWLY = """
import os, time
os.register_at_fork(after_in_child=lambda: (os.write(1, b"forked\\n"), time.sleep(1)))
exec(open({config!r}).read())
"""
BOOTS_SLOWLY = """
import os, time
exec(open({config!r}).read())

def post_fork(server, worker):
    os.write(1, b"forked\\n")
    time.sleep(10)
"""


@contextlib.contextmanager
def on_terminal(*command: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command on a pseudo-terminal; yields the process and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=40)
        os.close(ours)


def read_until(terminal: int, pattern: str) -> str:
    """Read what the terminal shows until the pattern appears, or until the command ends."""
    shown = ""
    deadline = time.monotonic() + 60
    while not re.search(pattern, shown):
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 1)[0]:
            try:
                shown += os.read(terminal, 65536).decode()
            except OSError:  # The other end was closed.
                break
    return shown.replace("\r\n", "\n")


def test_terminal_shows_where_everything_is_and_readable_lines(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "contacts.db"
    settings = {"DATABASE_URL": f"sqlite:///{file}", "PORT": str(port), "WEB_CONCURRENCY": "3"}
    command = [sys.executable, "-m", "gunicorn", "wsgi:app"]
    with on_terminal(*command, **settings) as (_, terminal):
        shown = read_until(terminal, r"(?s)(?=(.*Booting worker){3})(?=.*no API key exists)")
        url = f"http://127.0.0.1:{port}"
        assert f"\n  API   {url}/api/contacts\n  docs  {url}/docs\n  data  SQLite {file}\n" in shown
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"GET /api/contacts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in connection.recv(1000)
        shown += read_until(terminal, "status=200")
        time.sleep(1)
        shown += read_until(terminal, "")
    assert re.search(r"\n\d\d:\d\d:\d\d INFO request method=GET route=/api/contacts status=200 ms=[\d.]+ ", shown)
    assert '{"' not in shown
    assert shown.count("no API key exists") == 1


def test_log_is_json_elsewhere_and_text_where_it_is_wanted(databases: Databases, tmp_path: Path) -> None:
    for name, wanted in (("auto", "{"), ("text", " INFO ")):
        folder = tmp_path / name
        folder.mkdir()
        with serve(databases.create("sqlite"), folder, CONTACTS_LOG_FORMAT=name, WEB_CONCURRENCY="3") as service:
            assert call(service, "GET", "/api/contacts")[0] == 200
        log = service.log.read_text()
        assert log.count("no API key exists") == 1, log
        assert wanted in log
        if name == "auto":
            assert all(json.loads(line) for line in log.splitlines())


WRONG = {
    "PORT": ("http", "PORT can't be 'http'."),
    "WEB_CONCURRENCY": ("0", "WEB_CONCURRENCY, CONTACTS_THREADS and CONTACTS_IMPORT_LIMIT must be at least 1."),
    "CONTACTS_HOST": ("nowhere.invalid", "can't listen on CONTACTS_HOST nowhere.invalid, PORT "),
    "CONTACTS_FIRST_KEY": ("x" * 40, "CONTACTS_FIRST_KEY must be random: "),
    "DATABASE_URL": ("postgresql://u:se%zzcret@db/x", "DATABASE_URL is no connection URL of PostgreSQL's."),
}


@pytest.mark.parametrize("variable", WRONG)
def test_wrong_setting_is_one_sentence(variable: str, tmp_path: Path) -> None:
    value, sentence = WRONG[variable]
    ended = run_service(**{"database_url": f"sqlite:///{tmp_path}/contacts.db", variable: value})
    check_sentence(ended, sentence)


def check_sentence(ended: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert ended.returncode != 0
    lines = [line for line in ended.stderr.splitlines() if "Starting gunicorn" not in line]
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith(f"contacts-service: {sentence}")


def test_occupied_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        ended = run_service(f"sqlite:///{tmp_path}/contacts.db", PORT=str(port))
    check_sentence(ended, f"can't listen on CONTACTS_HOST 127.0.0.1, PORT {port} (Address already in use).")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no folder that root can't write")
def test_folder_that_cannot_be_written_is_one_sentence() -> None:
    for file in ("/sys/kernel/contacts.db", "/sys/kernel/contacts/contacts.db"):
        check_sentence(run_service(f"sqlite:///{file}"), f"DATABASE_URL: {file} can't be written by user ")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_installing_shows_progress_on_a_terminal_only(tmp_path: Path, *, is_terminal: bool) -> None:
    environment = tmp_path / "venv" / "bin"
    environment.mkdir(parents=True)
    for name in ("python", "pip"):
        (environment / name).write_text('#!/bin/sh\necho "called with $*"\n')
        (environment / name).chmod(0o755)
    command = ["make", f"VENV={tmp_path}/venv", f"{tmp_path}/venv/runtime"]
    if is_terminal:
        with on_terminal(*command) as (_, terminal):
            shown = read_until(terminal, "(?s)called with .*requirements.lock.*\n")
    else:
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "called with install" in shown
    assert (" -q " not in shown.partition("called with")[2]) is is_terminal


@pytest.mark.parametrize("settings", [IS_FORKED_SLOWLY, BOOTS_SLOWLY], ids=["forked", "boots"])
def test_workers_that_boot_are_stopped_without_the_grace_period(tmp_path: Path, settings: str) -> None:
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(settings.format(config=str(ROOT / "gunicorn.conf.py")))
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/contacts.db", "PORT": str(free_port())}
    command = [sys.executable, "-m", "gunicorn", "--config", str(config), "wsgi:app"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == b"forked\n"
            process.terminate()
            process.wait(timeout=20)  # Less than the grace period.
        finally:
            process.kill()
    assert process.returncode == 0
