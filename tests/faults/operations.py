"""The operations of simulated callers, each of which records what was acknowledged in the ledger."""

import collections
import contextlib
import itertools
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger import ACCOUNTS, STATUSES, Ledger, Person, Record
from traffic import Client, Response

PASSING = 30
"""How many people who may be deleted are kept, so that others have time to write to them."""
HOT = 3
"""How many people get a large part of all writes, so that callers contend for them."""

AGAIN = 0.05
"""The share of POSTs that are sent again after their response."""


@dataclass
class SimulatedCaller:
    """A caller with its own key in metadata and variables."""

    name: str
    client: Client
    ledger: Ledger
    rng: random.Random
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    sent: collections.deque[tuple[Person, Record]] = field(default_factory=lambda: collections.deque(maxlen=50))
    own: collections.deque[Person] = field(default_factory=lambda: collections.deque(maxlen=50))
    """People whose name, assignment and tags only this caller writes."""

    def post(self, path: str, body: dict[str, Any], *expected: int) -> Response:
        """Send a POST with a new idempotency key.

        Some are sent again after their response, as by a caller that lost it.
        """
        key = str(uuid.UUID(int=self.rng.getrandbits(128)))
        first = self.client.ask("POST", path, body, {201, *expected}, key)
        if self.rng.random() >= AGAIN:
            return first
        again = self.client.ask("POST", path, body, {first.status, *expected}, key)
        if again.status == first.status and (again.content != first.content or not again.is_replay):
            self.client.fail(f"{path} with the same key: first {first.content.decode()}, then {again.content.decode()}")
        return again

    def ask_of(self, person: Person, method: str, path: str, body: object, *expected: int) -> Response | None:
        """Send a request about a person; None if the person has been deleted."""
        response = self.client.ask(method, path.format(person.id), body, {200, *expected, 404})
        return self.unless_deleted(person, response)

    def unless_deleted(self, person: Person, response: Response) -> Response | None:
        if response.status != 404:
            return response
        if not person.is_leaving:
            self.client.fail(f"404 for {person.id}, which no caller deleted")
        return None

    def choose_person(self) -> Person | None:
        people = self.ledger.staying
        if self.rng.random() < 0.2:
            people = people[:HOT]
        elif self.rng.random() < 0.3:
            people = self.ledger.passing or people
        with contextlib.suppress(IndexError):  # No one exists, or the last one has just been deleted.
            return self.rng.choice(people)
        return None


def create_contact(caller: SimulatedCaller) -> None:
    number, account_id = caller.ledger.new_number(), caller.rng.choice(ACCOUNTS)
    tags = caller.rng.sample(["vip", "new", "late", "gold"], caller.rng.randrange(3))
    response = caller.post("/api/contacts", {"phone_number": number, "account_id": account_id, "tags": tags})
    person = Person(response.data["id"], number, account_id, tags=tags)
    may_leave = caller.rng.random() < 0.5
    caller.ledger.add_created(person, may_leave=may_leave)
    if not may_leave:
        caller.own.append(person)


def receive_message(caller: SimulatedCaller) -> None:
    """Record a message of a person known by number alone, as a webhook receiver does."""
    if caller.ledger.staying and caller.rng.random() < 0.7:
        people = caller.ledger.staying[:HOT] if caller.rng.random() < 0.3 else caller.ledger.staying
        person = caller.rng.choice(people)
        number, account_id = person.phone_number, person.account_id
    else:
        number, account_id = caller.ledger.stranger(is_new=caller.rng.random() < 0.5)
    body = {"account_id": account_id, "contact": {"phone_number": number, "profile_name": "Ana"}, **message(caller)}
    response = caller.post("/api/messages", body)
    remember(caller, caller.ledger.add_recorded(response.data["contact_id"], number, account_id), response)


def record_message(caller: SimulatedCaller) -> None:
    """Record a message of a contact, sometimes after its status."""
    if not (person := caller.choose_person()):
        return
    body = message(caller)
    is_early = body["direction"] == "outgoing" and caller.rng.random() < 0.2
    if is_early:
        early = {"account_id": person.account_id, "wa_message_id": body["wa_message_id"], "status": "delivered"}
        caller.client.ask("PUT", "/api/messages/status", early, {202})
    response = caller.unless_deleted(person, caller.post(f"/api/contacts/{person.id}/messages", body, 404))
    if not response:
        return
    if is_early and response.data["status"] != "delivered":
        caller.client.fail(f"an early status was lost: {response.content.decode()}")
    remember(caller, person, response)


