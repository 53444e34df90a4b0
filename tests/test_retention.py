"""Retention: what is old goes, and contacts show what is left."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contacts_service.contacts.tables import Contact, ContactMerge
from contacts_service.db.database import reading
from contacts_service.messages.preview import preview_of
from contacts_service.messages.tables import Message
from contacts_service.messages.use_cases import NOT_SHOWN, shown_of_messages
from contacts_service.sessions.tables import Session

NUMBERS = itertools.count(1)
TYPES = ("text", "image", "reaction", "system", "edit", "call")


def run(app: Flask, *arguments: str) -> str:
    result = app.test_cli_runner().invoke(args=["retention", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def record(caller: Caller, contact_id: str, days: int, **fields: Any) -> str:
    """Record a message that is so many days old."""
    at = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    body = {"direction": "incoming", "type": "text", "content": {"body": f"{days} days"}, "timestamp": at, **fields}
    return caller.post(f"/api/contacts/{contact_id}/messages", body).data["id"]


def bodies(caller: Caller, contact_id: str) -> list[Any]:
    return [each["content"] for each in caller.get(f"/api/contacts/{contact_id}/messages").data["items"]]


def test_old_messages_go_and_the_contact_shows_the_others(app: Flask, caller: Caller) -> None:
    old, mixed = (caller.create(f"+123456789{number}")["id"] for number in range(2))
    for contact_id, days in ((old, 300), (old, 200), (mixed, 300), (mixed, 1)):
        record(caller, contact_id, days)
    version = caller.get(f"/api/contacts/{old}").data["version"]
    assert run(app, "--messages", "180d", "--dry-run") == "3 messages and 0 sessions would be deleted.\n"
    assert len(bodies(caller, old)) == 2
    assert run(app, "--messages", "180d") == "3 messages and 0 sessions were deleted.\n"
    assert (bodies(caller, old), bodies(caller, mixed)) == ([], [{"body": "1 days"}])
    contact = caller.get(f"/api/contacts/{old}").data
    assert (contact["last_message_at"], contact["last_message_preview"], contact["last_inbound_at"]) == (None,) * 3
    assert (contact["unread_count"], contact["version"]) == (0, version + 1)
    kinds = [each["kind"] for each in caller.get(f"/api/contacts/{old}/events").data["items"]]
    assert kinds == ["created"], "no one has read them"
    contact = caller.get(f"/api/contacts/{mixed}").data
    assert (contact["unread_count"], contact["last_message_preview"]) == (1, "1 days")
    assert run(app, "--messages", "12h") == "1 messages and 0 sessions were deleted.\n"
    assert run(app, "--messages", "12h") == "0 messages and 0 sessions were deleted.\n"


def test_content_only_keeps_the_skeleton_and_a_word_for_the_type(app: Flask, caller: Caller) -> None:
    contact_id = caller.create()["id"]
    record(caller, contact_id, 200, type="image", content={"caption": "secret"}, wa_message_id="wamid.1")
    path = f"/api/contacts/{contact_id}"
    before, [message] = caller.get(path).data, caller.get(f"{path}/messages").data["items"]
    assert run(app, "--messages", "180d", "--content-only") == "1 contents of messages and 0 sessions were deleted.\n"
    assert run(app, "--messages", "180d", "--content-only") == "0 contents of messages and 0 sessions were deleted.\n"
    after = caller.get(path).data
    assert caller.get(f"{path}/messages").data["items"] == [{**message, "content": {}}]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"last_message_preview", "updated_at", "version"}
    assert after["last_message_preview"] == "Image"


def test_sessions_go_by_their_last_change(app: Flask, caller: Caller) -> None:
    contact_id = caller.create()["id"]
    for _ in range(3):
        caller.put(f"/api/contacts/{contact_id}/session-data", {"session_data": {"a": 1}})
    with reading():
        first, second, _ = Session.select().order_by(Session.pk)
        long_ago = datetime.now(UTC) - timedelta(days=91)
        Session.update(updated_at=long_ago, created_at=long_ago).where(Session.pk == first.pk).execute()
        Session.update(created_at=long_ago).where(Session.pk == second.pk).execute()
    assert run(app, "--sessions", "90d") == "0 messages and 1 sessions were deleted.\n"
    assert len(caller.get(f"/api/contacts/{contact_id}/sessions").data["items"]) == 2


@pytest.mark.parametrize("age", ["180", "0d", "-1d", "1w", "1.5d", "999999d", "", "d"])
def test_age_that_is_none_is_refused_in_a_sentence(app: Flask, age: str) -> None:
    refused = app.test_cli_runner().invoke(args=["retention", "--messages", age])
    assert refused.exit_code == 2
    assert "is no number of days or hours" in refused.stderr


def test_unread_messages_of_both_count_where_they_are_after_undo(app: Flask, caller: Caller) -> None:
    """Those of the survivor went, the source's are left; and the other way round."""
    for survivors_days, sources_days, expected in ((20, 1, (0, 1)), (1, 20, (1, 0))):
        contact_id, source_id = (caller.create(f"+1999{next(NUMBERS):09}")["id"] for _ in range(2))
        record(caller, contact_id, survivors_days)
        record(caller, source_id, sources_days)
        caller.post(f"/api/contacts/{contact_id}/merge", {"source_id": source_id})
        run(app, "--messages", "7d")
        assert caller.get(f"/api/contacts/{contact_id}").data["unread_count"] == 1
        source = caller.delete(f"/api/contacts/{contact_id}/merges/{source_id}").data
        survivor = caller.get(f"/api/contacts/{contact_id}").data
        assert (survivor["unread_count"], source["unread_count"]) == expected


