"""Retention beside writers, and killed: in processes of its own on the running service."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from helpers.concurrency import run_concurrently
from helpers.messages import message
from helpers.recomputation import contradictions
from helpers.service import ROOT, Service, call, run_flask

WRITERS = 4
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


def record(service: Service, contact_id: str, number: int, days: int = 10) -> str:
    """Record a message that is so many days old."""
    at = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    body = message(number, timestamp=at, wa_message_id=f"wamid.{contact_id}.{number}")
    status, response = call(service, "POST", f"/api/contacts/{contact_id}/messages", body)
    assert status == 201, response
    return str(response["data"]["id"])


def left(service: Service, contact_id: str) -> set[str]:
    """The ids of a contact's messages, of which there are at most a hundred."""
    data: dict[str, Any] = call(service, "GET", f"/api/contacts/{contact_id}/messages?limit=100")[1]["data"]
    assert not data["has_more"]
    return {item["id"] for item in data["items"]}


def test_retention_beside_writers_loses_no_new_message_and_leaves_no_old_one(
    service: Service, contacts: list[str]
) -> None:
    def act(number: int) -> list[str]:
        """Record old and new messages in turns, or delete old ones meanwhile."""
        if number == WRITERS:
            assert [run_flask(service.database_url, "retention", "--messages", "7d").returncode for _ in "12"] == [0, 0]
            return []
        recorded = [record(service, contacts[number], 1000 + turn, 10 * (turn % 2)) for turn in range(80)]
        return recorded[::2]

    new = run_concurrently(act, WRITERS + 1)
    assert run_flask(service.database_url, "retention", "--messages", "7d").returncode == 0
    assert [left(service, each) for each in contacts] == [{*each} for each in new[:WRITERS]]
    assert contradictions(service.database_url) == {}


def test_killed_retention_leaves_everything_consistent_and_can_be_repeated(
    service: Service, contacts: list[str]
) -> None:
    new = [{record(service, each, 1000, days=0)} for each in contacts]
    environment = {**os.environ, "DATABASE_URL": service.database_url}
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert contradictions(service.database_url) == {}
    unread = [call(service, "GET", f"/api/contacts/{each}")[1]["data"]["unread_count"] for each in contacts]
    assert unread == [1, 21, 121, 121], "three steps are done"
    assert run_flask(service.database_url, "retention", "--messages", "7d").returncode == 0
    assert [left(service, each) for each in contacts] == new
    assert contradictions(service.database_url) == {}
