"""Statuses of messages: they only move forward, in whatever order they arrive."""

import itertools
from typing import Any

import pytest
from helpers.caller import Caller
from helpers.examples import ACCOUNT, UNKNOWN_ID
from helpers.messages import message


@pytest.fixture
def contact(caller: Caller) -> str:
    return f"/api/contacts/{caller.create(account_id=ACCOUNT)['id']}"


def outgoing(caller: Caller, contact: str, **fields: Any) -> dict[str, Any]:
    return caller.post(f"{contact}/messages", message(1, direction="outgoing", **fields)).data


def test_status_only_moves_forward(caller: Caller, contact: str) -> None:
    sent = outgoing(caller, contact)
    assert sent["status"] == "pending"
    path = f"/api/messages/{sent['id']}/status"
    delivered = caller.put(path, {"status": "delivered", "timestamp": "2024-01-01T00:01:00Z"}).data
    assert delivered == {**sent, "status": "delivered", "status_at": "2024-01-01T00:01:00Z"}
    for late in ("sent", "pending", "delivered"):
        assert caller.put(path, {"status": late, "timestamp": "2024-01-01T00:02:00Z"}).data == delivered
    assert caller.put(path, {"status": "read"}).data["status"] == "read"
    assert caller.put(path, {"status": "failed"}).data["status"] == "read"


def test_failed_message_keeps_its_error(caller: Caller, contact: str) -> None:
    sent = outgoing(caller, contact, status="sent")
    error = {"code": 131026, "title": "Message undeliverable"}
    body = {"wa_message_id": "wamid.0001", "account_id": ACCOUNT, "status": "failed", "error": error}
    failed = caller.put("/api/messages/status", body).data
    assert (failed["id"], failed["status"], failed["error"]) == (sent["id"], "failed", error)
    assert caller.put(f"/api/messages/{sent['id']}/status", {"status": "delivered"}).data == failed


def test_status_of_an_unknown_message_is_404(caller: Caller) -> None:
    response = caller.put(f"/api/messages/{UNKNOWN_ID}/status", {"status": "read"})
    assert (response.status, response.code) == (404, "message_not_found")


def test_status_that_arrives_before_its_message_is_kept(caller: Caller, contact: str) -> None:
    """WhatsApp's webhook may be faster than the sender that records its message."""
    early = {"wa_message_id": "wamid.0001", "account_id": ACCOUNT}
    for status, second in (("delivered", 5), ("sent", 4), ("delivered", 6)):
        response = caller.put(
            "/api/messages/status", {**early, "status": status, "timestamp": f"2024-01-01T00:00:0{second}Z"}
        )
        assert (response.status, response.body["data"]) == (202, None)
    caller.put("/api/messages/status", {"wa_message_id": "wamid.0001", "status": "read"})
    recorded = outgoing(caller, contact, status="sent")
    assert (recorded["status"], recorded["status_at"]) == ("delivered", "2024-01-01T00:00:05Z")


def test_statuses_in_any_order_end_the_same(caller: Caller, contact: str) -> None:
    """Every order of every set of statuses, with the message itself at every position."""
    statuses = ["sent", "delivered", "read", "failed"]
    wa_id = itertools.count()
    for size in range(1, 4):
        for chosen in itertools.combinations(statuses, size):
            ends = set()
            for order in itertools.permutations([*chosen, "message"]):
                number = f"wamid.{next(wa_id)}.{size}"
                for step in order:
                    if step == "message":
                        body = message(1, wa_message_id=number, direction="outgoing")
                        caller.post(f"{contact}/messages", body)
                    else:
                        moment = f"2024-01-01T00:00:0{statuses.index(step)}Z"
                        body = {"account_id": ACCOUNT, "wa_message_id": number, "status": step, "timestamp": moment}
                        caller.put("/api/messages/status", body)
                final = caller.post(f"{contact}/messages", message(1, wa_message_id=number)).data
                ends.add((final["status"], final["status_at"]))
            assert len(ends) == 1, (chosen, ends)
