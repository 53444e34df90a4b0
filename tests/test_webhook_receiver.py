"""The example receiver, with notifications that are late, repeated and out of order."""

import copy
import importlib.util
import json
import logging
import os
import random
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.error import HTTPError

import pytest
from helpers import coexistence, notifications
from helpers.caller import Caller
from helpers.service import ROOT, Service

CHANGING = {"id", "contact_id", "created_at", "updated_at", "version", "service_window_open"}
"""Fields that differ when the same things are recorded again."""


@pytest.fixture
def receiver(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module that calls the application in process."""
    spec = importlib.util.spec_from_file_location("webhook_receiver", ROOT / "examples" / "webhook_receiver.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(method: str, path: str, body: dict[str, Any] | None = None, version: int | None = None) -> Any:
        headers = {"If-Match": f'"{version}"'} if version else {}
        response = caller.request(method, path, json=body, headers=headers)
        if response.status >= 400:
            raise HTTPError(path, response.status, response.code, response.headers, None)
        return response.body["data"]

    monkeypatch.setattr(module, "call", call)
    return module


def send(caller: Caller, receiver: ModuleType, wa_message_id: str, recipient: dict[str, Any]) -> None:
    """Record a message that the chatbot sent, as the chatbot does."""
    contact = {"phone_number": recipient.get("wa_id"), "bsuid": recipient.get("user_id")}
    body = {
        "account_id": receiver.account_id({"metadata": notifications.BUSINESS}),
        "contact": {name: value for name, value in contact.items() if value},
        "wa_message_id": wa_message_id,
        "direction": "outgoing",
        "type": "text",
        "content": {"body": f"reply {wa_message_id}"},
        "timestamp": f"2024-01-01T00:30:0{wa_message_id[-1]}Z",
    }
    assert caller.post("/api/messages", body).status in {200, 201}


def people(caller: Caller) -> list[Any]:
    """Return everything that callers see of contacts and messages, but for fields that differ by time."""
    found = []
    for contact in caller.get("/api/contacts", limit=100).data["items"]:
        history = caller.get(f"/api/contacts/{contact['id']}/messages", limit=100).data["items"]
        summary = {name: value for name, value in contact.items() if name not in CHANGING}
        messages = [{name: value for name, value in message.items() if name not in CHANGING} for message in history]
        found.append((summary, messages))
    return sorted(found, key=lambda person: (person[0]["bsuid"] or "", person[0]["phone_number"] or ""))


Deliver = Callable[[list[Any]], list[Any]]


@pytest.fixture
def deliver(caller: Caller, receiver: ModuleType) -> Deliver:
    """Begin with no contacts, handle notifications and messages of the chatbot, and return what callers see then."""

    def run(steps: list[Any]) -> list[Any]:
        for contact in caller.get("/api/contacts", limit=100).data["items"]:
            caller.delete(f"/api/contacts/{contact['id']}")
        for step in steps:
            if isinstance(step, tuple):
                send(caller, receiver, *step)
            else:
                receiver.receive(step)
        return people(caller)

    return run


def orders(steps: list[Any], count: int = 5) -> list[list[Any]]:
    """Return the steps twice in a row, and shuffled with half of them repeated."""
    result = [steps + steps]
    for seed in range(count):
        chance = random.Random(seed)
        shuffled = steps + chance.sample(steps, len(steps) // 2)
        chance.shuffle(shuffled)
        result.append(shuffled)
    return result


def without_number_forms(found: list[Any]) -> list[Any]:
    """Leave out Ana's number: WhatsApp writes it in two ways, and the first is kept."""
    return [({**summary, "phone_number": None}, messages) for summary, messages in found]


def test_messages_and_statuses_in_any_order_and_repeated_end_the_same(deliver: Deliver) -> None:
    steps = [*notifications.MESSAGES, *notifications.SENT, *notifications.STATUSES]
    in_order = without_number_forms(deliver(steps))
    for number, order in enumerate(orders(steps)):
        assert without_number_forms(deliver(order)) == in_order, number

    assert [shown["profile_name"] for shown, _ in in_order] == ["Ana 🌷", "Kim", "Bob"]
    ana, kim, bob = in_order
    assert (ana[0]["unread_count"], kim[0]["unread_count"], bob[0]["unread_count"]) == (7, 3, 9)
    assert [message["status"] for message in bob[1] if message["direction"] == "outgoing"] == ["read", "delivered"]
    [failed] = [message for message in kim[1] if message["direction"] == "outgoing"]
    assert (failed["status"], failed["error"]["code"]) == ("failed", 131026)
    assert [message["content"]["body"] for message in bob[1] if message["timestamp"] == "2024-01-01T00:01:40Z"] == [
        "In the same second, first",
        "In the same second, second",
    ]
    assert kim[0]["username"] == "kim.hidden"
    assert len(bob[0]["last_message_preview"]) <= 100


def test_coexistence_in_any_order_and_repeated_ends_the_same(deliver: Deliver) -> None:
    in_order = deliver(coexistence.COEXISTENCE)
    for number, order in enumerate(orders(coexistence.COEXISTENCE)):
        assert deliver(order) == in_order, number

    (paco, nothing), (eva, history) = in_order
    assert (paco["name"], paco["phone_number"], nothing) == ("Paco Ruiz", "+34600333444", [])
    assert (eva["name"], eva["profile_name"], eva["username"]) == ("Eva Martín", "Eva", "eva.m")
    assert (eva["phone_number"], eva["bsuid"]) == ("+34600111222", "ES.77120934857610293847")
    assert eva["unread_count"] == 1, "what was handed over was read, an edit and a revoke are no messages to read"
    assert eva["last_message_preview"] == "La carta"
    assert eva["last_inbound_at"] == "2024-01-01T03:33:21Z"
    shown = [(message["wa_message_id"][6:], message["direction"][:3], message["type"]) for message in history]
    assert shown == [
        ("old0001", "inc", "text"),
        ("old0002", "out", "text"),
        ("old0003", "out", "unsupported"),
        ("old0003/media", "out", "edit"),
        ("old0004", "inc", "unsupported"),
        ("old0004/media", "inc", "edit"),
        ("old0005", "out", "text"),
        ("in0060", "inc", "text"),
        ("in0061", "inc", "edit"),
        ("in0062", "inc", "revoke"),
        ("app0001", "out", "text"),
        ("app0002", "out", "image"),
        ("app0003", "out", "edit"),
        ("app0004", "out", "revoke"),
    ]
    statuses = {message["wa_message_id"][6:]: message["status"] for message in history if message["status"]}
    assert statuses["old0002"] == statuses["old0003"] == "read"
    assert (statuses["old0005"], statuses["app0001"], statuses["app0002"]) == ("failed", "delivered", "sent")
    assert history[5]["content"]["original_message_id"] == "wamid.old0004"
    assert history[5]["content"]["message"]["image"]["caption"] == "Mi pedido"


def test_newest_word_on_marketing_wins_in_any_order(deliver: Deliver) -> None:
    for number, order in enumerate([notifications.PREFERENCES, *orders(notifications.PREFERENCES)]):
        opted_out = {shown["bsuid"][:2]: shown["marketing_opt_out"] for shown, _ in deliver(order)}
        assert opted_out == {"BR": False, "US": True, "DE": True}, number


def test_call_is_one_message(deliver: Deliver) -> None:
    for order in (notifications.CALLS, *orders(notifications.CALLS)):
        [(bob, calls)] = deliver(order)
        assert [(call["direction"], call["type"], call["content"]["status"]) for call in calls] == [
            ("incoming", "call", "COMPLETED"),
            ("outgoing", "call", "FAILED"),
        ]
        assert (bob["unread_count"], bob["last_inbound_at"]) == (1, "2024-01-01T06:20:01Z")


def test_groups_are_skipped_with_a_line_in_the_log(deliver: Deliver, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "webhook_receiver"):
        assert deliver(notifications.GROUPS) == []
    assert ["wamid.in0070" in caplog.text, "wamid.out0006" in caplog.text] == [True, True]


def test_typed_name_survives_every_notification(caller: Caller, receiver: ModuleType) -> None:
    receiver.receive(notifications.MESSAGES[0])
    [contact] = caller.get("/api/contacts").data["items"]
    caller.put(f"/api/contacts/{contact['id']}", {"name": "Ana Souza"})
    address_book = coexistence.synced({"full_name": "Ana (cliente)", "phone_number": notifications.ANA["wa_id"]})
    for payload in [*notifications.MESSAGES, address_book]:
        receiver.receive(payload)
    after = caller.get(f"/api/contacts/{contact['id']}").data
    assert (after["name"], after["profile_name"]) == ("Ana Souza", "Ana 🌷")


def test_name_typed_at_the_same_moment_survives_the_address_book(
    caller: Caller, receiver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = receiver.call

    def call_while_somebody_types(method: str, path: str, *arguments: Any, **options: Any) -> Any:
        if method == "PATCH":
            assert caller.patch(path, {"name": "Paquito"}).status == 200
        return call(method, path, *arguments, **options)

    monkeypatch.setattr(receiver, "call", call_while_somebody_types)
    address_book = coexistence.synced({"full_name": "Paco Ruiz", "phone_number": "34600333444"})
    with pytest.raises(ExceptionGroup) as raised:
        receiver.receive(address_book)
    [error] = raised.value.exceptions
    assert isinstance(error, HTTPError)
    assert error.code == 412
    receiver.receive(address_book)  # Meta delivers it again.
    assert caller.names() == ["Paquito"]


def test_changed_numbers_keep_the_contact_in_any_order(deliver: Deliver) -> None:
    steps = [
        notifications.MESSAGES[4],
        notifications.NUMBER_CHANGED,
        notifications.AFTER_THE_CHANGE,
        notifications.CHANGED_AGAIN,
    ]
    for number, order in enumerate([steps, *orders(steps, count=20)]):
        [(bob, history)] = deliver(order)
        assert (bob["phone_number"], bob["bsuid"]) == ("+13125550142", "US.35613420877524963130"), number
        assert (bob["unread_count"], len(history)) == (2, 4), number


def test_changed_bsuid_keeps_the_contact_in_any_order(deliver: Deliver) -> None:
    steps = [notifications.MESSAGES[8], notifications.BSUID_CHANGED, notifications.AFTER_BSUID_CHANGED]
    for number, order in enumerate([steps, *orders(steps, count=10)]):
        [(kim, history)] = deliver(order)
        assert (kim["bsuid"], kim["parent_bsuid"]) == ("DE.11111111111111111111", "DE.ENT.22222222222222222222"), number
        assert (kim["phone_number"], kim["unread_count"], len(history)) == (None, 2, 3), number


def without_bsuids(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the notification as it was before April 2026."""
    result = copy.deepcopy(payload)
    value = result["entry"][0]["changes"][0]["value"]
    for part in (*value.get("contacts", []), *value["messages"], value["messages"][0].get("system", {})):
        for name in ("user_id", "from_user_id", "previous_user_id"):
            part.pop(name, None)
    return result


def test_number_alone_is_enough_to_follow_a_change(deliver: Deliver) -> None:
    before = without_bsuids(notifications.MESSAGES[4])
    plain = [before, without_bsuids(notifications.NUMBER_CHANGED), without_bsuids(notifications.AFTER_THE_CHANGE)]
    known_by_number = [before, notifications.NUMBER_CHANGED, notifications.AFTER_THE_CHANGE]
    for steps in (plain, known_by_number):
        [(bob, history)] = deliver(steps)
        assert (bob["phone_number"], bob["unread_count"], len(history)) == ("+12195555358", 2, 3)
        assert deliver([*steps, *steps]) == [(bob, history)]


def test_next_owner_of_an_old_number_stays_somebody_else(caller: Caller, receiver: ModuleType) -> None:
    for payload in (notifications.MESSAGES[4], notifications.NUMBER_CHANGED, notifications.AFTER_THE_CHANGE):
        receiver.receive(payload)
    sue = {"wa_id": notifications.BOB["wa_id"], "user_id": "US.99999999999999999999", "profile": {"name": "Sue"}}
    receiver.receive(notifications.incoming(90, sue, "text", {"body": "I'm new"}, timestamp="1704080000"))
    receiver.receive(notifications.NUMBER_CHANGED)
    shown = {summary["profile_name"]: summary["phone_number"] for summary, _ in people(caller)}
    assert shown == {"Bob": "+12195555358", "Sue": "+16505551234"}


def test_campaign_contact_who_writes_by_id_and_shares_the_number_is_one_contact(deliver: Deliver) -> None:
    number_only = ("wamid.out0007", {"wa_id": notifications.LEO_NUMBER})
    steps = [number_only, notifications.CAMPAIGN_STATUS, notifications.LEO_WRITES]
    [(leo, history)] = deliver(steps)
    assert (leo["bsuid"], leo["parent_bsuid"]) == (notifications.LEO["user_id"], notifications.LEO["parent_user_id"])
    assert (leo["phone_number"], leo["username"], leo["unread_count"]) == ("+33612345678", "leo", 1)
    assert [message["status"] for message in history if message["direction"] == "outgoing"] == ["delivered"]

    without_status = [number_only, notifications.LEO_WRITES, notifications.LEO_SHARES]
    for number, order in enumerate([without_status, *orders(without_status, count=10)]):
        [(leo, history)] = deliver(order)
        assert (leo["phone_number"], leo["bsuid"]) == ("+33612345678", notifications.LEO["user_id"]), number
        assert (leo["unread_count"], len(history)) == (2, 3), number


def test_what_fails_is_raised_and_hides_nothing_else(caller: Caller, receiver: ModuleType) -> None:
    too_large = notifications.incoming(91, notifications.BOB, "text", {"body": "x" * 70_000})
    malformed = notifications.incoming(92, notifications.BOB, "text", {"body": "?"}, timestamp="yesterday")
    together = notifications.notification()
    together["entry"] = [*too_large["entry"], *malformed["entry"], *notifications.MESSAGES[0]["entry"]]
    with pytest.raises(ExceptionGroup) as raised:
        receiver.receive(together)
    assert [type(error) for error in raised.value.exceptions] == [HTTPError, ValueError]
    assert caller.get("/api/contacts", search="ana").data["items"][0]["unread_count"] == 1, "the other is recorded"


def test_other_notifications_are_ignored(deliver: Deliver) -> None:
    assert deliver([notifications.notification("account_update", event="VERIFIED_ACCOUNT"), {}]) == []


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
