"""Use case of retention: old messages and sessions go, and contacts show what is left.

It works in short transactions, after each of which everything is consistent. So it may be interrupted and repeated.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from peewee import fn

from contacts_service.contacts.erasure import rewrite_search_index
from contacts_service.contacts.queries import lock_contact, update_contact
from contacts_service.contacts.tables import Contact, ContactCount, ContactEvent, ContactMerge
from contacts_service.db.database import reading, writing
from contacts_service.db.fields import JSONText
from contacts_service.db.prepared import Row, prepared
from contacts_service.merges.undo import leads_to
from contacts_service.messages.tables import HISTORY_ORDER, Message
from contacts_service.messages.use_cases import NOT_SHOWN, shown_of_messages
from contacts_service.sessions.tables import Session

_CONTACTS = 1000  # In a page.
_ROWS = 100  # Of one contact, at once.
_MAX_SECONDS = 0.02  # Of a transaction, before it begins with other rows.
_PAUSE = 0.03  # Other processes that wait for SQLite's write lock look for it every 25 ms.
_HAS_CONTENT = Message.content.cast("TEXT") != "{}"
_COUNTED = (Message.direction == "incoming") & Message.type.not_in(sorted(NOT_SHOWN)) & ~Message.history


class Retention(NamedTuple):
    """What goes: messages written and sessions changed before these times, None for none."""

    messages: datetime | None
    sessions: datetime | None
    content_only: bool
    """Whether messages stay, without their content."""


class Progress(NamedTuple):
    contacts: int
    messages: int
    sessions: int


def apply_retention(retention: Retention, *, dry_run: bool) -> Iterator[Progress]:
    """Walk through all contacts, or only count with ``dry_run``. Yields what was done since the last time."""
    last = 0
    while True:
        with reading():
            page = Contact.select(Contact.pk, Contact.id).where(Contact.pk > last).order_by(Contact.pk)
            ids = dict(page.limit(_CONTACTS).tuples())
            has_content = _HAS_CONTENT if retention.content_only else True
            messages = _count_old(Message.timestamp, retention.messages, [*ids], has_content)
            sessions = _count_old(Session.updated_at, retention.sessions, [*ids], True)
        if not ids:
            return
        if dry_run:
            yield Progress(len(ids), sum(messages.values()), sum(sessions.values()))
        else:
            left = [ids[pk] for pk in sorted(messages.keys() | sessions.keys())]
            while left:
                yield _apply_batch(retention, left)
                time.sleep(_PAUSE)
            yield Progress(len(ids), 0, 0)
        last = max(ids)


def erase_files() -> Iterator[float]:
    """Erase what was deleted from SQLite's files and search index. Yields the share that is done."""
    for share in rewrite_search_index():
        yield share
        time.sleep(_PAUSE)


@reading()
def count_contacts() -> int:
    return int(ContactCount.select(fn.COALESCE(fn.SUM(ContactCount.contacts), 0)).scalar())


def _count_old(column: Any, before: datetime | None, contacts: list[int], condition: Any) -> dict[int, int]:
    if before is None:
        return {}
    model = column.model
    counts = model.select(model.contact, fn.COUNT(model.pk)).where(model.contact.in_(contacts), column < before)
    return dict(counts.where(condition).group_by(model.contact).tuples())


@writing()
def _apply_batch(retention: Retention, contact_ids: list[str]) -> Progress:
    """Work on the first of these contacts, in the order of their keys, and take those off that are done."""
    began = time.monotonic()
    messages = sessions = 0
    while contact_ids and time.monotonic() - began < _MAX_SECONDS:
        contact = lock_contact(contact_ids[0], None)
        counts = _apply(retention, contact) if contact else (0, 0)
        messages, sessions = messages + counts[0], sessions + counts[1]
        if max(counts) < _ROWS:
            contact_ids.pop(0)
    return Progress(0, messages, sessions)


