"""Measures how filters and the change feed grow, from ten thousand contacts to many, for as many matches.

python -m benchmarks.filters --size 10000000 --kind sqlite
"""

import argparse
import itertools
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import orjson

from benchmarks import storage
from benchmarks.in_process import fetch_data, time_request
from benchmarks.keys import headers_for
from benchmarks.operations import Request
from contacts_service.app import create_app, prepare
from contacts_service.contacts.derived import fill_counts
from contacts_service.contacts.metadata_terms import terms_of
from contacts_service.db import copy_postgresql, copy_sqlite
from contacts_service.db.database import connect, database, reading, writing
from contacts_service.db.migrations import upgrade
from contacts_service.settings import Settings

SMALL, MATCHES = 10_000, 100
_ROUNDS = 60
_BATCH = 10_000
_NEWEST = datetime(2026, 9, 1, tzinfo=UTC)
_USERS, _ACCOUNTS = 200, 20
_RARE, _OLD = 7, 8  # The first contacts of those that most filters choose, and of those whose times are old.
_CONTACT = (
    *("pk", "id", "account_id", "phone_number", "external_id", "username", "name", "assigned_to", "tags"),
    *("marketing_opt_out", "metadata", "search_text", "last_message_at", "last_inbound_at", "unread_count"),
    *("created_at", "updated_at", "version", "change_seq"),
)
_IDENTIFIER = ("account", "kind", "value", "contact_id", "current", "first_seen_at", "last_seen_at")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000_000)
    parser.add_argument("--kind", choices=storage.KINDS, action="append")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # Peewee's models belong to one database in a process.
    options = parser.parse_args()
    if options.measure:
        print(orjson.dumps(_measure(options.measure, options.size)).decode())
        return
    for kind in options.kind or storage.KINDS:
        small, large = (_measured(kind, size) for size in (SMALL, options.size))
        if small["totals"] != large["totals"]:
            raise AssertionError(f"not as many matches: {small['totals']}, {large['totals']}")
        print(f"\n{kind}: matches, milliseconds with {SMALL:,} contacts, with {options.size:,}")
        for name, time in small["times"].items():
            later, matches = large["times"][name], small["totals"].get(name, "")
            print(f"{name:44} {matches:5} {time * 1000:8.2f} {later * 1000:8.2f} {later / time:6.2f} ×", flush=True)


def _measured(kind: str, size: int) -> Any:
    number = size + 2  # Not a database of the other benchmarks.
    if not storage.load_fill_result(kind, number):
        storage.create_empty(kind, number)
        _run(storage.database_url(kind, number), size, "fill ")
        storage.save_fill_result(kind, number, {})
    return orjson.loads(_run(storage.database_url(kind, number), size).splitlines()[-1])


def _run(url: str, size: int, prefix: str = "") -> bytes:
    command = [sys.executable, "-m", "benchmarks.filters", "--size", str(size), "--measure", prefix + url]
    return subprocess.run(command, cwd=storage.ROOT, check=True, stdout=subprocess.PIPE).stdout


def _measure(url: str, size: int) -> dict[str, Any]:
    """Contacts that match each list, and the least seconds that each request took."""
    if url.startswith("fill "):
        _fill(url.removeprefix("fill "), size)
        return {}
    app, headers = create_app(Settings(database_url=url, database_timeout=120.0)), headers_for(url)
    prepare(app)
    requests = {f"list: {name}": _list(**query) for name, query in _filters(size).items()}
    totals = {name: fetch_data(app, request, headers)["total"] for name, request in requests.items()}
    now = fetch_data(app, Request("GET", "/api/changes", {"after": "now"}), headers)["next"]
    requests["changes: none"] = Request("GET", "/api/changes", {"after": now})
    requests["changes: page of 500"] = Request("GET", "/api/changes", {"limit": "500"})
    requests["changes: page of 500 of an account"] = Request(
        "GET", "/api/changes", {"limit": "500", "account_id": _account(1)}
    )
    requests["get"] = Request("GET", f"/api/contacts/{_id(size // 2)}")
    rounds = range(_ROUNDS)
    times = {name: min(time_request(app, each, headers) for _ in rounds) for name, each in requests.items()}
    return {"totals": totals, "times": times}


def _list(**query: str) -> Request:
    return Request("GET", "/api/contacts", query)