def message(caller: SimulatedCaller) -> dict[str, Any]:
    """Make a message of the last hour, in whole seconds as in WhatsApp's notifications."""
    at = datetime.now(UTC) - timedelta(seconds=caller.rng.randrange(3600))
    return {
        "wa_message_id": f"wamid.{caller.name}.{next(caller.numbers)}",
        "direction": caller.rng.choice(["incoming", "outgoing"]),
        "type": "text",
        "content": {"body": f"{caller.rng.getrandbits(64):x}"},
        "timestamp": at.isoformat(timespec="seconds"),
    }


def remember(caller: SimulatedCaller, person: Person, response: Response) -> None:
    recorded = response.data
    if recorded["contact_id"] != person.id:
        caller.ledger.contradictions.append(f"a message of {person.id} was recorded for {recorded['contact_id']}")
    record = Record(recorded["id"], recorded["wa_message_id"], recorded["status"])
    person.messages.append(record)
    if recorded["direction"] == "outgoing":
        caller.sent.append((person, record))


def set_status(caller: SimulatedCaller) -> None:
    if not caller.sent:
        return
    person, record = caller.rng.choice(caller.sent)
    status = caller.rng.choice(STATUSES[1:])
    if caller.rng.random() < 0.5:
        response = caller.ask_of(person, "PUT", f"/api/messages/{record.id}/status", {"status": status})
    else:
        body = {"account_id": person.account_id, "wa_message_id": record.wa_message_id, "status": status}
        response = caller.client.ask("PUT", "/api/messages/status", body, {200, 202})
        if response.status == 202 and not person.is_leaving:
            caller.client.fail(f"a status of {record.wa_message_id} was kept, though the message is recorded")
    if response and response.status == 200:
        record.status = max(record.status or status, status, key=STATUSES.index)


def patch_metadata(caller: SimulatedCaller) -> None:
    if person := caller.choose_person():
        value = next(caller.numbers)
        if caller.ask_of(person, "PATCH", "/api/contacts/{}", {"metadata": {caller.name: value}}):
            person.metadata[caller.name] = value


def patch_session(caller: SimulatedCaller) -> None:
    if person := caller.choose_person():
        value = next(caller.numbers)
        if caller.ask_of(person, "PATCH", "/api/contacts/{}/session-data", {"session_data": {caller.name: value}}, 201):
            person.variables[caller.name] = value


def assign(caller: SimulatedCaller) -> None:
    """Change the assignment, or the name and tags, of one of the caller's own people."""
    if not caller.own:
        return
    person = caller.rng.choice(caller.own)
    if caller.rng.random() < 0.5:
        user_id = str(uuid.UUID(int=caller.rng.getrandbits(128)))
        caller.ask_of(person, "PUT", "/api/contacts/{}/assign", {"user_id": user_id})
        person.assigned_to = user_id
    else:
        name, tags = f"N{caller.rng.getrandbits(48):012x}", caller.rng.sample(["vip", "new", "gold"], 2)
        caller.ask_of(person, "PATCH", "/api/contacts/{}", {"name": name, "tags": tags})
        person.name, person.tags = name, tags


def delete_contact(caller: SimulatedCaller) -> None:
    if person := caller.ledger.begin_delete(PASSING):
        response = caller.client.ask("DELETE", f"/api/contacts/{person.id}", None, {200, 404})
        if response.status == 404 and not response.is_repeated:
            caller.client.fail(f"{person.id} was gone before it was deleted")


def read(caller: SimulatedCaller) -> None:
    path = caller.rng.choice(["", "/messages", "/session-data", "/sessions"])
    if person := caller.choose_person():
        caller.ask_of(person, "GET", "/api/contacts/{}" + path, None)


def list_contacts(caller: SimulatedCaller) -> None:
    number = f"{caller.rng.randrange(1000):03}"
    caller.client.get(
        f"/api/contacts?{caller.rng.choice([f'search={number}', 'limit=50', 'tags=vip', 'sort=created'])}"
    )
    caller.client.get("/healthz")


OPERATIONS = {
    create_contact: 8,
    receive_message: 20,
    record_message: 15,
    set_status: 8,
    patch_metadata: 10,
    patch_session: 10,
    assign: 6,
    delete_contact: 4,
    read: 15,
    list_contacts: 4,
}
