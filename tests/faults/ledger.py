"""The writes that were acknowledged to callers, to be compared with what is stored."""

import itertools
import threading
from dataclasses import dataclass, field

STATUSES = ("pending", "sent", "delivered", "failed", "read")
"""As docs/fields.md orders them."""
ACCOUNTS = (None, "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a10", "5d1a3c77-9f0e-4a6b-8a55-0e1f4f6a2b90")


@dataclass
class Record:
    """An acknowledged message."""

    id: str
    wa_message_id: str
    status: str | None
    """The highest acknowledged status."""


@dataclass
class Person:
    """An acknowledged contact with its acknowledged values. Each value has one writer, which knows the last one."""

    id: str
    phone_number: str
    account_id: str | None
    name: str | None = None
    assigned_to: str | None = None
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, int] = field(default_factory=dict)
    variables: dict[str, int] = field(default_factory=dict)
    messages: list[Record] = field(default_factory=list)
    is_leaving: bool = False
    """A caller has started to delete it, so that others may get a 404."""


class Ledger:
    """The people that all callers share."""

    def __init__(self) -> None:
        self.staying: list[Person] = []
        self.passing: list[Person] = []
        """People who may be deleted; no one writes to them by number, which would create them again."""
        self.left: list[Person] = []
        self.contradictions: list[str] = []
        """Pairs of responses that contradict each other."""
        self._by_number: dict[str, Person] = {}
        self._numbers = itertools.count(1)
        self._newest_stranger = 0
        self._lock = threading.Lock()

    def new_number(self) -> str:
        """Make an unused phone number. All have the same length, so that none is part of another."""
        return f"+4917{next(self._numbers):09}"

    def stranger(self, *, is_new: bool) -> tuple[str, str | None]:
        """Choose a number and its account for a first message: a new one, or the latest, which others use too."""
        with self._lock:
            if is_new or not self._newest_stranger:
                self._newest_stranger = next(self._numbers)
            number = self._newest_stranger
        return f"+4917{number:09}", ACCOUNTS[number % len(ACCOUNTS)]

    def add_created(self, person: Person, *, may_leave: bool) -> None:
        with self._lock:
            if may_leave:
                self.passing.append(person)
            else:
                self._by_number[person.phone_number] = person
                self.staying.append(person)

    def add_recorded(self, contact_id: str, phone_number: str, account_id: str | None) -> Person:
        """Return the person of a recorded message; every caller has to get the same id."""
        with self._lock:
            person = self._by_number.get(phone_number)
            if person is None:
                person = self._by_number[phone_number] = Person(contact_id, phone_number, account_id)
                self.staying.append(person)
        if person.id != contact_id:
            self.contradictions.append(f"{phone_number} is contact {person.id} and contact {contact_id}")
        return person

    def begin_delete(self, at_least: int) -> Person | None:
        """Take a person who may be deleted, if more than so many exist; no other caller deletes it."""
        with self._lock:
            if len(self.passing) <= at_least:
                return None
            person = self.passing.pop(0)
            person.is_leaving = True
            self.left.append(person)
            return person
