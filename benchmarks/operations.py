"""The operations that are measured, with their requests and targets."""

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from benchmarks import dataset
from benchmarks.dataset import ACCOUNTS, USERS

READ_ONE, LIST, WRITE = 1.6, 1.3, 1.5
"""Upper limits of the ratio to the floor."""


class Request(NamedTuple):
    """An HTTP request."""

    method: str
    path: str
    query: dict[str, str] | None = None
    body: dict[str, Any] | None = None


class Operation(NamedTuple):
    """A kind of request that is sent to service and floor."""

    name: str
    limit: float
    request: Callable[[int], Request]
    """Makes the request of a round."""
    total: int | None = None
    """The expected total of a search."""
    floor_request: Callable[[int], Request] | None = None
    """The request to the floor if it differs: cursors do."""


Execute = Callable[..., list[tuple[Any, ...]]]
Fetch = Callable[[str, Request], Any]
_SAMPLES = 50
_unique = itertools.count(time.time_ns() // 1_000_000)  # Starts at another number in each run.


def search_operation(name: str, term: str, total: int | None = None) -> Operation:
    return Operation(name, LIST, lambda _: _list(search=term), total)


def all_operations(execute: Execute, fetch: Fetch, size: int) -> list[Operation]:
    """``execute`` runs SQL on the database, ``fetch`` sends a request to "service" or "floor"."""
    ids = _sample(execute, "TRUE", size)
    with_session = [row[0] for row in execute(_WITH_SESSION)]
    numbers = [row[2][-9:] for row in _sample(execute, "phone_number IS NOT NULL", size)]
    return [
        Operation("get", READ_ONE, lambda round_number: Request("GET", f"/api/contacts/{_pick(ids, round_number)[0]}")),
        Operation("session data", READ_ONE, lambda round_number: _session_data(_pick(with_session, round_number))),
        Operation("list", LIST, lambda _: _list()),
        Operation("list by account", LIST, lambda _: _list(account_id=ACCOUNTS[0])),
        Operation("list by assignee", LIST, lambda _: _list(assigned_to=USERS[0])),
        search_operation("search: 1 match", dataset.RARE.name, 1),
        search_operation("search: 100 matches", dataset.HUNDRED.name, 100),
        search_operation("search: 1,000 matches", dataset.THOUSAND.name, 1000),
        search_operation("search: one in twenty", dataset.DENSE.name, size // 20),
        Operation("search: phone number", LIST, lambda round_number: _list(search=_pick(numbers, round_number)), 1),
        search_operation("search: one character", dataset.DENSE_SHORT.name[:1], size // 20),
        search_operation("search: two characters", dataset.DENSE_SHORT.name[:2], size // 20),
        search_operation("search: almost every contact", "+"),
        *[_filter_operation(name, execute) for name in ("created", "last_inbound")],
        Operation("metadata: 100 matches", LIST, lambda _: _list(**{"metadata.cohort": dataset.HUNDRED.name}), 100),
        cursor_operation("cursor: 10 % deep", 0.1, fetch, size),
        Operation("page in the middle", LIST, lambda _: _list(page=str(size // 40))),
        Operation("changes: page of 500", LIST, lambda _: Request("GET", "/api/changes", {"limit": "500"})),
        poll_operation(fetch),
        *_writes(execute, size),
    ]


def _filter_operation(name: str, execute: Execute) -> Operation:
    """Read the contacts since a time that a hundred are of, in the order of messages."""
    [(time,)] = execute(f"SELECT {name}_at FROM contact WHERE {name}_at IS NOT NULL ORDER BY 1 DESC LIMIT 1 OFFSET 99")
    since = time if isinstance(time, str) else time.isoformat()
    return Operation(f"{name}_after: 100 matches", LIST, lambda _: _list(**{f"{name}_after": since}), 100)


def cursor_operation(name: str, depth: float, fetch: Fetch, size: int) -> Operation:
    """Read a page by the cursor of the page before it, a share of ``depth`` into the list."""
    previous = _list(page=str(max(1, int(size * depth / 20))))
    cursors = {side: fetch(side, previous)["next_cursor"] for side in ("service", "floor")}
    return Operation(
        name,
        LIST,
        lambda _: _list(cursor=cursors["service"]),
        floor_request=lambda _: _list(cursor=cursors["floor"]),
    )


def poll_operation(fetch: Fetch) -> Operation:
    """Ask for changes when there are none since."""
    now = Request("GET", "/api/changes", {"after": "now"})
    tokens = {side: fetch(side, now)["next"] for side in ("service", "floor")}
    return Operation(
        "changes: none",
        READ_ONE,
        lambda _: Request("GET", "/api/changes", {"after": tokens["service"]}),
        floor_request=lambda _: Request("GET", "/api/changes", {"after": tokens["floor"]}),
    )


def _writes(execute: Execute, size: int) -> list[Operation]:
    known = _sample(execute, "phone_number IS NOT NULL AND account_id IS NOT NULL", size)

    def create(_: int) -> Request:
        number = f"+{next(_unique)}"
        fields = {"phone_number": number, "name": "Bench Person", "account_id": ACCOUNTS[3]}
        return Request("POST", "/api/contacts", body={**fields, "metadata": {"plan": "gold"}})

    def update(round_number: int) -> Request:
        fields = {"name": f"Bench {next(_unique)}", "metadata": {"plan": "gold", "seats": 5}}
        return Request("PUT", f"/api/contacts/{_pick(known, round_number)[0]}", body=fields)

    def assign(round_number: int) -> Request:
        user = USERS[next(_unique) % len(USERS)]
        return Request("PUT", f"/api/contacts/{_pick(known, round_number)[0]}/assign", body={"user_id": user})

    def record(round_number: int) -> Request:
        _, account, number, profile_name = _pick(known, round_number)
        contact = {"phone_number": number} | ({"profile_name": profile_name} if profile_name else {})
        message = {
            "wa_message_id": f"wamid.bench{next(_unique)}",
            "direction": "incoming",
            "type": "text",
            "content": {"body": "Where is my order?"},
            "timestamp": datetime.now(UTC).isoformat(),
        }
        return Request("POST", "/api/messages", body={"account_id": account, "contact": contact, **message})

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


def _pick(samples: list[Any], round_number: int) -> Any:
    return samples[round_number % len(samples)]


_WITH_SESSION = f"""
SELECT c.id FROM session AS s JOIN contact AS c ON c.pk = s.contact_id
WHERE s.status IN ('active', 'completed') ORDER BY s.pk LIMIT {_SAMPLES}
"""


def _sample(execute: Execute, condition: str, size: int) -> list[tuple[str, str, str, str]]:
    """Read contacts from all parts of the table, without those whose names searches look for."""
    keys = [number + 3 for number in range(0, size, max(20, size // (3 * _SAMPLES) // 20 * 20))]
    sql = f"SELECT id, account_id, phone_number, profile_name FROM contact WHERE pk = ? AND {condition}"
    return [row for pk in keys for row in execute(sql, (pk,))][:_SAMPLES]