def _filters(size: int) -> dict[str, dict[str, str]]:
    """Queries by name. Each chooses so many contacts of a database of any size."""
    marked = {"tags": "rare", "metadata.plan": "rare", "unread": "true", "marketing_opt_out": "true"}
    since, old = _time(_NEWEST), _time(_NEWEST - timedelta(days=9_000))
    single = {name: {name: value} for name, value in marked.items()}
    times = {
        "created_after": _time(_created(size - MATCHES + 1, size)),
        "created_before": _time(_created(MATCHES + 1, size)),
        "last_message_after": since,
        "last_message_before": old,
        "last_inbound_after": since,
        "last_inbound_before": old,
    }
    return {
        **single,
        **{name: {name: value} for name, value in times.items()},
        "assigned_to": {"assigned_to": _user(0)},
        "username": {"username": "rare"},
        "ids": {"ids": ",".join(_id(number) for number in range(1, MATCHES + 1))},
        "phone_number": {"phone_number": _phone(size // 2)},
        "external_id": {"external_id": f"CRM-{size // 2}"},
        "account and assignee": {"account_id": _account(_RARE), "assigned_to": _user(0)},
        "tags and metadata": {"tags": "rare", "metadata.plan": "rare"},
        "tag of a third and metadata": {"tags": "common", "metadata.plan": "rare"},
        "unread and last_message_after": {"unread": "true", "last_message_after": since},
        "opted out, not written to, by creation": {
            "marketing_opt_out": "true",
            "last_inbound_after": since,
            "sort": "-created",
        },
        "created_before and tag of a third": {"created_before": times["created_before"], "tags": "common"},
    }


def _fill(url: str, size: int) -> None:
    connect(Settings(database_url=url))
    upgrade()
    copying = copy_sqlite if database.kind == "sqlite" else copy_postgresql
    with reading(), database.migrating():
        copying.prepare(database.obj)
        with writing():
            database.lock_migrations()
            left_out = copying.strip(database.obj)
            numbers = iter(range(1, size + 1))
            while batch := list(itertools.islice(numbers, _BATCH)):
                for table, columns, rows in _rows(batch, size):
                    database.copy_rows(table, columns, rows)
            fill_counts()
            for statement in left_out:
                database.execute_sql(statement)
            database.execute_sql(f"UPDATE change_feed SET base = base + {size}")


def _rows(numbers: list[int], size: int) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    contacts = [_contact(number, size) for number in numbers]
    yield "contact", _CONTACT, [[*contact.values()] for contact in contacts]
    identifiers = [
        (each["account_id"], kind, each[kind], each["pk"], True, each["created_at"], each["created_at"])
        for each in contacts
        for kind in ("phone_number", "external_id")
    ]
    yield "contact_identifier", _IDENTIFIER, identifiers
    tags = [(each["pk"], tag) for each in contacts for tag in orjson.loads(each["tags"])]
    yield "contact_tag", ("contact_id", "tag"), tags
    terms = [(_term(each["account_id"], each["metadata"]), each["pk"]) for each in contacts]
    yield "contact_metadata", ("term", "contact_id"), terms


def _contact(number: int, size: int) -> dict[str, Any]:
    step = size // MATCHES
    is_rare, is_old = number % step == _RARE, number % step == _OLD
    created = _time(_created(number, size))
    tags = ["rare"] * is_rare + ["common"] * (is_rare or number % 3 == 0)
    plan = "rare" if is_rare else ("gold", "silver", "free")[number % 3]
    age = timedelta(0) if is_rare else timedelta(days=9_001 if is_old else 1 + number % 900)
    last_message = _time(_NEWEST - age)
    name = f"Person {number}"
    values = (
        *(number, _id(number), _account(number), _phone(number), f"CRM-{number}", "rare" if is_rare else None, name),
        *(_user(0 if is_rare else 1 + number % _USERS), orjson.dumps(tags).decode(), is_rare, f'{{"plan":"{plan}"}}'),
        *(name.lower(), last_message, last_message, int(is_rare), created, created, 1, number),
    )
    return dict(zip(_CONTACT, values, strict=True))


@cache
def _term(account: str | None, metadata: str) -> int:
    [term] = terms_of(account, orjson.loads(metadata))
    return term


def _created(number: int, size: int) -> datetime:
    return _NEWEST - timedelta(days=1000) * (1 - number / size)


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _id(number: int) -> str:
    return str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))


def _account(number: int) -> str:
    return str(UUID(int=number % _ACCOUNTS + 1))


def _user(number: int) -> str:
    return str(UUID(int=1000 + number))


def _phone(number: int) -> str:
    return f"+{10**10 + number * 387_420_489 % 10**10}"


if __name__ == "__main__":
    main()
