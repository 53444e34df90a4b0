"""Attributes the time of an operation to libraries and layers, by a profile of it."""

import cProfile
import pstats
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

CALLS = 300
# The owner of a function, by a part of its path; the first match counts.
_OWNERS = (
    ("/flask_smorest/", "Flask"),
    ("/flask/", "Flask"),
    ("/werkzeug/", "Flask"),
    ("/blinker/", "Flask"),
    ("/marshmallow/", "marshmallow"),
    ("/peewee", "Peewee"),
    ("/psycopg", "driver and database"),
    ("/prometheus_client/", "metrics"),
    ("/benchmarks/floor", "floor"),
    ("/contacts_service/db/", "db"),
    ("/contacts_service/web/", "web"),
    ("/contacts_service/", "resources"),
    ("/schemas/", "marshmallow"),
)
_BUILT_IN = {"sqlite3": "driver and database", "orjson": "orjson"}
_MAX_DEPTH = 8


def profile(call: Callable[[Any], Any], requests: list[Any]) -> dict[str, float]:
    """Share of the profiled time by owner; time in Python and its standard library counts for the caller."""
    profiler = cProfile.Profile()
    profiler.enable()
    for request in requests:
        call(request)
    profiler.disable()
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    shares: Counter[str] = Counter()
    for function, (_, _, own_time, _, callers) in stats.items():
        for owner, share in _owners(function, callers, stats, _MAX_DEPTH).items():
            shares[owner] += own_time * share
    total = shares.total()
    return {owner: share / total for owner, share in shares.most_common()}


def _owners(function: Any, callers: Any, stats: Any, depth: int) -> dict[str, float]:
    """Split a function between owners: the owner of its file, or those of its callers by their time in it."""
    if owner := _owner(function):
        return {owner: 1.0}
    times = {caller: entry[2] for caller, entry in callers.items() if caller != function}
    total = sum(times.values())
    if not total or not depth:
        return {"Python": 1.0}
    shares: dict[str, float] = defaultdict(float)
    for caller, time in times.items():
        for owner, share in _owners(caller, stats[caller][4], stats, depth - 1).items():
            shares[owner] += share * time / total
    return shares


def _owner(function: Any) -> str | None:
    path, _, name = function
    if path == "~":
        return next((owner for part, owner in _BUILT_IN.items() if part in name), None)
    return next((owner for part, owner in _OWNERS if part in path), None)
