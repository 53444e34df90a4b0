"""Makes two contacts one. See docs/decisions/merging.md.

The steps run within a transaction that has locked both contacts, in the order of their keys.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import uuid_utils
from peewee import fn

from contacts_service.contacts.consent import CONSENT, rank
from contacts_service.contacts.events import record_merge
from contacts_service.contacts.queries import delete_contact
from contacts_service.contacts.tables import (
    IDENTIFIER_KINDS,
    NO_ACCOUNT,
    Contact,
    ContactEvent,
    ContactIdentifier,
    ContactMerge,
)
from contacts_service.contacts.writes import change
from contacts_service.db.caller import actor
from contacts_service.db.database import database
from contacts_service.db.fields import JSONText
from contacts_service.db.merge_patch import bounded_document
from contacts_service.db.prepared import Row
from contacts_service.errors import InvalidRequest
from schemas.constants import MAX_TAGS

UNDO_WINDOW = timedelta(days=30)
FILLED = ("username", "name", "profile_name", "avatar_url", "assigned_to")
"""Columns that the source fills where the survivor has nothing; so it does with identifiers."""
_UNITED = ("metadata", "tags", "marketing_opt_out")
_MAX_EVENTS = 10_000  # Of the source that come back when the merge is undone, the newest.
_FORGOTTEN_EACH_TIME = 10


def merge_contacts(survivor: Row, source: Row, *, values: dict[str, Any] | None = None) -> Row:
    """End the source and give the survivor what it had. Returns the survivor including internal columns.

    ``values`` are columns of the survivor that are decided already, such as which identifiers are current. Raises
    InvalidRequest or DocumentTooLarge, before anything is written, if together they have more tags or metadata than a
    contact may have.
    """
    changes = merged_columns(survivor, source, values)
    identifiers = ContactIdentifier.select().where(ContactIdentifier.contact == source["pk"]).dicts()
    events = ContactEvent.select().where(ContactEvent.contact == source["pk"]).order_by(ContactEvent.version.desc())
    events = events.limit(_MAX_EVENTS).dicts()
    snapshot = {
        # Undoing computes the preview anew: the message that it shows may be gone by then.
        "contact": encoded(Contact, {**source, "last_message_preview": None}),
        "identifiers": [encoded(ContactIdentifier, row) for row in identifiers],
        "events": [encoded(ContactEvent, row) for row in events],
        "filled": filled_columns(survivor, source),
        "metadata": [key for key in source["metadata"].parsed() if key not in survivor["metadata"].parsed()],
        "tags": [tag for tag in source["tags"].parsed() if tag not in survivor["tags"].parsed()],
        "session_ids": _rename_sessions(source, survivor),
    }
    counts = {name: _move(key, source, survivor) for name, key in moved_keys().items()}
    _move_identifiers(source, survivor, changes)
    ContactMerge.update(survivor=survivor["pk"]).where(ContactMerge.survivor == source["pk"]).execute()
    ContactMerge.insert(
        source_id=source["id"],
        merged_into=survivor["id"],
        survivor=survivor["pk"],
        at=datetime.now(UTC),
        actor=actor.get(),
        unread_count=source["unread_count"],
        survivor_consent=encoded_consent(survivor),
        source_consent=encoded_consent(source),
        snapshot=snapshot,
        **counts,
    ).execute()
    delete_contact(source["pk"])
    # The table of identifiers is right already; the columns follow it.
    current = {kind: changes[kind] for kind in IDENTIFIER_KINDS if kind in changes}
    merged = change({**survivor, **current}, changes)
    record_merge(merged, "merged")
    return merged


def merged_columns(survivor: Row, source: Row, values: dict[str, Any] | None = None) -> Row:
    """The columns of the survivor that change. Raises InvalidRequest, DocumentTooLarge."""
    gaps = [name for name in (*FILLED, *IDENTIFIER_KINDS) if survivor[name] is None and source[name] is not None]
    changes = {name: source[name] for name in gaps}
    metadata, tags = ([contact[name].parsed() for contact in (survivor, source)] for name in ("metadata", "tags"))
    if metadata[1].keys() - metadata[0].keys():
        added = {key: value for key, value in metadata[1].items() if key not in metadata[0]}
        changes["metadata"] = bounded_document({**metadata[0], **added})
    if set(tags[1]) - set(tags[0]):
        changes["tags"] = list(dict.fromkeys([*tags[0], *tags[1]]))
        if len(changes["tags"]) > MAX_TAGS:
            raise InvalidRequest({"source_id": [f"Together the contacts have more than {MAX_TAGS} tags."]})
    if rank(source) > rank(survivor):
        changes |= {name: source[name] for name in CONSENT if source[name] != survivor[name]}
    newest, other = ((row["last_message_at"], row["last_message_key"]) for row in (source, survivor))
    if newest[0] and (other[0] is None or newest > other):
        changes |= {f"last_message_{name}": source[f"last_message_{name}"] for name in ("at", "key", "preview")}
    inbound, other_inbound = source["last_inbound_at"], survivor["last_inbound_at"]
    if inbound and (other_inbound is None or inbound > other_inbound):
        changes["last_inbound_at"] = inbound
    changes["unread_count"] = survivor["unread_count"] + source["unread_count"]
    return changes | {name: value for name, value in (values or {}).items() if value is not None}


def filled_columns(survivor: Row, source: Row) -> list[str]:
    """Names of the columns that the survivor gets or extends by what the source has, other than those of messages."""
    changes = merged_columns(survivor, source)
    return [name for name in (*IDENTIFIER_KINDS, *FILLED, *_UNITED) if name in changes]


def moved_keys() -> dict[str, Any]:
    """The foreign keys of rows that move with their contact, by the column that counts them in ContactMerge."""
    keys = [key for key, model in Contact._meta.backrefs.items() if hasattr(model, "merged_from")]  # noqa: SLF001 - Peewee's documented place.
    return {f"{key.model._meta.table_name}s": key for key in keys}  # noqa: SLF001 - The same.


def count_rows(contact_pk: int) -> dict[str, int]:
    """How many messages and sessions a contact has."""
    return {name: key.model.select().where(key == contact_pk).count() for name, key in moved_keys().items()}


def _move(key: Any, source: Row, survivor: Row) -> int:
    merged_from = key.model.merged_from
    moved = {key: survivor["pk"], merged_from: fn.COALESCE(merged_from, source["id"])}
    count: int = key.model.update(moved).where(key == source["pk"]).execute()
    return count


def _rename_sessions(source: Row, survivor: Row) -> dict[str, str]:
    """Give sessions of the source whose id the survivor has too another one. Returns the old ids by the new."""
    key = moved_keys()["sessions"]
    sessions, others = key.model, key.model.alias()
    survivors_ids = others.select(others.id).where(others.contact == survivor["pk"])
    clashing = sessions.select(sessions.id).where(key == source["pk"], sessions.id.in_(survivors_ids)).tuples()
    renamed = {str(uuid_utils.uuid7()): old for (old,) in clashing}
    for new, old in renamed.items():
        sessions.update(id=new).where(key == source["pk"], sessions.id == old).execute()
    return renamed


def _move_identifiers(source: Row, survivor: Row, changes: Row) -> None:
    """Make the identifiers of the source the survivor's: former ones, but for those among the changes."""
    of_source = ContactIdentifier.contact == source["pk"]
    ContactIdentifier.update(contact=survivor["pk"], current=False).where(of_source).execute()
    in_account = ContactIdentifier.account == (survivor["account_id"] or NO_ACCOUNT)
    for kind in IDENTIFIER_KINDS:
        if kind in changes and changes[kind] != survivor[kind]:
            rows = ContactIdentifier.update(current=True).where(in_account, ContactIdentifier.kind == kind)
            rows.where(ContactIdentifier.value == changes[kind]).execute()
            rows = ContactIdentifier.update(current=False, replaced_in=source["id"]).where(in_account)
            rows.where(ContactIdentifier.kind == kind, ContactIdentifier.value == survivor[kind]).execute()


