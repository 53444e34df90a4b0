"""Requests over persistent connections, repeated until their outcome is known, with a record of every attempt."""

import http.client
import itertools
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 60.0
"""Seconds of repetitions after which a request counts as unanswered."""
LONGEST_TRY = 30.0
"""Seconds that a single response may take; the service's own limits are much lower."""
PAUSE = 0.05
"""Seconds between repetitions: less than Retry-After says, so that the first response after a fault can be timed."""

RECONNECTED = 0.02
"""The share of attempts that open a new connection, so that the connections spread over all workers."""

CUT = "connection cut"


@dataclass(frozen=True)
class Response:
    status: int
    headers: http.client.HTTPMessage
    content: bytes
    is_repeated: bool
    """Whether an earlier attempt of the same request had no known outcome."""

    @property
    def is_replay(self) -> bool:
        """Whether the service replayed a stored response."""
        return self.headers["Idempotent-Replayed"] == "true"

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.content)

    @property
    def data(self) -> Any:
        return self.body["data"]


@dataclass(frozen=True)
class Try:
    """One request on the wire; the times are of time.monotonic."""

    url: str
    began: float
    ended: float
    outcome: int | str
    """The status, or CUT."""


class Unexpected(Exception):
    """A request with an unexpected outcome, which is already among the traffic's failures."""


@dataclass
class Traffic:
    """What all clients share: the replicas, the outcomes that are tolerated now, and what happened."""

    urls: list[str]
    tolerated: frozenset[int | str] = frozenset()
    """Outcomes that the current fault excuses, such as 503 and CUT."""
    tries: list[Try] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    repeated: int = 0
    replayed: int = 0
    """Requests whose first attempt had its effect, though its response was lost."""

    def note(self, done: Try, tolerated: frozenset[int | str], what: str) -> None:
        """Record an attempt. A 503 or CUT that was not tolerated at its start or end is a failure."""
        self.tries.append(done)
        if done.outcome in {503, CUT} and done.outcome not in tolerated | self.tolerated:
            self.failures.append(f"{done.outcome} without a fault after {done.ended - done.began:.2f} s: {what}")

    def outcomes(self) -> dict[str, int]:
        return {str(outcome): n for outcome, n in sorted(Counter(t.outcome for t in self.tries).items(), key=str)}

    def slowest(self, outcome: int | str, since: float = 0.0) -> float:
        """Seconds of the longest try with an outcome; 0 without any."""
        return max((t.ended - t.began for t in self.tries if t.outcome == outcome and t.ended > since), default=0.0)

    def first_success(self, since: float, url: str | None = None) -> float | None:
        """Seconds from a moment to the end of the first try that succeeded, of any replica or of one."""
        return min(
            (t.ended - since for t in self.tries if _succeeded(t) and t.ended >= since and url in {None, t.url}),
            default=None,
        )


def _succeeded(done: Try) -> bool:
    return isinstance(done.outcome, int) and done.outcome < 300


class Client:
    """One thread's connections to the replicas of the service."""

    _numbers = itertools.count(1)

    def __init__(self, traffic: Traffic, rng: random.Random) -> None:
        self.traffic = traffic
        self.rng = rng
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def get(self, path: str, *expected: int) -> Response:
        return self.ask("GET", path, None, {200, *expected})

    def ask(self, method: str, path: str, body: object, expected: set[int], key: str | None = None) -> Response:
        """Send a request until its outcome is known. A POST brings a key; each try may go to another replica.

        Raises Unexpected for a response with another status, and if none came within PATIENCE.
        """
        deadline = time.monotonic() + PATIENCE
        what = f"{method} {path} {json.dumps(body)} key {key}"
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        is_repeated = False
        while True:
            response = self._try(method, path, body, headers, is_repeated=is_repeated)
            if response and not _is_temporary(response):
                if response.status not in expected:
                    self.fail(f"{response.status} {response.content.decode()}: {what}, repeated: {is_repeated}")
                self.traffic.replayed += is_repeated and response.is_replay
                return response
            if response and response.status == 503 and not response.headers["Retry-After"]:
                self.fail(f"503 without Retry-After: {what}")
            if time.monotonic() > deadline:
                self.fail(f"no response within {PATIENCE} s: {what}")
            self.traffic.repeated += 1
            is_repeated = True
            time.sleep(PAUSE)

    def _try(
        self, method: str, path: str, body: object, headers: dict[str, str], *, is_repeated: bool
    ) -> Response | None:
        """Send a request once; None if the connection was refused, closed or silent."""
        url = self.rng.choice(self.traffic.urls)
        if self.rng.random() < RECONNECTED:
            self.close()
        if url not in self._connections:
            self._connections[url] = http.client.HTTPConnection(urlsplit(url).netloc, timeout=LONGEST_TRY)
        connection = self._connections[url]
        tolerated, began = self.traffic.tolerated, time.monotonic()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            received = connection.getresponse()
            response = Response(received.status, received.headers, received.read(), is_repeated)
        except (OSError, http.client.HTTPException):
            connection.close()
            response = None
        done = Try(url, began, time.monotonic(), response.status if response else CUT)
        self.traffic.note(done, tolerated, f"{method} {path}")
        return response

    def fail(self, why: str) -> None:
        self.traffic.failures.append(why)
        raise Unexpected(why)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


def _is_temporary(response: Response) -> bool:
    """Whether to repeat the request: the database is unavailable, or the first attempt is still running."""
    return response.status == 503 or (response.status == 409 and response.body["code"] == "retry_in_progress")
