"""Measures one database in process: ``python -m benchmarks.measure URL SIZE RESULT``, RESULT being a JSON file.

A process of its own each time, as the service's tables belong to one database in a process.
"""

import gc
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
from flask import Flask

from benchmarks import fill_postgresql, fill_sqlite, floor_postgresql, floor_sqlite, people, statements
from benchmarks.floor import create_floor
from benchmarks.in_process import call, data_of, environ_of, interleaved, query_time, timed
from benchmarks.keys import headers_for
from benchmarks.operations import Operation, Request, all_operations, at_depth, searching
from benchmarks.profiles import CALLS, profile
from contacts_service.app import create_app, prepare
from contacts_service.settings import Settings

PATIENCE = 120.0  # Seconds that a query may take here, so that slow ones can be told too.
BUDGET = 1.2
_PROFILED = ("get", "list", "search: 1 match", "record a message")
# What cannot be the same when two make it.
_OF_THE_MOMENT = {
    *("id", "next_cursor", "created_at", "updated_at", "version", "timestamp", "phone_number", "wa_message_id"),
    *("name", "assigned_to", "unread_count", "last_message_at", "last_inbound_at"),
}


class Bench:
    """A service and a floor on the same database."""

    def __init__(self, url: str, size: int) -> None:
        self.size = size
        self.is_sqlite = url.startswith("sqlite")
        self.driver: ModuleType = floor_sqlite if self.is_sqlite else floor_postgresql
        self.connection = (fill_sqlite if self.is_sqlite else fill_postgresql).connect(url)
        if not self.is_sqlite:  # To explain queries as they are planned for the service.
            self.connection.execute("SET enable_seqscan = off")
        self.apps: dict[str, Flask] = {
            "service": create_app(Settings(database_url=url, database_timeout=PATIENCE)),
            "floor": create_floor(url),
        }
        prepare(self.apps["service"])
        self.headers = headers_for(url)
        self.operations = all_operations(self.driver.run, self.ask, size)

    def ask(self, side: str, request: Request) -> Any:
        return data_of(self.apps[side], request, self.headers)

    def contender(self, side: str, operation: Operation) -> Callable[[int], float]:
        make = operation.floor_request if side == "floor" and operation.floor_request else operation.request
        return lambda turn: timed(self.apps[side], make(turn), self.headers)

    def named(self, name: str) -> Operation:
        return next(operation for operation in self.operations if operation.name == name)


def measure(url: str, size: int) -> dict[str, Any]:
    """Check, count and time every operation."""
    statements.watch()
    bench = Bench(url, size)
    gc.collect()
    gc.freeze()
    results = {}
    for operation in bench.operations:
        check_same_answer(bench, operation)
        results[operation.name] = {
            "limit": operation.limit,
            **interleaved({side: bench.contender(side, operation) for side in bench.apps}, BUDGET),
            **_statements(bench, operation),
        }
    profiles = {name: _profiles(bench, name) for name in _PROFILED}
    specials = {name: interleaved(contenders, 2 * BUDGET) for name, contenders in _specials(bench).items()}
    _remove_created(bench)
    return {"contacts": size, "operations": results, "specials": specials, "profiles": profiles}


def check_same_answer(bench: Bench, operation: Operation) -> None:
    """Refuse to compare what does not answer the same."""
    floor_request = operation.floor_request or operation.request
    service, floor = bench.ask("service", operation.request(0)), bench.ask("floor", floor_request(0))
    is_write = operation.request(0).method != "GET"
    ignored = _OF_THE_MOMENT if is_write else {"next_cursor"}
    if _without(service, ignored) != _without(floor, ignored):
        raise AssertionError(f"{operation.name}: {service} is not {floor}")
    if "total" in service and (bool(service["next_cursor"]) != bool(floor["next_cursor"])):
        raise AssertionError(f"{operation.name}: only one of the two leads on")
    if operation.total is not None and service["total"] != operation.total:
        raise AssertionError(f"{operation.name}: {service['total']} matches, not {operation.total}")


def _without(data: Any, ignored: set[str]) -> Any:
    if isinstance(data, dict):
        return {name: None if name in ignored else _without(value, ignored) for name, value in data.items()}
    return [_without(item, ignored) for item in data] if isinstance(data, list) else data


def _statements(bench: Bench, operation: Operation) -> dict[str, Any]:
    environ = environ_of(operation.request(1), bench.headers)
    call(bench.apps["service"], environ_of(operation.request(1), bench.headers))  # It may renew the copy of the keys.
    sent = statements.recorded(lambda: call(bench.apps["service"], environ))
    queries = []
    for statement in statements.queries_of(sent):
        lines = statements.plan(bench.connection, statement)
        queries.append({"sql": statement.sql, "plan": lines, "scans": statements.scans_of(statement, lines)})
    return {"queries": queries, "transactions": statements.transactions_of(sent)}


def _profiles(bench: Bench, name: str) -> dict[str, dict[str, float]]:
    operation = bench.named(name)
    profiles = {}
    for side, app in bench.apps.items():
        environs = [environ_of(operation.request(turn), bench.headers) for turn in range(CALLS)]
        profiles[side] = profile(partial(call, app), environs)
    return profiles


def _specials(bench: Bench) -> dict[str, dict[str, Callable[[int], float]]]:
    """Make the groups that are compared with one another rather than with the floor."""

    def service(*operations: Operation) -> dict[str, Callable[[int], float]]:
        return {operation.name: bench.contender("service", operation) for operation in operations}

    named = bench.named
    sql, values = bench.driver.counting(people.DENSE.name.lower())
    dense, few = people.DENSE_SHORT.name, people.THOUSAND_SHORT.name
    depths = [at_depth(f"cursor: {depth:.0%} deep", depth, bench.ask, bench.size) for depth in (0.1, 0.5, 0.95)]
    return {
        "beside a get": service(
            named("get"),
            named("search: 1 match"),
            named("search: 100 matches"),
            named("search: 1,000 matches"),
            named("page in the middle"),
        ),
        "dense search": {
            **service(named("search: one in twenty")),
            "the database's own count": query_time(bench.driver.run, sql, values),
        },
        "short terms, one contact in twenty": service(
            *(searching(f"{len(term)} characters", term) for term in (dense, dense[:1], dense[:2]))
        ),
        "short terms, 1,000 contacts": service(
            *(searching(f"{len(term)} characters", term) for term in (few, few[:1], few[:2]))
        ),
        "cursors": service(named("list"), *depths),
    }


def _remove_created(bench: Bench) -> None:
    """Leave as many contacts as there were, for the next run."""
    for (contact_id,) in bench.driver.run("SELECT id FROM contact WHERE pk > ?", (bench.size,)):
        call(bench.apps["service"], environ_of(Request("DELETE", f"/api/contacts/{contact_id}"), bench.headers))


def main() -> None:
    url, size, result = sys.argv[1:]
    Path(result).write_bytes(orjson.dumps(measure(url, int(size))))


if __name__ == "__main__":
    main()
