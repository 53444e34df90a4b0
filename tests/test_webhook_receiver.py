"""The example receiver, with notifications that are late, repeated and out of order."""

import copy
import importlib.util
import json
import os
import random
import subprocess
import sys
import urllib.request
from types import ModuleType
from typing import Any
from urllib.error import HTTPError

import pytest
from helpers import notifications
from helpers.caller import Caller
from helpers.service import ROOT, Service


@pytest.fixture
def receiver(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module that calls the application in process."""
    spec = importlib.util.spec_from_file_location("webhook_receiver", ROOT / "examples" / "webhook_receiver.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(method: str, path: str, body: dict[str, Any]) -> Any:
        response = caller.request(method, path, json=body)
        if response.status >= 400:
            raise HTTPError(path, response.status, response.code, response.headers, None)
        return response.body["data"]

    monkeypatch.setattr(module, "call", call)
    return module


def send(caller: Caller, receiver: ModuleType, wa_message_id: str, recipient: dict[str, Any]) -> None:
    """Record a message that the chatbot sent, as the chatbot does."""
    contact = {"phone_number": recipient.get("wa_id"), "bsuid": recipient["user_id"]}
    body = {
        "account_id": receiver.account_id(notifications.BUSINESS["phone_number_id"]),
        "contact": {name: value for name, value in contact.items() if value},
        "wa_message_id": wa_message_id,
        "direction": "outgoing",
        "type": "text",
        "content": {"body": f"reply {wa_message_id}"},
        "timestamp": f"2024-01-01T00:30:0{wa_message_id[-1]}Z",
    }
    assert caller.post("/api/messages", body).status in {200, 201}


def state(caller: Caller) -> list[Any]:
    """Return everything that callers see, without ids, versions and times of recording."""
    changing = {"id", "contact_id", "created_at", "updated_at", "version", "service_window_open", "phone_number"}
    people = []
    for contact in caller.get("/api/contacts", limit=100).data["items"]:
        history = caller.get(f"/api/contacts/{contact['id']}/messages", limit=100).data["items"]
        summary = {name: value for name, value in contact.items() if name not in changing}
        messages = [{name: value for name, value in message.items() if name not in changing} for message in history]
        people.append((summary, messages))
    return sorted(people, key=lambda person: person[0]["bsuid"])


def test_notifications_in_any_order_and_repeated_end_the_same(caller: Caller, receiver: ModuleType) -> None:
    def deliver(steps: list[Any]) -> list[Any]:
        for contact in caller.get("/api/contacts", limit=100).data["items"]:
            caller.delete(f"/api/contacts/{contact['id']}")
        for step in steps:
            if isinstance(step, tuple):
                send(caller, receiver, *step)
            else:
                receiver.receive(step)
        return state(caller)

    steps = [*notifications.MESSAGES, *notifications.SENT, *notifications.STATUSES]
    in_order = deliver(steps)
    assert deliver(steps + steps) == in_order
    for seed in range(5):
        chance = random.Random(seed)
        shuffled = steps + chance.sample(steps, len(steps) // 2)
        chance.shuffle(shuffled)
        assert deliver(shuffled) == in_order, seed

    assert [shown["profile_name"] for shown, _ in in_order] == ["Ana 🌷", "Kim", "Bob"]
    ana, kim, bob = in_order
    assert (ana[0]["unread_count"], kim[0]["unread_count"], bob[0]["unread_count"]) == (7, 3, 10)
    assert [message["status"] for message in bob[1] if message["direction"] == "outgoing"] == ["read", "delivered"]
    [failed] = [message for message in kim[1] if message["direction"] == "outgoing"]
    assert (failed["status"], failed["error"]["code"]) == ("failed", 131026)
    assert [message["content"]["body"] for message in bob[1] if message["timestamp"] == "2024-01-01T00:01:40Z"] == [
        "In the same second, first",
        "In the same second, second",
    ]
    assert kim[0]["username"] == "kim.hidden"
    assert len(bob[0]["last_message_preview"]) <= 100


def test_typed_name_survives_every_notification(caller: Caller, receiver: ModuleType) -> None:
    receiver.receive(notifications.MESSAGES[0])
    [contact] = caller.get("/api/contacts").data["items"]
    caller.put(f"/api/contacts/{contact['id']}", {"name": "Ana Souza"})
    for payload in notifications.MESSAGES:
        receiver.receive(payload)
    after = caller.get(f"/api/contacts/{contact['id']}").data
    assert (after["name"], after["profile_name"]) == ("Ana Souza", "Ana 🌷")


def test_changed_number_keeps_the_contact(caller: Caller, receiver: ModuleType) -> None:
    receiver.receive(notifications.MESSAGES[4])
    [bob] = caller.get("/api/contacts").data["items"]
    for payload in (notifications.NUMBER_CHANGED, notifications.AFTER_THE_CHANGE, notifications.NUMBER_CHANGED):
        receiver.receive(payload)
    [after] = caller.get("/api/contacts").data["items"]
    assert (after["id"], after["phone_number"]) == (bob["id"], "+12195555358")
    assert (after["bsuid"], after["unread_count"]) == ("US.24502319766413852029", 3)


def test_changed_bsuid_keeps_the_contact(caller: Caller, receiver: ModuleType) -> None:
    receiver.receive(notifications.MESSAGES[8])
    [kim] = caller.get("/api/contacts").data["items"]
    receiver.receive(notifications.BSUID_CHANGED)
    [after] = caller.get("/api/contacts").data["items"]
    assert (after["id"], after["bsuid"], after["phone_number"]) == (kim["id"], "DE.11111111111111111111", None)


def test_error_of_the_service_is_raised_so_that_whatsapp_retries(caller: Caller, receiver: ModuleType) -> None:
    account = receiver.account_id(notifications.BUSINESS["phone_number_id"])
    for identity in ({"phone_number": notifications.BOB["wa_id"]}, {"bsuid": notifications.BOB["user_id"]}):
        caller.post("/api/contacts/resolve", {"account_id": account, **identity})
    together = copy.deepcopy(notifications.MESSAGES[4])
    together["entry"] += notifications.MESSAGES[0]["entry"]
    with pytest.raises(HTTPError, match="identity_conflict"):
        receiver.receive(together)
    assert caller.get("/api/contacts", search="ana").data["items"][0]["unread_count"] == 1, "the other is recorded"


def test_change_to_a_known_number_loses_no_message(caller: Caller, receiver: ModuleType) -> None:
    for payload in (notifications.MESSAGES[4], notifications.AFTER_THE_CHANGE, notifications.NUMBER_CHANGED):
        without_bsuid = copy.deepcopy(payload)
        value = without_bsuid["entry"][0]["changes"][0]["value"]
        for part in (*value.get("contacts", []), *value["messages"], value["messages"][0].get("system", {})):
            for name in ("user_id", "from_user_id", "previous_user_id"):
                part.pop(name, None)
        receiver.receive(without_bsuid)
    assert sorted(contact["unread_count"] for contact in caller.get("/api/contacts").data["items"]) == [1, 2]


def test_receiver_runs_as_a_program(service: Service) -> None:
    done = subprocess.run(
        [sys.executable, "examples/webhook_receiver.py"],
        cwd=ROOT,
        env={**os.environ, "CONTACTS_URL": service.url},
        input=json.dumps(notifications.MESSAGES[0]),
        text=True,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    with urllib.request.urlopen(f"{service.url}/api/contacts", timeout=10) as response:
        [contact] = json.load(response)["data"]["items"]
    assert contact["last_message_preview"] == "Oi! Vocês entregam hoje?"
