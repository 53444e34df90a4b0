"""Calls the service over kept connections, repeats what may have been lost, and notes what became of every try."""

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
"""Seconds after which a request that is repeated all the time counts as never answered."""
LONGEST_TRY = 30.0
"""Seconds that a single answer may take; the service bounds them much closer."""
PAUSE = 0.05
"""Seconds between repetitions: less than Retry-After says, so that the first answer after a fault can be timed."""

RECONNECTED = 0.02
"""The part of all tries before which connections are made anew: kept for good, they could all be of one worker."""

CUT = "connection cut"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    content: bytes
    is_repeated: bool
    """Whether an earlier try of the same request stayed without an answer that tells its outcome."""

    @property
    def is_replay(self) -> bool:
        """Whether the service says that it did nothing but to repeat its first answer."""
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
    """A request that was not answered as it should have been; the traffic's failures have it already."""


@dataclass
class Traffic:
    """What all clients share: where the service is, what it may do at the moment, and what it did."""

    urls: list[str]
    tolerated: frozenset[int | str] = frozenset()
    """Outcomes that a fault excuses at the moment, such as 503 and CUT."""
    tries: list[Try] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    repeated: int = 0
    replayed: int = 0
    """Requests whose first try was done, though its answer was lost."""

    def note(self, done: Try, tolerated: frozenset[int | str], what: str) -> None:
        """Remember a try. A 503 or a cut that no fault excused when it began or ended is a failure."""
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

    def __init__(self, traffic: Traffic, chance: random.Random) -> None:
        self.traffic = traffic
        self.chance = chance
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def get(self, path: str, *expected: int) -> Answer:
        return self.ask("GET", path, None, {200, *expected})

    def ask(self, method: str, path: str, body: object, expected: set[int], key: str | None = None) -> Answer:
        """Send a request until its outcome is known. A POST brings a key; each try may go to another replica.

        Raises Unexpected for an answer with another status, and when none came within PATIENCE.
        """
        deadline = time.monotonic() + PATIENCE
        what = f"{method} {path} {json.dumps(body)} key {key}"
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        is_repeated = False
        while True:
            answer = self._try(method, path, body, headers, is_repeated=is_repeated)
            if answer and not _is_temporary(answer):
                if answer.status not in expected:
                    self.fail(f"{answer.status} {answer.content.decode()}: {what}, repeated: {is_repeated}")
                self.traffic.replayed += is_repeated and answer.is_replay
                return answer
            if answer and answer.status == 503 and not answer.headers["Retry-After"]:
                self.fail(f"503 without Retry-After: {what}")
            if time.monotonic() > deadline:
                self.fail(f"no answer within {PATIENCE} s: {what}")
            self.traffic.repeated += 1
            is_repeated = True
            time.sleep(PAUSE)

    def _try(
        self, method: str, path: str, body: object, headers: dict[str, str], *, is_repeated: bool
    ) -> Answer | None:
        """Send a request once; None when the connection was refused, cut or silent."""
        url = self.chance.choice(self.traffic.urls)
        if self.chance.random() < RECONNECTED:
            self.close()
        if url not in self._connections:
            self._connections[url] = http.client.HTTPConnection(urlsplit(url).netloc, timeout=LONGEST_TRY)
        connection = self._connections[url]
        tolerated, began = self.traffic.tolerated, time.monotonic()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read(), is_repeated)
        except (OSError, http.client.HTTPException):
            connection.close()
            answer = None
        done = Try(url, began, time.monotonic(), answer.status if answer else CUT)
        self.traffic.note(done, tolerated, f"{method} {path}")
        return answer

    def fail(self, why: str) -> None:
        self.traffic.failures.append(why)
        raise Unexpected(why)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


def _is_temporary(answer: Answer) -> bool:
    """Tell whether an answer asks for a repetition: the database is away, or the first try is still at work."""
    return answer.status == 503 or (answer.status == 409 and answer.body["code"] == "retry_in_progress")