def _apply(retention: Retention, contact: Row) -> tuple[int, int]:
    """Delete the oldest messages and sessions of a contact that is locked. Returns how many."""
    messages: list[Row] = []
    sessions = _delete_sessions(contact["pk"], retention.sessions) if retention.sessions else []
    if retention.messages:
        go = _empty_messages if retention.content_only else _delete_messages
        messages = go(contact["pk"], retention.messages)
        _show_what_is_left(contact, retention)
    return len(messages), len(sessions)


@prepared
def _delete_sessions(contact_pk: Any, before: Any) -> Any:
    is_old = Session.updated_at < before.of(Session.updated_at)
    old = Session.select(Session.pk).where(Session.contact == contact_pk, is_old)
    return Session.delete().where(Session.pk.in_(old.limit(_ROWS))).returning(Session.pk)


@prepared
def _delete_messages(contact_pk: Any, before: Any) -> Any:
    return Message.delete().where(_oldest(contact_pk, before, True)).returning(Message.pk)


@prepared
def _empty_messages(contact_pk: Any, before: Any) -> Any:
    emptied = Message.update(content=JSONText("{}"))
    return emptied.where(_oldest(contact_pk, before, _HAS_CONTENT)).returning(Message.pk)


def _oldest(contact_pk: Any, before: Any, condition: Any) -> Any:
    is_old = Message.timestamp < before.of(Message.timestamp)
    old = Message.select(Message.pk).where(Message.contact == contact_pk, is_old, condition)
    return Message.pk.in_(old.order_by(*HISTORY_ORDER).limit(_ROWS))


def _show_what_is_left(contact: Row, retention: Retention) -> None:
    times = [at for name in ("last_message_at", "last_inbound_at") if (at := contact[name])]
    shown: Row = {}
    if times and min(times) < retention.messages:  # Newer ones are still there.
        shown = shown_of_messages(contact["pk"])
    if contact["unread_count"] and not retention.content_only:
        shown["unread_count"] = _count_unread(contact)
    changes = {name: value for name, value in shown.items() if value != contact[name]}
    if changes:
        changed = update_contact(contact["id"], None, None, changes, datetime.now(UTC))
        if "unread_count" in changes:  # No one has read them, as the event would say.
            _delete_event(contact["pk"], changed["version"])


def _count_unread(contact: Row) -> int:
    """How many messages are unread at most: of the contact's own, and of each contact that was merged into it.

    The parts of the latter change too, as undoing a merge takes them away again.
    """
    merges = _list_merges(contact["pk"])
    if not any(merge["unread_count"] for merge in merges):
        return len(_find_incoming(contact["pk"], contact["unread_count"]))
    merged_into = {merge["source_id"]: merge["merged_into"] for merge in merges}
    by_source = Message.select(Message.merged_from, fn.COUNT(Message.pk)).group_by(Message.merged_from)
    left = dict(by_source.where(Message.contact == contact["pk"], _COUNTED).tuples())
    own, own_left, unread = contact["unread_count"], sum(left.values()), 0
    for merge in merges:
        came = sum(left[each] for each in left if each and leads_to(each, merge["source_id"], merged_into))
        part = min(merge["unread_count"], came)
        ContactMerge.update(unread_count=part).where(ContactMerge.source_id == merge["source_id"]).execute()
        if merge["merged_into"] == contact["id"]:
            own, own_left, unread = own - merge["unread_count"], own_left - came, unread + part
    return unread + min(own, own_left)


@prepared
def _delete_event(contact_pk: Any, version: Any) -> Any:
    return ContactEvent.delete().where(ContactEvent.contact == contact_pk, ContactEvent.version == version)


@prepared
def _list_merges(contact_pk: Any) -> Any:
    columns = (ContactMerge.source_id, ContactMerge.merged_into, ContactMerge.unread_count)
    return ContactMerge.select(*columns).where(ContactMerge.survivor == contact_pk)


@prepared
def _find_incoming(contact_pk: Any, limit: Any) -> Any:
    """Read the newest incoming messages that count as unread until someone reads them."""
    newest_first = (column.desc() for column in HISTORY_ORDER)
    incoming = Message.select(Message.pk).where(Message.contact == contact_pk, _COUNTED)
    return incoming.order_by(*newest_first).limit(limit)
