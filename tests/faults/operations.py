"""What the service's callers do, one function each, and what they write into the ledger about it."""

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
from traffic import Answer, Client

PASSING = 30
"""People who may leave stay until there are more of them, so that others have time to write to them."""
HOT = 3
"""The first of the staying people get a good part of all writes: callers have to wait for one another."""

AGAIN = 0.05
"""The part of all POSTs that are sent again after they were answered."""


@dataclass
class Caller:
    """One of those who call the service, with a key of its own in metadata and variables."""

    name: str
    client: Client
    ledger: Ledger
    chance: random.Random
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    sent: collections.deque[tuple[Person, Record]] = field(default_factory=lambda: collections.deque(maxlen=50))
    own: collections.deque[Person] = field(default_factory=lambda: collections.deque(maxlen=50))
    """People of whom nobody else writes name, assignment and tags."""

    def post(self, path: str, body: dict[str, Any], *expected: int) -> Answer:
        """Send a POST with a key of its own; a repetition with the key answers what the first try would have.

        Now and then it is sent again after its answer, as by a caller who lost that.
        """
        key = str(uuid.UUID(int=self.chance.getrandbits(128)))
        first = self.client.ask("POST", path, body, {201, *expected}, key)
        if self.chance.random() >= AGAIN:
            return first
        again = self.client.ask("POST", path, body, {first.status, *expected}, key)
        if again.status == first.status and (again.content != first.content or not again.is_replay):
            self.client.fail(f"{path} with the same key: first {first.content.decode()}, then {again.content.decode()}")
        return again

    def ask_of(self, person: Person, method: str, path: str, body: object, *expected: int) -> Answer | None:
        """Send a request about a person; None when the person has been deleted meanwhile."""
        answer = self.client.ask(method, path.format(person.id), body, {200, *expected, 404})
        return self.unless_gone(person, answer)

    def unless_gone(self, person: Person, answer: Answer) -> Answer | None:
        if answer.status != 404:
            return answer
        if not person.is_leaving:
            self.client.fail(f"404 for {person.id}, which nobody deleted")
        return None

    def anybody(self) -> Person | None:
        people = self.ledger.staying
        if self.chance.random() < 0.2:
            people = people[:HOT]
        elif self.chance.random() < 0.3:
            people = self.ledger.passing or people
        with contextlib.suppress(IndexError):  # Nobody yet, or the last one has just left.
            return self.chance.choice(people)
        return None


def create_contact(me: Caller) -> None:
    number, account_id = me.ledger.new_number(), me.chance.choice(ACCOUNTS)
    tags = me.chance.sample(["vip", "new", "late", "gold"], me.chance.randrange(3))
    answer = me.post("/api/contacts", {"phone_number": number, "account_id": account_id, "tags": tags})
    person = Person(answer.data["id"], number, account_id, tags=tags)
    may_leave = me.chance.random() < 0.5
    me.ledger.add_created(person, may_leave=may_leave)
    if not may_leave:
        me.own.append(person)


def receive_message(me: Caller) -> None:
    """Record a message of somebody who is known only by number, as a webhook receiver does."""
    if me.ledger.staying and me.chance.random() < 0.7:
        people = me.ledger.staying[:HOT] if me.chance.random() < 0.3 else me.ledger.staying
        person = me.chance.choice(people)
        number, account_id = person.phone_number, person.account_id
    else:
        number, account_id = me.ledger.stranger(is_new=me.chance.random() < 0.5)
    body = {"account_id": account_id, "contact": {"phone_number": number, "profile_name": "Ana"}, **message(me)}
    answer = me.post("/api/messages", body)
    remember(me, me.ledger.met(answer.data["contact_id"], number, account_id), answer)


def record_message(me: Caller) -> None:
    """Record a message of a contact; sometimes WhatsApp reports its delivery before."""
    if not (person := me.anybody()):
        return
    body = message(me)
    is_early = body["direction"] == "outgoing" and me.chance.random() < 0.2
    if is_early:
        early = {"account_id": person.account_id, "wa_message_id": body["wa_message_id"], "status": "delivered"}
        me.client.ask("PUT", "/api/messages/status", early, {202})
    answer = me.unless_gone(person, me.post(f"/api/contacts/{person.id}/messages", body, 404))
    if not answer:
        return
    if is_early and answer.data["status"] != "delivered":
        me.client.fail(f"an early status was lost: {answer.content.decode()}")
    remember(me, person, answer)


