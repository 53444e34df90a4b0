"""The operations that are measured: which requests they make, and what their target is."""

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from benchmarks import people
from benchmarks.people import ACCOUNTS, USERS, Planted, step_of

READ_ONE, LIST, WRITE = 1.6, 1.3, 1.5
"""Most times of the floor that an operation may take."""


class Request(NamedTuple):
    """A request; ``query`` and ``body`` may be left out."""

    method: str
    path: str
    query: dict[str, str] | None = None
    body: dict[str, Any] | None = None


class Operation(NamedTuple):
    """One thing that callers do, in the service's way and the floor's way."""

    name: str
    limit: float
    request: Callable[[int], Request]
    """Makes the request of each turn."""
    total: int | None = None
    """How many matches the answer has to tell, where that is known."""
    floor_request: Callable[[int], Request] | None = None
    """The floor's request where it differs: cursors."""


Run = Callable[..., list[tuple[Any, ...]]]
Ask = Callable[[str, Request], Any]
_SAMPLES = 50
_turns = itertools.count(time.time_ns() // 1_000_000)  # No two runs make the same numbers.


def searching(name: str, term: str, total: int | None = None) -> Operation:
    return Operation(name, LIST, lambda _: _list(search=term), total)


def planted_total(planted: Planted, size: int) -> int:
    return size // step_of(planted, size)


def all_operations(run: Run, ask: Ask, size: int) -> list[Operation]:
    """Make the operations for a database. ``run`` reads from it, ``ask`` asks service or floor for data."""
    ids = _sample(run, "TRUE", size)
    with_session = [row[0] for row in run(_WITH_SESSION)]
    numbers = [row[2][-9:] for row in _sample(run, "phone_number IS NOT NULL", size)]
    return [
        Operation("get", READ_ONE, lambda turn: Request("GET", f"/api/contacts/{_pick(ids, turn)[0]}")),
        Operation("session data", READ_ONE, lambda turn: _session_data(_pick(with_session, turn))),
        Operation("list", LIST, lambda _: _list()),
        Operation("list by account", LIST, lambda _: _list(account_id=ACCOUNTS[0])),
        Operation("list by assignee", LIST, lambda _: _list(assigned_to=USERS[0])),
        searching("search: 1 match", people.RARE.name, 1),
        searching("search: 100 matches", people.HUNDRED.name, 100),
        searching("search: 1,000 matches", people.THOUSAND.name, 1000),
        searching("search: one in twenty", people.DENSE.name, size // 20),
        Operation("search: phone number", LIST, lambda turn: _list(search=_pick(numbers, turn)), 1),
        searching("search: one character", people.DENSE_SHORT.name[:1], size // 20),
        searching("search: two characters", people.DENSE_SHORT.name[:2], size // 20),
        searching("search: almost every contact", "+"),
        at_depth("cursor: 10 % deep", 0.1, ask, size),
        Operation("page in the middle", LIST, lambda _: _list(page=str(size // 40))),
        *_writes(run, size),
    ]


def at_depth(name: str, depth: float, ask: Ask, size: int) -> Operation:
    """Make the operation that reads the page behind a place. Its cursor comes from the page before it."""
    before = _list(page=str(max(1, int(size * depth / 20))))
    cursors = {side: ask(side, before)["next_cursor"] for side in ("service", "floor")}
    return Operation(
        name,
        LIST,
        lambda _: _list(cursor=cursors["service"]),
        floor_request=lambda _: _list(cursor=cursors["floor"]),
    )


def _writes(run: Run, size: int) -> list[Operation]:
    known = _sample(run, "phone_number IS NOT NULL AND account_id IS NOT NULL", size)

    def create(_: int) -> Request:
        number = f"+{next(_turns)}"
        fields = {"phone_number": number, "name": "Bench Person", "account_id": ACCOUNTS[3]}
        return Request("POST", "/api/contacts", body={**fields, "metadata": {"plan": "gold"}})

    def update(turn: int) -> Request:
        fields = {"name": f"Bench {next(_turns)}", "metadata": {"plan": "gold", "seats": 5}}
        return Request("PUT", f"/api/contacts/{_pick(known, turn)[0]}", body=fields)

    def assign(turn: int) -> Request:
        user = USERS[next(_turns) % len(USERS)]
        return Request("PUT", f"/api/contacts/{_pick(known, turn)[0]}/assign", body={"user_id": user})

    def record(turn: int) -> Request:
        _, account, number, profile_name = _pick(known, turn)
        who = {"phone_number": number} | ({"profile_name": profile_name} if profile_name else {})
        message = {
            "wa_message_id": f"wamid.bench{next(_turns)}",
            "direction": "incoming",
            "type": "text",
            "content": {"body": "Where is my order?"},
            "timestamp": datetime.now(UTC).isoformat(),
        }
        return Request("POST", "/api/messages", body={"account_id": account, "contact": who, **message})

    return [
        Operation("create", WRITE, create),
        Operation("update", WRITE, update),
        Operation("assign", WRITE, assign),
        Operation("record a message", WRITE, record),
    ]


def _list(**query: str) -> Request:
    return Request("GET", "/api/contacts", query)


def _session_data(contact_id: str) -> Request:
    return Request("GET", f"/api/contacts/{contact_id}/session-data")


def _pick(samples: list[Any], turn: int) -> Any:
    return samples[turn % len(samples)]


_WITH_SESSION = f"""
SELECT c.id FROM session AS s JOIN contact AS c ON c.pk = s.contact_id
WHERE s.status IN ('active', 'completed') ORDER BY s.pk LIMIT {_SAMPLES}
"""


def _sample(run: Run, condition: str, size: int) -> list[tuple[str, str, str, str]]:
    """Read id, account, number and profile name of contacts spread over the table, none with a planted name."""
    spread = [number + 3 for number in range(0, size, max(20, size // (3 * _SAMPLES) // 20 * 20))]
    sql = f"SELECT id, account_id, phone_number, profile_name FROM contact WHERE pk = ? AND {condition}"
    return [row for pk in spread for row in run(sql, (pk,))][:_SAMPLES]
