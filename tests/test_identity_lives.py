"""The life of one person as WhatsApp tells it: in any order, with repetitions and omissions."""

import itertools
from typing import Any

import uuid_utils
from helpers.caller import Caller
from helpers.identifiers import assert_identifiers_are_shown
from helpers.messages import message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contacts_service.db.database import database, reading

NUMBERS = ["+5511987654321", "+5521912345678"]
SAME_NUMBER = "+551187654321"  # In its other form.
BSUIDS = ["BR.1", "BR.2", "BR.3"]
PARENTS = ["BR.ENT.1", "BR.ENT.2"]
Event = tuple[str, dict[str, Any]]
# What happened, in its order: the kind of webhook, and what it says of the person. The bsuid changes twice, first
# alone and then with the number.
LIFE: list[Event] = [
    ("incoming", {"phone_number": NUMBERS[0]}),
    ("incoming", {"phone_number": SAME_NUMBER, "bsuid": BSUIDS[0], "profile_name": "Ana"}),
    ("outgoing", {"phone_number": NUMBERS[0]}),
    ("status", {"phone_number": NUMBERS[0], "bsuid": BSUIDS[0], "parent_bsuid": PARENTS[0]}),
    ("incoming", {"bsuid": BSUIDS[0], "username": "ana"}),
    ("history", {"phone_number": NUMBERS[0], "bsuid": BSUIDS[0]}),
    ("system", {"bsuid": BSUIDS[1], "previous_bsuid": BSUIDS[0], "parent_bsuid": PARENTS[1]}),
    ("incoming", {"bsuid": BSUIDS[1], "username": "ana.new"}),
    ("incoming", {"phone_number": NUMBERS[0], "bsuid": BSUIDS[1]}),
    ("system", {"phone_number": NUMBERS[1], "bsuid": BSUIDS[2], "previous_bsuid": BSUIDS[1]}),
    ("incoming", {"bsuid": BSUIDS[2]}),
    ("incoming", {"phone_number": NUMBERS[1], "bsuid": BSUIDS[2]}),
    ("incoming", {"phone_number": NUMBERS[1]}),
    ("outgoing", {"bsuid": BSUIDS[2], "parent_bsuid": PARENTS[1]}),
]
# What a receiver that reads everything again says in the end.
NOTICES = [
    {"phone_number": NUMBERS[0], "bsuid": BSUIDS[0], "parent_bsuid": PARENTS[0]},
    {"bsuid": BSUIDS[1], "previous_bsuid": BSUIDS[0], "parent_bsuid": PARENTS[1]},
    {"phone_number": NUMBERS[1], "bsuid": BSUIDS[2], "previous_bsuid": BSUIDS[1]},
]


def tell(caller: Caller, account: str, number: int, on_conflict: str) -> None:
    """Send the event of this number; it may have been sent before."""
    kind, person = LIFE[number]
    moment = message(number)
    about = {"account_id": account, "contact": person, "on_conflict": on_conflict}
    if kind == "status":
        sent = {"wa_message_id": message(2)["wa_message_id"], "status": "delivered", "timestamp": moment["timestamp"]}
        assert caller.put("/api/messages/status", {**sent, **about}).status in {200, 202}
        return
    of_kind: dict[str, Any] = {"history": {"history": True}, "system": {"type": "system"}}.get(kind, {})
    direction = "outgoing" if kind == "outgoing" else "incoming"
    assert caller.post("/api/messages", {**moment, **of_kind, **about, "direction": direction}).status in {200, 201}


def tell_notices(caller: Caller, account: str) -> None:
    for notice in NOTICES:
        body = {"account_id": account, "on_conflict": "merge", **notice}
        assert caller.post("/api/contacts/resolve", body).status in {200, 201}


def people(caller: Caller, account: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = caller.get("/api/contacts", account_id=account, limit=100).data["items"]
    return listed


def recorded(caller: Caller, account: str) -> list[str]:
    """The WhatsApp ids of all messages, sorted."""
    histories = [caller.get(f"/api/contacts/{contact['id']}/messages") for contact in people(caller, account)]
    return sorted(each["wa_message_id"] for history in histories for each in history.data["items"])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(st.integers(0, len(LIFE) - 1), min_size=2, max_size=20),
    on_conflict=st.sampled_from(["report", "merge"]),
)
def test_every_message_is_recorded_once_and_in_the_end_there_is_one_contact(
    caller: Caller, events: list[int], on_conflict: str
) -> None:
    account = str(uuid_utils.uuid7())
    for number in events:
        tell(caller, account, number, on_conflict)
    expected = sorted({message(number)["wa_message_id"] for number in events if LIFE[number][0] != "status"})
    assert recorded(caller, account) == expected
    tell_notices(caller, account)
    [contact] = people(caller, account)
    assert recorded(caller, account) == expected
    unread = [number for number in {*events} if LIFE[number][0] == "incoming"]
    assert contact["unread_count"] == len(unread)
    with reading():
        assert_identifiers_are_shown(database.connection())


def test_life_told_in_order_ends_with_what_was_said_last(caller: Caller) -> None:
    """However much of it is told a second time afterwards."""
    for repeated in itertools.chain([()], ([number] for number in range(len(LIFE))), [range(len(LIFE))]):
        account = str(uuid_utils.uuid7())
        for number in (*range(len(LIFE)), *repeated):
            tell(caller, account, number, "report")
        [contact] = people(caller, account)
        shown = {name: contact[name] for name in ("phone_number", "bsuid", "parent_bsuid", "username", "profile_name")}
        assert shown == {
            "phone_number": NUMBERS[1],
            "bsuid": BSUIDS[2],
            "parent_bsuid": PARENTS[1],
            "username": "ana.new",
            "profile_name": "Ana",
        }
