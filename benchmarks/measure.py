"""Measures one database in process: ``python -m benchmarks.measure URL SIZE RESULT`` writes the JSON file RESULT.

Each database has a process of its own, as Peewee's models belong to one database in a process.
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

from benchmarks import dataset, fill_postgresql, fill_sqlite, floor_postgresql, floor_sqlite, statements
from benchmarks.floor import create_floor
from benchmarks.in_process import call, fetch_data, make_environ, median_times, query_timer, time_request
from benchmarks.keys import headers_for
from benchmarks.operations import Operation, Request, all_operations, cursor_operation, poll_operation, search_operation
from benchmarks.profiles import CALLS, profile
from contacts_service.app import create_app, prepare
from contacts_service.settings import Settings

QUERY_TIMEOUT = 120.0  # Seconds: longer than the default, so that slow queries are measured too.
SECONDS = 1.2  # For each operation, service and floor together.
_PROFILED = ("get", "list", "search: 1 match", "record a message")
# Fields that differ between two writes.
_VOLATILE_FIELDS = {
    *("id", "next_cursor", "created_at", "updated_at", "version", "timestamp", "phone_number", "wa_message_id"),
    *("name", "assigned_to", "unread_count", "last_message_at", "last_inbound_at", "service_window_expires_at"),
}


class Bench:
    """A service and a floor on the same database."""

    def __init__(self, url: str, size: int) -> None:
        self.size = size
        self.is_sqlite = url.startswith("sqlite")
        self.driver: ModuleType = floor_sqlite if self.is_sqlite else floor_postgresql
        self.connection = (fill_sqlite if self.is_sqlite else fill_postgresql).connect(url)
        self.apps: dict[str, Flask] = {
            "service": create_app(Settings(database_url=url, database_timeout=QUERY_TIMEOUT)),
            "floor": create_floor(url),
        }
        prepare(self.apps["service"])
        self.headers = headers_for(url)
        self.operations = all_operations(self.driver.execute, self.fetch, size)

    def fetch(self, side: str, request: Request) -> Any:
        return fetch_data(self.apps[side], request, self.headers)

    def timer(self, side: str, operation: Operation) -> Callable[[int], float]:
        make = operation.floor_request if side == "floor" and operation.floor_request else operation.request
        return lambda round_number: time_request(self.apps[side], make(round_number), self.headers)

    def operation(self, name: str) -> Operation:
        return next(operation for operation in self.operations if operation.name == name)


def measure(url: str, size: int) -> dict[str, Any]:
    """Check that responses are the same, then time every operation and record its queries."""
    statements.install_hooks()
    bench = Bench(url, size)
    gc.collect()
    gc.freeze()
    results = {}
    for operation in bench.operations:
        check_same_response(bench, operation)
        results[operation.name] = {
            "limit": operation.limit,
            **median_times({side: bench.timer(side, operation) for side in bench.apps}, SECONDS),
            **_queries(bench, operation),
        }
    profiles = {name: _profiles(bench, name) for name in _PROFILED}
    comparisons = {name: median_times(candidates, 2 * SECONDS) for name, candidates in _comparisons(bench).items()}
    _remove_created(bench)
    return {"contacts": size, "operations": results, "comparisons": comparisons, "profiles": profiles}


def check_same_response(bench: Bench, operation: Operation) -> None:
    """Raise AssertionError if service and floor respond differently."""
    floor_request = operation.floor_request or operation.request
    service, floor = bench.fetch("service", operation.request(0)), bench.fetch("floor", floor_request(0))
    is_write = operation.request(0).method != "GET"
    ignored = _VOLATILE_FIELDS if is_write else {"next_cursor", "next"}
    if _without(service, ignored) != _without(floor, ignored):
        raise AssertionError(f"{operation.name}: {service} is not {floor}")
    if "total" in service and (bool(service["next_cursor"]) != bool(floor["next_cursor"])):
        raise AssertionError(f"{operation.name}: only one has a next cursor")
    if operation.total is not None and service["total"] != operation.total:
        raise AssertionError(f"{operation.name}: {service['total']} matches, not {operation.total}")


def _without(data: Any, ignored: set[str]) -> Any:
    if isinstance(data, dict):
        return {name: None if name in ignored else _without(value, ignored) for name, value in data.items()}
    return [_without(item, ignored) for item in data] if isinstance(data, list) else data


def _queries(bench: Bench, operation: Operation) -> dict[str, Any]:
    environ = make_environ(operation.request(1), bench.headers)
    call(bench.apps["service"], make_environ(operation.request(1), bench.headers))  # The first may read the keys.
    sent = statements.record(lambda: call(bench.apps["service"], environ))
    queries = []
    for statement in statements.queries_of(sent):
        plan = statements.explain(bench.connection, statement)
        queries.append({"sql": statement.sql, "plan": plan, "scans": statements.table_scans(statement, plan)})
    return {"queries": queries, "transactions": statements.count_transactions(sent)}


def _profiles(bench: Bench, name: str) -> dict[str, dict[str, float]]:
    operation = bench.operation(name)
    profiles = {}
    for side, app in bench.apps.items():
        environs = [make_environ(operation.request(number), bench.headers) for number in range(CALLS)]
        profiles[side] = profile(partial(call, app), environs)
    return profiles


def _comparisons(bench: Bench) -> dict[str, dict[str, Callable[[int], float]]]:
    """Candidates by group, which are compared within the group instead of with the floor."""

    def service(*operations: Operation) -> dict[str, Callable[[int], float]]:
        return {operation.name: bench.timer("service", operation) for operation in operations}

    named = bench.operation
    sql, values = bench.driver.count_query(dataset.DENSE.name.lower())
    dense, few = dataset.DENSE_SHORT.name, dataset.THOUSAND_SHORT.name
    depths = [
        cursor_operation(f"cursor: {depth:.0%} deep", depth, bench.fetch, bench.size) for depth in (0.1, 0.5, 0.95)
    ]
    return {
        "compared with get": service(
            named("get"),
            named("search: 1 match"),
            named("search: 100 matches"),
            named("search: 1,000 matches"),
            named("page in the middle"),
            poll_operation(bench.fetch),
        ),
        "dense search": {
            **service(named("search: one in twenty")),
            "the database's own count": query_timer(bench.driver.execute, sql, values),
        },
        "short terms, one contact in twenty": service(
            *(search_operation(f"{len(term)} characters", term) for term in (dense, dense[:1], dense[:2]))
        ),
        "short terms, 1,000 contacts": service(
            *(search_operation(f"{len(term)} characters", term) for term in (few, few[:1], few[:2]))
        ),
        "cursors": service(named("list"), *depths),
    }


def _remove_created(bench: Bench) -> None:
    """Delete the contacts that the measurement created, for the next run."""
    for (contact_id,) in bench.driver.execute("SELECT id FROM contact WHERE pk > ?", (bench.size,)):
        call(bench.apps["service"], make_environ(Request("DELETE", f"/api/contacts/{contact_id}"), bench.headers))


def main() -> None:
    url, size, result = sys.argv[1:]
    Path(result).write_bytes(orjson.dumps(measure(url, int(size))))


if __name__ == "__main__":
    main()