def message(me: Caller) -> dict[str, Any]:
    """Make a message of the last hour, in whole seconds as WhatsApp tells them."""
    at = datetime.now(UTC) - timedelta(seconds=me.chance.randrange(3600))
    return {
        "wa_message_id": f"wamid.{me.name}.{next(me.numbers)}",
        "direction": me.chance.choice(["incoming", "outgoing"]),
        "type": "text",
        "content": {"body": f"{me.chance.getrandbits(64):x}"},
        "timestamp": at.isoformat(timespec="seconds"),
    }


def remember(me: Caller, person: Person, answer: Answer) -> None:
    told = answer.data
    if told["contact_id"] != person.id:
        me.ledger.contradictions.append(f"a message of {person.id} was recorded for {told['contact_id']}")
    record = Record(told["id"], told["wa_message_id"], told["status"])
    person.messages.append(record)
    if told["direction"] == "outgoing":
        me.sent.append((person, record))


def set_status(me: Caller) -> None:
    if not me.sent:
        return
    person, record = me.chance.choice(me.sent)
    status = me.chance.choice(STATUSES[1:])
    if me.chance.random() < 0.5:
        answer = me.ask_of(person, "PUT", f"/api/messages/{record.id}/status", {"status": status})
    else:
        body = {"account_id": person.account_id, "wa_message_id": record.wa_message_id, "status": status}
        answer = me.client.ask("PUT", "/api/messages/status", body, {200, 202})
        if answer.status == 202 and not person.is_leaving:
            me.client.fail(f"a status of {record.wa_message_id} was kept, though the message is recorded")
    if answer and answer.status == 200:
        record.status = max(record.status or status, status, key=STATUSES.index)


def patch_metadata(me: Caller) -> None:
    if person := me.anybody():
        value = next(me.numbers)
        if me.ask_of(person, "PATCH", "/api/contacts/{}", {"metadata": {me.name: value}}):
            person.metadata[me.name] = value


def patch_session(me: Caller) -> None:
    if person := me.anybody():
        value = next(me.numbers)
        if me.ask_of(person, "PATCH", "/api/contacts/{}/session-data", {"session_data": {me.name: value}}, 201):
            person.variables[me.name] = value


def assign(me: Caller) -> None:
    """Change what only its owner changes: who looks after a person, or the name and tags."""
    if not me.own:
        return
    person = me.chance.choice(me.own)
    if me.chance.random() < 0.5:
        user_id = str(uuid.UUID(int=me.chance.getrandbits(128)))
        me.ask_of(person, "PUT", "/api/contacts/{}/assign", {"user_id": user_id})
        person.assigned_to = user_id
    else:
        name, tags = f"N{me.chance.getrandbits(48):012x}", me.chance.sample(["vip", "new", "gold"], 2)
        me.ask_of(person, "PATCH", "/api/contacts/{}", {"name": name, "tags": tags})
        person.name, person.tags = name, tags


def delete_contact(me: Caller) -> None:
    if person := me.ledger.begin_delete(PASSING):
        answer = me.client.ask("DELETE", f"/api/contacts/{person.id}", None, {200, 404})
        if answer.status == 404 and not answer.is_repeated:
            me.client.fail(f"{person.id} was gone before it was deleted")


def read(me: Caller) -> None:
    path = me.chance.choice(["", "/messages", "/session-data", "/sessions"])
    if person := me.anybody():
        me.ask_of(person, "GET", "/api/contacts/{}" + path, None)


def list_contacts(me: Caller) -> None:
    number = f"{me.chance.randrange(1000):03}"
    me.client.get(f"/api/contacts?{me.chance.choice([f'search={number}', 'limit=50', 'tags=vip', 'sort=created'])}")
    me.client.get("/healthz")


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
