"""Copies fed by the change feed alone equal the table, whatever happens to the writers and the service.

    PYTHONPATH=tests:. python tests/faults/mirror_feed.py --runs 100 --writers 64

Writers create, change, merge, separate and delete contacts on two replicas of the service, whose workers are killed
meanwhile. A transaction stays open for most of the time: on PostgreSQL one that took its number first, on SQLite one
that keeps writers waiting for a moment. One copy begins before the writers, one among them, one of an account; each
reads by turns from both replicas. `--dump` also restores a dump into a new cluster of PostgreSQL in the end.
"""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from helpers.databases import KINDS, Databases, wait_for_open_transactions
from helpers.service import Service, run_flask, status_of
from ledger import ACCOUNTS
from load import arguments
from postgresql_server import DATABASE, PROGRAMS, create_server, postgresql_folder
from servers import serving, workers
from traffic import CUT, Client, Traffic, Unexpected

HELD = 0.4
"""The share of a run that the transaction stays open."""


class Copy(threading.Thread):
    """A reader of the feed that applies every item and keeps its token, and begins again when it has expired."""

    def __init__(self, traffic: Traffic, seed: int, query: str = "") -> None:
        super().__init__(daemon=True)
        self.client = Client(traffic, random.Random(seed))
        self.contacts: dict[str, Any] = {}
        self.query, self.token, self.is_over = query, "", threading.Event()
        self.restarts = 0

    def read_page(self) -> bool:
        after = f"&after={self.token}" if self.token else ""
        response = self.client.get(f"/api/changes?limit=37{self.query}{after}", 410)
        if response.status == 410:
            self.contacts, self.token, self.restarts = {}, "", self.restarts + 1
            return True
        page = response.data
        for item in page["items"]:
            if item["deleted"]:
                self.contacts.pop(item["id"], None)
            else:
                self.contacts[item["id"]] = item["contact"]
        self.token = page["next"]
        return bool(page["has_more"])

    def run(self) -> None:
        while not self.is_over.is_set():
            with contextlib.suppress(Unexpected):  # The failure is recorded.
                self.read_page()
            time.sleep(0.01)

    def finish(self) -> None:
        self.is_over.set()
        self.join()
        while self.read_page():
            pass


class Writer(threading.Thread):
    """Writes to contacts that all writers share."""

    def __init__(self, number: int, seed: int, traffic: Traffic, contacts: list[str]) -> None:
        super().__init__(daemon=True)
        self.rng = random.Random(seed * 1000 + number)
        self.client = Client(traffic, self.rng)
        self.contacts, self.numbers = contacts, iter(range(number * 100_000, (number + 1) * 100_000))
        self.is_over = threading.Event()

    def run(self) -> None:
        steps = [self.create, self.message, self.message, self.patch, self.patch, self.assign, self.merge, self.delete]
        while not self.is_over.is_set():
            with contextlib.suppress(Unexpected, IndexError):  # IndexError: there is no contact yet.
                self.rng.choice(steps)()

    def ask(self, method: str, path: str, body: object, *expected: int) -> Any:
        key = str(uuid.UUID(int=self.rng.getrandbits(128))) if method == "POST" else None
        return self.client.ask(method, path, body, {200, 404, 410, *expected}, key)

    def create(self) -> None:
        body = {"phone_number": f"+4917{next(self.numbers):09}", "account_id": self.rng.choice(ACCOUNTS)}
        self.contacts.append(self.ask("POST", "/api/contacts", body, 201).data["id"])

    def message(self) -> None:
        message = {"direction": "incoming", "type": "text", "content": {"body": str(next(self.numbers))}}
        self.ask("POST", f"/api/contacts/{self.rng.choice(self.contacts)}/messages", message, 201)

    def patch(self) -> None:
        path = f"/api/contacts/{self.rng.choice(self.contacts)}"
        self.ask("PATCH", path, {"metadata": {f"k{self.rng.randrange(9)}": next(self.numbers)}})

    def assign(self) -> None:
        user = str(uuid.UUID(int=self.rng.getrandbits(128)))
        self.ask("PUT", f"/api/contacts/{self.rng.choice(self.contacts)}/assign", {"user_id": user})

    def merge(self) -> None:
        survivor, source = self.rng.choice(self.contacts), self.rng.choice(self.contacts)
        self.ask("POST", f"/api/contacts/{survivor}/merge", {"source_id": source}, 400, 409)
        if self.rng.random() < 0.5:
            self.ask("DELETE", f"/api/contacts/{survivor}/merges/{source}", None, 409)

    def delete(self) -> None:
        self.ask("DELETE", f"/api/contacts/{self.contacts.pop(self.rng.randrange(len(self.contacts) or 1))}", None)


def main() -> int:
    options = arguments(__doc__, flags=["dump"], runs=3, writers=64, seconds=8.0)
    failed = 0
    for kind in options.kind or KINDS:
        for number in range(options.runs):
            with tempfile.TemporaryDirectory(prefix="contacts-mirror-") as name:
                database_url = Databases(Path(name)).create(kind)
                passed = run(database_url, Path(name), options.writers, options.seconds, options.seed + number)
            failed += not passed
            print(f"{kind}, run {number + 1} of {options.runs}: {'equal' if passed else 'DIFFERENT'}", flush=True)
    if options.dump:
        failed += not restore_into_new_cluster()
    return 1 if failed else 0


