"""Calls WSGI applications in this process and measures the time, without server and sockets."""

import statistics
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Flask
from werkzeug.test import EnvironBuilder

from benchmarks.operations import Request

_MAX_ROUNDS, _MIN_ROUNDS = 400, 7
# Slow candidates may stop after fewer rounds, when they have used a multiple of their time.
_MIN_SLOW_ROUNDS, _SLOW_FACTOR = 3, 5


class UnexpectedStatus(Exception):
    """A response other than 2xx."""


def _start_response(status: str, headers: Any, _: Any = None) -> Callable[[bytes], object]:
    if status[0] != "2":
        raise UnexpectedStatus(status, headers)
    return lambda _: None


def make_environ(request: Request, headers: dict[str, str]) -> dict[str, Any]:
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
    return b"".join(app(environ, _start_response))


def time_request(app: Flask, request: Request, headers: dict[str, str]) -> float:
    """Seconds that the application takes for a request."""
    environ = make_environ(request, headers)
    start = time.perf_counter()
    call(app, environ)
    return time.perf_counter() - start


def fetch_data(app: Flask, request: Request, headers: dict[str, str]) -> Any:
    return orjson.loads(call(app, make_environ(request, headers)))["data"]


def median_times(candidates: dict[str, Callable[[int], float]], seconds: float) -> dict[str, float]:
    """Call the candidates in turn for about ``seconds``; return the median time of each.

    The order rotates from round to round, so that no candidate always follows the same other one.
    """
    start = time.monotonic()
    for round_number in range(3):  # To warm up.
        if time.monotonic() - start < seconds:
            for candidate in candidates.values():
                candidate(round_number)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates.items())
    start = time.monotonic()
    for round_number in range(_MAX_ROUNDS):
        elapsed = time.monotonic() - start
        is_over = round_number >= _MIN_ROUNDS and elapsed > seconds
        if is_over or (round_number >= _MIN_SLOW_ROUNDS and elapsed > _SLOW_FACTOR * seconds):
            break
        for name, candidate in order:
            times[name].append(candidate(round_number))
        order = [*order[1:], order[0]]
    return {name: statistics.median(each) for name, each in times.items()}


def query_timer(execute: Callable[..., Any], sql: str, values: list[Any]) -> Callable[[int], float]:
    """Make a candidate of a bare query."""

    def time_query(_: int) -> float:
        start = time.perf_counter()
        execute(sql, values)
        return time.perf_counter() - start

    return time_query
