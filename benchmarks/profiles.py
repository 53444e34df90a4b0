"""Tells whose code the time of an operation goes to, by a profile of it."""

import cProfile
import pstats
from collections import Counter
from collections.abc import Callable
from typing import Any

CALLS = 300
# By a part of the path of the file that holds a function; the first that fits.
_OWNERS = (
    ("/flask_smorest/", "Flask"),
    ("/flask/", "Flask"),
    ("/werkzeug/", "Flask"),
    ("/blinker/", "Flask"),
    ("/marshmallow/", "marshmallow"),
    ("/peewee", "Peewee"),
    ("/psycopg", "driver and database"),
    ("/prometheus_client/", "metrics"),
    ("/benchmarks/floor", "the floor's own"),
    ("/contacts_service/models/", "models"),
    ("/contacts_service/services/", "services"),
    ("/contacts_service/", "api"),
    ("/schemas/", "marshmallow"),
)
_BUILT_IN = {"sqlite3": "driver and database", "orjson": "orjson"}


def profile(call: Callable[[Any], Any], requests: list[Any]) -> dict[str, float]:
    """Share of the profiled time by owner; what Python and its library do counts for whoever called them."""
    profiler = cProfile.Profile()
    profiler.enable()
    for request in requests:
        call(request)
    profiler.disable()
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    shares: Counter[str] = Counter()
    for function, (_, _, own_time, _, callers) in stats.items():
        for owner, part in _owners(function, callers, stats, depth=8).items():
            shares[owner] += own_time * part
    total = shares.total()
    return {owner: share / total for owner, share in shares.most_common()}


def _owners(function: Any, callers: Any, stats: Any, depth: int) -> dict[str, float]:
    """Who answers for a function, and for which part of it: its own file, or whoever called it."""
    if owner := _owner(function):
        return {owner: 1.0}
    times = {caller: figures[2] for caller, figures in callers.items() if caller != function}
    whole = sum(times.values())
    if not whole or not depth:
        return {"Python": 1.0}
    parts: Counter[str] = Counter()
    for caller, time in times.items():
        for owner, part in _owners(caller, stats[caller][4], stats, depth - 1).items():
            parts[owner] += part * time / whole
    return parts


def _owner(function: Any) -> str | None:
    path, _, name = function
    if path == "~":
        return next((owner for mark, owner in _BUILT_IN.items() if mark in name), None)
    return next((owner for mark, owner in _OWNERS if mark in path), None)