def run(database_url: str, folder: Path, writers: int, seconds: float, seed: int) -> bool:
    """Write, kill and read for that many seconds. Returns whether all copies equal the table in the end."""
    with serving(database_url, folder) as one, serving(database_url, folder) as other:
        traffic = Traffic([one.url, other.url], tolerated=frozenset({CUT, 503}))
        contacts: list[str] = []
        copies = [Copy(traffic, seed), Copy(traffic, seed, f"&account_id={ACCOUNTS[1]}"), Copy(traffic, seed + 1)]
        running = [Writer(number, seed, traffic, contacts) for number in range(writers)]
        for thread in (*copies[:2], *running):
            thread.start()
        time.sleep(seconds * (1 - HELD) / 2)
        copies[2].start()
        with open_transaction(database_url):
            kill_workers([one, other], seconds * HELD, random.Random(seed))
        time.sleep(seconds * (1 - HELD) / 2)
        for writer in running:
            writer.is_over.set()
        for writer in running:
            writer.join()
        wait_for_open_transactions(database_url)
        for copy in copies:
            copy.finish()
        expected = read_all(Client(traffic, random.Random(seed)), rows(database_url, "SELECT id FROM contact"))
        of_account = {key: each for key, each in expected.items() if each["account_id"] == ACCOUNTS[1]}
        tombstones = rows(database_url, "SELECT id FROM contact_tombstone")
        all_of = zip(copies, (expected, of_account, expected), strict=True)
        passed = [copy.contacts == all_ and not copy.restarts for copy, all_ in all_of]
        for copy, is_equal in zip(copies, passed, strict=True):
            if not is_equal:
                report_difference(copy.contacts, expected if copy is not copies[1] else of_account)
        crashes = sum(service.log.read_text().count('"traceback"') for service in (one, other))
    print(
        f"{len(traffic.tries)} requests, {len(expected)} contacts, {len(tombstones)} ended, "
        f"unexpected responses {len(traffic.failures)}, tracebacks {crashes}, --seed {seed}"
    )
    for failure in traffic.failures[:5]:
        print(f"  unexpected: {failure}")
    return all(passed) and not traffic.failures and not crashes


@contextlib.contextmanager
def open_transaction(database_url: str) -> Iterator[None]:
    """Take a number and keep it while others take later ones and commit; in the end change a contact by it."""
    if database_url.startswith("sqlite"):
        # It has one writer: a longer one would make all others 503.
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None, timeout=60)
        connection.execute("BEGIN IMMEDIATE")
        touch(connection.execute)
        time.sleep(0.5)
        connection.execute("COMMIT")
        connection.close()
        yield
        return
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        yield
        touch(connection.execute)


def touch(execute: Callable[[str], object]) -> None:
    execute("UPDATE contact SET name = 'late', version = version + 1 WHERE pk = (SELECT MIN(pk) FROM contact)")


def kill_workers(services: list[Service], seconds: float, rng: random.Random) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(rng.uniform(0.2, 0.8))
        if living := workers(rng.choice(services)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(living), signal.SIGKILL)


def read_all(client: Client, ids: list[tuple[Any, ...]]) -> dict[str, Any]:
    return {str(each): client.get(f"/api/contacts/{each}").data for (each,) in ids}


def rows(database_url: str, sql: str) -> list[tuple[Any, ...]]:
    if database_url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
            return connection.execute(sql).fetchall()
    with psycopg.connect(database_url) as connection:
        return connection.execute(sql).fetchall()


def report_difference(copied: dict[str, Any], expected: dict[str, Any]) -> None:
    missing, surplus = expected.keys() - copied.keys(), copied.keys() - expected.keys()
    stale = [key for key in expected.keys() & copied.keys() if expected[key] != copied[key]]
    print(f"  missing {sorted(missing)[:3]}, surplus {sorted(surplus)[:3]}")
    for key in stale[:3]:
        print(f"  stale: {json.dumps(copied[key])}\n     is: {json.dumps(expected[key])}")


def restore_into_new_cluster() -> bool:
    """Dump, restore into a cluster whose transaction ids begin again, and follow docs/operations.md."""
    with postgresql_folder() as folder:
        old, new = create_server(folder / "old"), create_server(folder / "new")
        dump = folder / "contacts.dump"
        with serving(old.url, folder) as service:
            client = Client(Traffic([service.url]), random.Random(1))
            for number in range(1, 2001):  # Each is a transaction; the new cluster begins with about 700.
                client.ask("POST", "/api/contacts", {"phone_number": f"+4917{number:09}"}, {201}, str(number))
            token = client.get("/api/changes?after=now").data["next"]
        subprocess.run([PROGRAMS / "pg_dump", "--format=custom", f"--file={dump}", old.url], check=True)
        target = ["--single-transaction", "--no-owner", f"--dbname={new.url}", str(dump)]
        subprocess.run([PROGRAMS / "pg_restore", *target], check=True)
        with serving(new.url, folder) as service:
            before = status_of(f"{service.url}/api/changes?after={token}")
            assert run_flask(new.url, "db", "restored").returncode == 0
            after = status_of(f"{service.url}/api/changes?after={token}")
            client = Client(Traffic([service.url]), random.Random(1))
            copy = Copy(client.traffic, 1)
            while copy.read_page():
                pass
            expected = read_all(client, rows(new.url, "SELECT id FROM contact"))
    print(
        f"restored dump of {DATABASE}: {before} before `db restored`, {after} after it, {len(copy.contacts)} contacts"
    )
    return (before, after) == (503, 410) and copy.contacts == expected and len(expected) == 2000


if __name__ == "__main__":
    sys.exit(main())
