"""Callers that write the same identifiers at the same time."""

import contextlib
import random
import sqlite3
import threading
import time
from typing import Any

import psycopg
import pytest
from helpers.concurrency import run_concurrently
from helpers.databases import sqlite_file
from helpers.examples import ACCOUNT
from helpers.identifiers import assert_identifiers_are_shown
from helpers.messages import message
from helpers.service import Service, call

NUMBERS = ["+1234567890", "+1234567891", "+5511987654321", "+551187654321"]
BSUIDS = ["US.1", "US.2", "US.3", "US.4"]
EXTERNAL_IDS = ["crm 1", "crm 2"]
CALLERS, ROUNDS = 16, 12
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def person(chance: random.Random) -> dict[str, str]:
    said = {"phone_number": chance.choice(NUMBERS), "bsuid": chance.choice(BSUIDS)}
    said |= {"previous_bsuid": chance.choice(BSUIDS), "external_id": chance.choice(EXTERNAL_IDS)}
    kept = chance.sample(sorted(said), chance.randint(1, 3))
    return {name: said[name] for name in {*kept, chance.choice(["phone_number", "bsuid"])}}


@pytest.mark.parametrize("on_conflict", ["report", "merge"])
def test_concurrent_statements_lose_no_message_and_no_identifier(service: Service, on_conflict: str) -> None:
    """With people who create, change and delete the same contacts meanwhile: none of it deadlocks."""

    def act(number: int) -> list[tuple[str, int]]:
        chance, statuses = random.Random(number), []
        for each in range(ROUNDS):
            said = {"account_id": ACCOUNT, "on_conflict": on_conflict}
            if number % 4:
                body = {**said, **message(number * ROUNDS + each), "contact": person(chance)}
                statuses.append(("message", call(service, "POST", "/api/messages", body)[0]))
            else:
                statuses.append(
                    ("resolve", call(service, "POST", "/api/contacts/resolve", {**said, **person(chance)})[0])
                )
                fields = {"bsuid": chance.choice(BSUIDS), "phone_number": chance.choice(NUMBERS)}
                status, created = call(service, "POST", "/api/contacts", {"account_id": ACCOUNT, **fields})
                statuses.append(("create", status))
                contact_id = created["data"]["id"] if status == 201 else created["errors"]["id"][0]
                fields = {"bsuid": chance.choice(BSUIDS), "external_id": chance.choice([*EXTERNAL_IDS, None])}
                statuses.append(("update", call(service, "PUT", f"/api/contacts/{contact_id}", fields)[0]))
        return statuses

    seen = {status for statuses in run_concurrently(act, CALLERS) for status in statuses}
    assert {status for kind, status in seen if kind in {"message", "resolve"}} <= {200, 201}
    assert {status for kind, status in seen if kind == "create"} <= {201, 409}
    assert {status for kind, status in seen if kind == "update"} <= {200, 409, 410}
    with contextlib.closing(connect_to(service.database_url)) as connection:
        assert_identifiers_are_shown(connection)
        assert connection.execute("SELECT COUNT(*) FROM message").fetchone()[0] == CALLERS * 3 // 4 * ROUNDS


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_copy_of_a_message_that_waited_for_the_first_record_teaches_nothing(service: Service) -> None:
    said = {"account_id": ACCOUNT, **message(1)}
    known = {"phone_number": NUMBERS[0]}
    call(service, "POST", "/api/contacts", {"account_id": ACCOUNT, **known})
    results: dict[str, tuple[int, Any]] = {}

    def deliver(name: str) -> None:
        results[name] = call(service, "POST", "/api/messages", {**said, "contact": {**known, "profile_name": name}})

    threads = [threading.Thread(target=deliver, args=(name,)) for name in ("first", "copy")]
    with psycopg.connect(service.database_url) as holder, psycopg.connect(service.database_url) as watcher:
        watcher.autocommit = True
        holder.execute("SELECT 1 FROM contact FOR UPDATE")
        for number, thread in enumerate(threads, 1):
            thread.start()
            while watcher.execute(WAITING).fetchone() != (number,):
                time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert (results["first"][0], results["copy"][0]) == (201, 200)
    assert results["copy"][1]["data"]["id"] == results["first"][1]["data"]["id"]
    assert results["copy"][1]["data"]["contact"]["profile_name"] == "first"


def connect_to(url: str) -> Any:
    return sqlite3.connect(sqlite_file(url)) if url.startswith("sqlite") else psycopg.connect(url)


def put_persistently(service: Service, path: str, body: dict[str, str]) -> int:
    """Try again after a 503, as a caller does that was overtaken too often. Returns the last status."""
    for _ in range(50):
        status = call(service, "PUT", path, body)[0]
        if status != 503:
            break
    return status


def test_people_who_exchange_identifiers_concurrently_are_refused_or_served(service: Service) -> None:
    ids = []
    for number in range(2):
        body = {"account_id": ACCOUNT, "phone_number": NUMBERS[number], "bsuid": BSUIDS[number]}
        ids.append(call(service, "POST", "/api/contacts", body)[1]["data"]["id"])

    def exchange(number: int) -> list[int]:
        chance = random.Random(number)
        bodies = [{"phone_number": chance.choice(NUMBERS), "bsuid": chance.choice(BSUIDS)} for _ in range(ROUNDS)]
        return [put_persistently(service, f"/api/contacts/{chance.choice(ids)}", body) for body in bodies]

    assert {status for statuses in run_concurrently(exchange, CALLERS) for status in statuses} <= {200, 409}
    with contextlib.closing(connect_to(service.database_url)) as connection:
        assert_identifiers_are_shown(connection)


def test_person_who_writes_first_by_several_numbers_of_threads_becomes_one_contact(service: Service) -> None:
    for attempt in range(5):
        said = {"account_id": ACCOUNT, "bsuid": f"US.new{attempt}", "previous_bsuid": f"US.old{attempt}"}
        responses = run_concurrently(lambda _, said=said: call(service, "POST", "/api/contacts/resolve", said), CALLERS)
        assert sorted(status for status, _ in responses) == [200] * (CALLERS - 1) + [201]
        assert len({response["data"]["id"] for _, response in responses}) == 1
