"""The targets, and the values that were measured."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

SMALL = 10_000
GROWTH, SHORT_TERMS, CURSORS, SEARCH_TO_COUNT, SEARCH_TO_GET, MIDDLE_TO_GET = 1.5, 2.0, 1.1, 1.2, 10.0, 100.0
POLL_TO_GET = 1.5
MAX_MEMORY, MAX_START = 70.0, 1.0
MEGABYTE = 1_000_000

Results = dict[str, dict[int, dict[str, Any]]]
"""By database kind and number of contacts."""


class Target(NamedTuple):
    """An upper limit, and the measured value of each database kind."""

    name: str
    limit: float
    measured: Mapping[str, float]
    unit: str = " ×"

    def is_met(self, kind: str) -> bool:
        return round(self.measured[kind], 2) <= self.limit


def targets(results: Results, size: int) -> list[Target]:
    """All targets that these results have values for."""
    large = {kind: by_size[size] for kind, by_size in results.items() if size in by_size}
    found = list(_ratios(large))
    small = {kind: results[kind][SMALL] for kind in large if SMALL in results[kind]}
    if size != SMALL and small.keys() == large.keys():
        found += _growth(small, large)
    found += _comparisons(large)
    found += _queries(large)
    if all("footprint" in result for result in large.values()):
        found += _footprint(large)
    return found


def _ratios(large: dict[str, Any]) -> Iterator[Target]:
    for name, operation in next(iter(large.values()))["operations"].items():
        measured = {kind: ratio(result["operations"][name]) for kind, result in large.items()}
        yield Target(f"{name} ÷ floor", operation["limit"], measured)


def ratio(operation: dict[str, Any]) -> float:
    return operation["service"] / operation["floor"]


def _growth(small: dict[str, Any], large: dict[str, Any]) -> Iterator[Target]:
    for name in next(iter(large.values()))["operations"]:
        measured = {
            kind: result["operations"][name]["service"] / small[kind]["operations"][name]["service"]
            for kind, result in large.items()
        }
        yield Target(f"growth of {name}", GROWTH, measured)


def _comparisons(large: dict[str, Any]) -> Iterator[Target]:
    def compared(group: str, prefix: str, base: str) -> dict[str, float]:
        """The slowest of a group with this prefix, divided by one of the group."""
        ratios = {}
        for kind, result in large.items():
            times = result["comparisons"][group]
            ratios[kind] = max(time for name, time in times.items() if name.startswith(prefix)) / times[base]
        return ratios

    yield Target("search of up to 1,000 matches ÷ get", SEARCH_TO_GET, compared("compared with get", "search", "get"))
    yield Target("changes: none ÷ get", POLL_TO_GET, compared("compared with get", "changes", "get"))
    yield Target("page in the middle ÷ get", MIDDLE_TO_GET, compared("compared with get", "page", "get"))
    count = "the database's own count"
    yield Target(
        "search: one in twenty ÷ count through the index", SEARCH_TO_COUNT, compared("dense search", "search", count)
    )
    for group, longer in (("one contact in twenty", "5 characters"), ("1,000 contacts", "3 characters")):
        for characters in ("1", "2"):
            measured = compared(f"short terms, {group}", characters, longer)
            yield Target(f"term of {characters} ÷ longer search, {group}", SHORT_TERMS, measured)
    yield Target("cursor at any depth ÷ first page", CURSORS, compared("cursors", "cursor", "list"))


def _queries(large: dict[str, Any]) -> Iterator[Target]:
    for name, limit, prefixes in (
        ("queries of a get", 1, ("get", "session data")),
        ("queries of a list with its total", 2, ("list", "search", "cursor", "page")),
    ):
        measured = {
            kind: max(
                len(operation["queries"])
                for operation_name, operation in result["operations"].items()
                if operation_name.startswith(prefixes)
            )
            for kind, result in large.items()
        }
        yield Target(name, limit, measured, "")
    writes = ("create", "update", "assign", "record a message")
    measured = {
        kind: max(result["operations"][name]["transactions"] for name in writes) for kind, result in large.items()
    }
    yield Target("transactions of a write", 1, measured, "")
    measured = {
        kind: sum(bool(query["scans"]) for each in result["operations"].values() for query in each["queries"])
        for kind, result in large.items()
    }
    yield Target("queries that scan a table", 0, measured, "")


def _footprint(large: dict[str, Any]) -> Iterator[Target]:
    for field, name in (("pss", "memory of a worker (PSS)"), ("rss", "memory of a worker (RSS)")):
        measured = {
            kind: max(worker[field] for worker in result["footprint"]["workers"]) / MEGABYTE
            for kind, result in large.items()
        }
        yield Target(name, MAX_MEMORY, measured, " MB")
    measured = {kind: result["footprint"]["seconds_to_first_response"] for kind, result in large.items()}
    yield Target("start to first response", MAX_START, measured, " s")