messages = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 10, 20]),
        st.sampled_from(["incoming", "outgoing"]),
        st.sampled_from(TYPES),
        st.booleans(),
    ),
    max_size=6,
)


@given(own=messages, sources=messages, read_at=st.integers(0, 6), content_only=st.booleans(), is_chained=st.booleans())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_contacts_show_what_follows_from_their_messages_also_after_undo(  # noqa: PLR0913
    app: Flask, own: Any, sources: Any, read_at: int, *, content_only: bool, is_chained: bool
) -> None:
    caller = Caller(app)
    contact_id, source_id, first_id = (caller.create(f"+1999{next(NUMBERS):09}")["id"] for _ in range(3))
    for count, (owner, (days, direction, kind, history)) in enumerate(
        [*((contact_id, each) for each in own), *((source_id, each) for each in sources)]
    ):
        if count == read_at:
            caller.post(f"/api/contacts/{contact_id}/mark-read", None)
        record(caller, owner, days, direction=direction, type=kind, history=history)
    if is_chained:
        record(caller, first_id, 20)
        caller.post(f"/api/contacts/{source_id}/merge", {"source_id": first_id})
    caller.post(f"/api/contacts/{contact_id}/merge", {"source_id": source_id})
    run(app, "--messages", "7d", *(["--content-only"] if content_only else []))
    require_consistent(contact_id)
    caller.delete(f"/api/contacts/{contact_id}/merges/{source_id}")
    require_consistent(contact_id)
    require_consistent(source_id)
    if is_chained:
        caller.delete(f"/api/contacts/{source_id}/merges/{first_id}")
        require_consistent(source_id)
        require_consistent(first_id)
    for each in (contact_id, source_id, first_id):
        caller.delete(f"/api/contacts/{each}")


def require_consistent(contact_id: str) -> None:
    with reading():
        contact = Contact.get(Contact.id == contact_id)
        assert {name: getattr(contact, name) for name in shown_of_messages(contact.pk)} == shown_of_messages(contact.pk)
        kept = [*Message.select().where(Message.contact == contact.pk)]
        counted = [each for each in kept if each.direction == "incoming" and each.type not in NOT_SHOWN]
        assert 0 <= contact.unread_count <= len([each for each in counted if not each.history])
        shown = sorted(
            (each for each in kept if each.type not in NOT_SHOWN), key=lambda each: (each.timestamp, each.key)
        )
        preview = preview_of(shown[-1].type, shown[-1].content.parsed()) if shown else None
        assert contact.last_message_preview == preview
        parts = [merge.unread_count for merge in ContactMerge.select().where(ContactMerge.merged_into == contact_id)]
        assert sum(parts) <= contact.unread_count