def encoded(model: Any, row: Row) -> Row:
    """Write a row as JSON can hold it; ``decoded`` reads it."""
    values = {name: model._meta.combined[name].db_value(value) for name, value in row.items()}  # noqa: SLF001 - The same.
    return {name: str(value) if isinstance(value, JSONText) else value for name, value in values.items()}


def decoded(model: Any, row: Row) -> Row:
    return {name: model._meta.combined[name].python_value(value) for name, value in row.items()}  # noqa: SLF001 - The same.


def encoded_consent(contact: Row) -> str:
    return JSONText.of(encoded(Contact, {name: contact[name] for name in CONSENT}))


def forget_old_snapshots() -> None:
    """Delete some snapshots of merges that can't be undone any more, the oldest first. The last step of a use case.

    More than one go for each that is added, so that they need no job of their own.
    """
    old = ContactMerge.snapshot.is_null(is_null=False) & (ContactMerge.at < datetime.now(UTC) - UNDO_WINDOW)
    oldest = ContactMerge.select(ContactMerge.source_id).where(old).order_by(ContactMerge.at)
    oldest = database.unlocked(oldest.limit(_FORGOTTEN_EACH_TIME))
    forgotten = ContactMerge.source_id.in_(oldest.select(oldest.c.source_id))
    ContactMerge.update(snapshot=None).with_cte(oldest).where(forgotten).execute()
