"""Retention beside writers, and killed: in processes of its own on the running service."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from helpers.concurrency import run_concurrently
from helpers.messages import message
from helpers.recomputation import contradictions
from helpers.service import ROOT, Service, call, run_flask

WRITERS = 4
# Ten nights, while writers are at work.
REPEATED = """
from wsgi import app
for _ in range(10):
    result = app.test_cli_runner().invoke(args=["retention", "--messages", "7d"])
    assert result.exit_code == 0, result.output
"""
# Each transaction takes one step, and the process is killed in the pause behind the third.
KILLED = """
import itertools, os, signal, types
from contacts_service.privacy import retention
from wsgi import app
pauses = itertools.count(1)
def pause(_):
    if next(pauses) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
clock = itertools.count(0, retention._MAX_SECONDS * 0.75)
retention.time = types.SimpleNamespace(sleep=pause, monotonic=clock.__next__)
app.test_cli_runner().invoke(args=["retention", "--messages", "7d"])
"""


@pytest.fixture
def contacts(service: Service) -> list[str]:
    """Four contacts, each with 120 old messages: more than a step of retention deletes."""
    numbers = [f"+123456789{number}" for number in range(4)]
    ids = [call(service, "POST", "/api/contacts", {"phone_number": each})[1]["data"]["id"] for each in numbers]
    run_concurrently(lambda number: [record(service, ids[number], turn) for turn in range(120)], len(ids))
    return ids


def run_python(service: Service, script: str) -> int:
    """Run a script on the service's database, and return its exit code."""
    environment = {**os.environ, "DATABASE_URL": service.database_url}
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=False).returncode


def record(service: Service, contact_id: str, number: int, days: int = 10) -> str:
    """Record a message that is so many days old."""
    at = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    body = message(number, timestamp=at, wa_message_id=f"wamid.{contact_id}.{number}")
    status, response = call(service, "POST", f"/api/contacts/{contact_id}/messages", body)
    assert status == 201, response
    return str(response["data"]["id"])


def left(service: Service, contact_id: str) -> set[str]:
    """The ids of a contact's messages."""
    found, query = set(), ""
    while True:
        page = call(service, "GET", f"/api/contacts/{contact_id}/messages?limit=100{query}")[1]["data"]
        found |= {item["id"] for item in page["items"]}
        if not page["has_more"]:
            return found
        query = f"&before={page['items'][0]['id']}"


def test_retention_beside_writers_loses_no_new_message_and_leaves_no_old_one(
    service: Service, contacts: list[str]
) -> None:
    has_ended = threading.Event()

    def act(number: int) -> list[str]:
        """Record old and new messages in turns while old ones are deleted, or delete them."""
        if number == WRITERS:
            code = run_python(service, REPEATED)
            has_ended.set()
            return [f"ended with {code}"] * (code != 0)
        recorded = []
        while not has_ended.is_set():
            recorded.append(record(service, contacts[number], 1000 + len(recorded), 10 * (len(recorded) % 2)))
        return recorded[::2]

    *new, failed = run_concurrently(act, WRITERS + 1)
    assert failed == []
    assert contradictions(service.database_url) == {}
    assert run_flask(service.database_url, "retention", "--messages", "7d").returncode == 0
    assert [left(service, each) for each in contacts] == [{*each} for each in new]
    assert contradictions(service.database_url) == {}


def test_killed_retention_leaves_everything_consistent_and_can_be_repeated(
    service: Service, contacts: list[str]
) -> None:
    new = [{record(service, each, 1000, days=0)} for each in contacts]
    assert run_python(service, KILLED) == -signal.SIGKILL
    assert contradictions(service.database_url) == {}
    unread = [call(service, "GET", f"/api/contacts/{each}")[1]["data"]["unread_count"] for each in contacts]
    assert unread == [1, 21, 121, 121], "three steps are done"
    assert run_flask(service.database_url, "retention", "--messages", "7d").returncode == 0
    assert [left(service, each) for each in contacts] == new
    assert contradictions(service.database_url) == {}
