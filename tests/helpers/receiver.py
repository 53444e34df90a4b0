"""Runs the example receiver against the application, and shows what callers see afterwards."""

import importlib.util
import random
from types import ModuleType
from typing import Any
from urllib.error import HTTPError

from helpers import notifications
from helpers.caller import Caller
from helpers.service import ROOT

CHANGING = {"id", "contact_id", "created_at", "updated_at", "version", "service_window_open"}
"""Fields that differ when the same things are recorded again."""


class Receiver:
    """The example as a module that calls the application in process."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.module = _load()
        self.module.call = self.call  # type: ignore[attr-defined]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, version: int | None = None) -> Any:
        headers = {"If-Match": f'"{version}"'} if version else {}
        response = self.caller.request(method, path, json=body, headers=headers)
        if response.status >= 400:
            raise HTTPError(path, response.status, response.code, response.headers, None)
        return response.body["data"]

    def receive(self, payload: dict[str, Any]) -> None:
        self.module.receive(payload)

    def send(self, wa_message_id: str, recipient: dict[str, Any]) -> None:
        """Record a message that the chatbot sent, as the chatbot does."""
        contact = {"phone_number": recipient.get("wa_id"), "bsuid": recipient.get("user_id")}
        body = {
            "account_id": self.module.account_id({"metadata": notifications.BUSINESS}),
            "contact": {name: value for name, value in contact.items() if value},
            "wa_message_id": wa_message_id,
            "direction": "outgoing",
            "type": "text",
            "content": {"body": f"reply {wa_message_id}"},
            "timestamp": f"2024-01-01T00:30:0{wa_message_id[-1]}Z",
        }
        assert self.caller.post("/api/messages", body).status in {200, 201}

    def deliver(self, steps: list[Any]) -> list[Any]:
        """Begin with no contacts, handle notifications and messages of the chatbot, and return people()."""
        for contact in self.caller.get("/api/contacts", limit=100).data["items"]:
            self.caller.delete(f"/api/contacts/{contact['id']}")
        for step in steps:
            if isinstance(step, tuple):
                self.send(*step)
            else:
                self.receive(step)
        return self.people()

    def people(self) -> list[Any]:
        """Return each contact with its messages, without fields that differ by time."""
        found = []
        for contact in self.caller.get("/api/contacts", limit=100).data["items"]:
            history = self.caller.get(f"/api/contacts/{contact['id']}/messages", limit=100).data["items"]
            found.append((_lasting(contact), [_lasting(message) for message in history]))
        return sorted(found, key=lambda person: (person[0]["bsuid"] or "", person[0]["phone_number"] or ""))


def orders(steps: list[Any], count: int = 5) -> list[list[Any]]:
    """Return the steps in order, twice, and shuffled with half of them repeated."""
    result = [steps, steps + steps]
    for seed in range(count):
        chance = random.Random(seed)
        shuffled = steps + chance.sample(steps, len(steps) // 2)
        chance.shuffle(shuffled)
        result.append(shuffled)
    return result


def _lasting(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if name not in CHANGING}


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("webhook_receiver", ROOT / "examples" / "webhook_receiver.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
