"""Calls a WSGI application in this process and takes the time, without server and sockets."""

import statistics
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Flask
from werkzeug.test import EnvironBuilder

from benchmarks.operations import Request

MOST_ROUNDS = 400
# At least so many rounds, and of what takes very long at least so few.
_LEAST_ROUNDS, _LEAST_SLOW_ROUNDS, _VERY_LONG = 7, 3, 5


class Refused(Exception):
    """An answer that is no success."""


def _start_response(status: str, headers: Any, _: Any = None) -> Callable[[bytes], object]:
    if status[0] != "2":
        raise Refused(status, headers)
    return lambda _: None


def environ_of(request: Request, headers: dict[str, str]) -> dict[str, Any]:
    body = orjson.dumps(request.body) if request.body else None
    return EnvironBuilder(
        request.path,
        method=request.method,
        query_string=urlencode(request.query or {}),
        data=body,
        content_type="application/json" if body else None,
        headers=list(headers.items()),
        environ_overrides={"REMOTE_ADDR": "127.0.0.1"},
    ).get_environ()


def call(app: Flask, environ: dict[str, Any]) -> bytes:
    answer = app(environ, _start_response)
    try:
        return b"".join(answer)
    finally:
        answer.close()  # type: ignore[attr-defined]


def timed(app: Flask, request: Request, headers: dict[str, str]) -> float:
    """Seconds that the application takes for a request, its making not counted."""
    environ = environ_of(request, headers)
    began = time.perf_counter()
    call(app, environ)
    return time.perf_counter() - began


def data_of(app: Flask, request: Request, headers: dict[str, str]) -> Any:
    return orjson.loads(call(app, environ_of(request, headers)))["data"]


def interleaved(contenders: dict[str, Callable[[int], float]], budget: float) -> dict[str, float]:
    """Let each take its turn, round by round, for about ``budget`` seconds; return the median seconds of each.

    The order changes from round to round, so that nobody always comes after the same other.
    """
    began = time.monotonic()
    for warm_up in range(3):
        if time.monotonic() - began < budget:
            for take in contenders.values():
                take(warm_up)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders.items())
    began = time.monotonic()
    for turn in range(MOST_ROUNDS):
        took = time.monotonic() - began
        if (turn >= _LEAST_ROUNDS and took > budget) or (turn >= _LEAST_SLOW_ROUNDS and took > _VERY_LONG * budget):
            break
        for name, take in order:
            times[name].append(take(turn))
        order = [*order[1:], order[0]]
    return {name: statistics.median(taken) for name, taken in times.items()}


def query_time(run: Callable[..., Any], sql: str, values: list[Any]) -> Callable[[int], float]:
    """Make a contender of a bare query."""

    def take(_: int) -> float:
        began = time.perf_counter()
        run(sql, values)
        return time.perf_counter() - began

    return take
