"""The example receiver, with notifications that are late, repeated and out of order."""

import json
import logging
import os
import subprocess
import sys
import urllib.request
from typing import Any
from urllib.error import HTTPError

import pytest
from helpers import coexistence, notifications
from helpers.caller import Caller
from helpers.receiver import Receiver, orders
from helpers.service import ROOT, Service

from contacts_service.contacts.consent import CONSENT


@pytest.fixture
def receiver(caller: Caller) -> Receiver:
    return Receiver(caller)


def without_number_forms(found: list[Any]) -> list[Any]:
    """Leave out Ana's number: WhatsApp writes it in two ways, and the first is kept."""
    return [({**summary, "phone_number": None}, messages) for summary, messages in found]


def test_messages_and_statuses_in_any_order_and_repeated_end_the_same(receiver: Receiver) -> None:
    steps = [*notifications.MESSAGES, *notifications.SENT, *notifications.STATUSES]
    in_order = without_number_forms(receiver.deliver(steps))
    for number, order in enumerate(orders(steps)):
        assert without_number_forms(receiver.deliver(order)) == in_order, number

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


def test_coexistence_in_any_order_and_repeated_ends_the_same(receiver: Receiver) -> None:
    in_order = receiver.deliver(coexistence.COEXISTENCE)
    for number, order in enumerate(orders(coexistence.COEXISTENCE)):
        assert receiver.deliver(order) == in_order, number

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


def test_newest_word_on_marketing_wins_in_any_order(receiver: Receiver) -> None:
    for number, order in enumerate(orders(notifications.PREFERENCES)):
        consent = {shown["bsuid"][:2]: [shown[name] for name in CONSENT] for shown, _ in receiver.deliver(order)}
        assert consent == {
            "BR": [False, "2024-01-01T00:46:42Z", "whatsapp"],
            "US": [True, "2024-01-01T00:46:44Z", "whatsapp"],
            "DE": [True, "2024-01-01T00:46:45Z", "whatsapp"],
        }, number


def test_call_is_one_message(receiver: Receiver) -> None:
    for order in orders(notifications.CALLS):
        [(bob, calls)] = receiver.deliver(order)
        assert [(call["direction"], call["type"], call["content"]["status"]) for call in calls] == [
            ("incoming", "call", "COMPLETED"),
            ("outgoing", "call", "FAILED"),
        ]
        assert (bob["unread_count"], bob["last_inbound_at"]) == (1, "2024-01-01T06:20:01Z")


def test_groups_are_skipped_with_a_line_in_the_log(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "webhook_receiver"):
        assert receiver.deliver(notifications.GROUPS) == []
    assert ["wamid.in0070" in caplog.text, "wamid.out0006" in caplog.text] == [True, True]


def test_typed_name_survives_every_notification(caller: Caller, receiver: Receiver) -> None:
    receiver.receive(notifications.MESSAGES[0])
    [contact] = caller.get("/api/contacts").data["items"]
    caller.put(f"/api/contacts/{contact['id']}", {"name": "Ana Souza"})
    address_book = coexistence.synced({"full_name": "Ana (cliente)", "phone_number": notifications.ANA["wa_id"]})
    for payload in [*notifications.MESSAGES, address_book]:
        receiver.receive(payload)
    after = caller.get(f"/api/contacts/{contact['id']}").data
    assert (after["name"], after["profile_name"]) == ("Ana Souza", "Ana 🌷")


def test_name_typed_at_the_same_moment_survives_the_address_book(
    caller: Caller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = receiver.call

    def call_while_somebody_types(method: str, path: str, *arguments: Any, **options: Any) -> Any:
        if method == "PATCH":
            assert caller.patch(path, {"name": "Paquito"}).status == 200
        return call(method, path, *arguments, **options)

    monkeypatch.setattr(receiver.module, "call", call_while_somebody_types)
    address_book = coexistence.synced({"full_name": "Paco Ruiz", "phone_number": "34600333444"})
    with pytest.raises(ExceptionGroup) as raised:
        receiver.receive(address_book)
    [error] = raised.value.exceptions
    assert isinstance(error, HTTPError)
    assert error.code == 412
    receiver.receive(address_book)  # Meta delivers it again.
    assert caller.names() == ["Paquito"]


def test_what_fails_is_raised_and_hides_nothing_else(caller: Caller, receiver: Receiver) -> None:
    too_large = notifications.incoming(91, notifications.BOB, "text", {"body": "x" * 70_000})
    malformed = notifications.incoming(92, notifications.BOB, "text", {"body": "?"}, timestamp="yesterday")
    together = notifications.notification()
    together["entry"] = [*too_large["entry"], *malformed["entry"], *notifications.MESSAGES[0]["entry"]]
    with pytest.raises(ExceptionGroup) as raised:
        receiver.receive(together)
    assert [type(error) for error in raised.value.exceptions] == [HTTPError, ValueError]
    assert caller.get("/api/contacts", search="ana").data["items"][0]["unread_count"] == 1, "the other is recorded"


def test_other_notifications_are_ignored(receiver: Receiver) -> None:
    assert receiver.deliver([notifications.notification("account_update", event="VERIFIED_ACCOUNT"), {}]) == []


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
