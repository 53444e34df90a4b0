"""The example receiver when numbers and ids of people change, are hidden and are shared."""

import copy
from typing import Any

import pytest
from helpers import notifications
from helpers.caller import Caller
from helpers.receiver import Receiver, orders


@pytest.fixture
def receiver(caller: Caller) -> Receiver:
    return Receiver(caller)


def test_changed_numbers_keep_the_contact_in_any_order(receiver: Receiver) -> None:
    steps = [
        notifications.MESSAGES[4],
        notifications.NUMBER_CHANGED,
        notifications.AFTER_THE_CHANGE,
        notifications.CHANGED_AGAIN,
    ]
    for number, order in enumerate(orders(steps, count=20)):
        [(bob, history)] = receiver.deliver(order)
        assert (bob["phone_number"], bob["bsuid"]) == ("+13125550142", "US.35613420877524963130"), number
        assert (bob["unread_count"], len(history)) == (2, 4), number


def test_changed_bsuid_keeps_the_contact_in_any_order(receiver: Receiver) -> None:
    steps = [notifications.MESSAGES[8], notifications.BSUID_CHANGED, notifications.AFTER_BSUID_CHANGED]
    for number, order in enumerate(orders(steps, count=10)):
        [(kim, history)] = receiver.deliver(order)
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


def test_number_alone_is_enough_to_follow_a_change(receiver: Receiver) -> None:
    before = without_bsuids(notifications.MESSAGES[4])
    plain = [before, without_bsuids(notifications.NUMBER_CHANGED), without_bsuids(notifications.AFTER_THE_CHANGE)]
    known_by_number = [before, notifications.NUMBER_CHANGED, notifications.AFTER_THE_CHANGE]
    for steps in (plain, known_by_number):
        [(bob, history)] = receiver.deliver(steps)
        assert (bob["phone_number"], bob["unread_count"], len(history)) == ("+12195555358", 2, 3)
        assert receiver.deliver([*steps, *steps]) == [(bob, history)]


def test_next_owner_of_an_old_number_stays_somebody_else(receiver: Receiver) -> None:
    for payload in (notifications.MESSAGES[4], notifications.NUMBER_CHANGED, notifications.AFTER_THE_CHANGE):
        receiver.receive(payload)
    sue = {"wa_id": notifications.BOB["wa_id"], "user_id": "US.99999999999999999999", "profile": {"name": "Sue"}}
    receiver.receive(notifications.incoming(90, sue, "text", {"body": "I'm new"}, timestamp="1704080000"))
    receiver.receive(notifications.NUMBER_CHANGED)
    shown = {summary["profile_name"]: summary["phone_number"] for summary, _ in receiver.people()}
    assert shown == {"Bob": "+12195555358", "Sue": "+16505551234"}


def test_campaign_contact_who_writes_by_id_and_shares_the_number_is_one_contact(receiver: Receiver) -> None:
    number_only = ("wamid.out0007", {"wa_id": notifications.LEO_NUMBER})
    steps = [number_only, notifications.CAMPAIGN_STATUS, notifications.LEO_WRITES]
    [(leo, history)] = receiver.deliver(steps)
    assert (leo["bsuid"], leo["parent_bsuid"]) == (notifications.LEO["user_id"], notifications.LEO["parent_user_id"])
    assert (leo["phone_number"], leo["username"], leo["unread_count"]) == ("+33612345678", "leo", 1)
    assert [message["status"] for message in history if message["direction"] == "outgoing"] == ["delivered"]

    without_status = [number_only, notifications.LEO_WRITES, notifications.LEO_SHARES]
    for number, order in enumerate(orders(without_status, count=10)):
        [(leo, history)] = receiver.deliver(order)
        assert (leo["phone_number"], leo["bsuid"]) == ("+33612345678", notifications.LEO["user_id"]), number
        assert (leo["unread_count"], len(history)) == (2, 3), number
