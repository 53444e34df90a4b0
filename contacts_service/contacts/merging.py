"""Makes two contacts one. See docs/decisions/merging.md.

The steps run within a transaction that has locked both contacts, in the order of their keys.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import uuid_utils
from peewee import fn

from contacts_service.contacts.tables import (
    IDENTIFIER_KINDS,
    NO_ACCOUNT,
    Contact,
    ContactDuplicate,
    ContactIdentifier,
    ContactMerge,
)
from contacts_service.contacts.writes import change
from contacts_service.db.database import database
from contacts_service.db.merge_patch import bounded_document
from contacts_service.db.prepared import Row
from contacts_service.errors import InvalidRequest

UNDO_WINDOW = timedelta(days=30)
FILLED = ("username", "name", "profile_name", "avatar_url", "assigned_to")
"""Columns that the source fills where the survivor has nothing; so it does with identifiers."""
_UNITED = ("metadata", "tags", "marketing_opt_out")
_LAST_MESSAGE = ("last_message_at", "last_message_key", "last_message_preview")
_MAX_TAGS = 50
_FORGOTTEN_EACH_TIME = 10


def merge_contacts(
    survivor: Row, source: Row, *, values: dict[str, Any] | None = None, actor: str | None = None
) -> Row:
    """End the source and give the survivor what it had. Returns the survivor including internal columns.

    ``values`` are columns of the survivor that are decided already, such as which identifiers are current; ``actor`` is
    the name of the caller's key. Raises InvalidRequest or DocumentTooLarge, before anything is written, if together
    they have more tags or metadata than a contact may have.
    """
    changes = merged_columns(survivor, source, values)
    snapshot: Row = {
        "contact": encoded(Contact, source),
        "identifiers": _rows_of(ContactIdentifier, ContactIdentifier.contact == source["pk"]),
        "duplicates": _duplicates_of(source["pk"]),
        "filled": filled_columns(survivor, source),
        "metadata": [key for key in source["metadata"].parsed() if key not in survivor["metadata"].parsed()],
        "tags": [tag for tag in source["tags"].parsed() if tag not in survivor["tags"].parsed()],
        "session_ids": {},
    }
    counts = {}
    for name, key in moved_keys().items():
        counts[name], renamed = _move(key, source, survivor)
        snapshot["session_ids"] |= renamed
    _move_identifiers(source, survivor, changes)
    ContactMerge.update(survivor=survivor["pk"]).where(ContactMerge.survivor == source["pk"]).execute()
    ContactMerge.insert(
        source_id=source["id"],
        merged_into=survivor["id"],
        survivor=survivor["pk"],
        at=datetime.now(UTC),
        actor=actor,
        unread_count=source["unread_count"],
        snapshot=snapshot,
        **counts,
    ).execute()
    _end(source)
    identifiers = {kind: changes[kind] for kind in IDENTIFIER_KINDS if kind in changes}  # Their own table has them.
    return change({**survivor, **identifiers}, changes)


def merged_columns(survivor: Row, source: Row, values: dict[str, Any] | None = None) -> Row:
    """The columns of the survivor that change. Raises InvalidRequest, DocumentTooLarge."""
    gaps = [name for name in (*FILLED, *IDENTIFIER_KINDS) if survivor[name] is None and source[name] is not None]
    changes = {name: source[name] for name in gaps}
    metadata, theirs = (contact["metadata"].parsed() for contact in (survivor, source))
    if theirs.keys() - metadata.keys():
        changes["metadata"] = bounded_document({**metadata, **{k: v for k, v in theirs.items() if k not in metadata}})
    tags, theirs = (contact["tags"].parsed() for contact in (survivor, source))
    if set(theirs) - set(tags):
        changes["tags"] = list(dict.fromkeys([*tags, *theirs]))
        if len(changes["tags"]) > _MAX_TAGS:
            raise InvalidRequest({"source_id": [f"Together the contacts have more than {_MAX_TAGS} tags."]})
    if source["marketing_opt_out"] and not survivor["marketing_opt_out"]:
        changes["marketing_opt_out"] = True
    if _is_newer(source, survivor):
        changes |= {name: source[name] for name in _LAST_MESSAGE}
    if inbound := [at for contact in (survivor, source) if (at := contact["last_inbound_at"])]:
        changes["last_inbound_at"] = max(inbound)
    changes["unread_count"] = survivor["unread_count"] + source["unread_count"]
    decided = {name: value for name, value in (values or {}).items() if value is not None}
    return {**changes, **decided}


def forget_old_snapshots() -> None:
    """Delete some snapshots of merges that can't be undone any more, the oldest first. The last step of a use case.

    More than one are deleted for each that is added, so that they go without a job of their own.
    """
    old = ContactMerge.snapshot.is_null(is_null=False) & (ContactMerge.at < datetime.now(UTC) - UNDO_WINDOW)
    oldest = (
        ContactMerge.select(ContactMerge.source_id).where(old).order_by(ContactMerge.at).limit(_FORGOTTEN_EACH_TIME)
    )
    forgotten = ContactMerge.source_id.in_(database.locked(oldest, skip_locked=True))
    ContactMerge.update(snapshot=None).where(forgotten).execute()


def _is_newer(source: Row, survivor: Row) -> bool:
    newest, other = ((row["last_message_at"], row["last_message_key"]) for row in (source, survivor))
    return newest[0] is not None and (other[0] is None or newest > other)


def filled_columns(survivor: Row, source: Row) -> list[str]:
    """Names of the columns that the survivor gets or extends by what the source has, other than those of messages."""
    changes = merged_columns(survivor, source)
    return [name for name in (*IDENTIFIER_KINDS, *FILLED, *_UNITED) if name in changes]


def count_rows(contact_pk: int) -> dict[str, int]:
    """How many messages and sessions a contact has."""
    return {name: key.model.select().where(key == contact_pk).count() for name, key in moved_keys().items()}


def moved_keys() -> dict[str, Any]:
    """The foreign keys of rows that move with their contact, by the column that counts them in ContactMerge."""
    keys = [key for key, model in Contact._meta.backrefs.items() if hasattr(model, "merged_from")]  # noqa: SLF001 - Peewee's documented place.
    return {f"{key.model._meta.table_name}s": key for key in keys}  # noqa: SLF001 - The same.


def _move(key: Any, source: Row, survivor: Row) -> tuple[int, dict[str, str]]:
    """Move rows of one table. Returns their number, and the old ids of those whose id the survivor has too, by new."""
    model, others = key.model, key.model.alias()
    survivors_ids = others.select(others.id).where(getattr(others, key.name) == survivor["pk"])
    clashing = model.select(model.id).where(key == source["pk"], model.id.in_(survivors_ids)).tuples()
    renamed = {str(uuid_utils.uuid7()): old for (old,) in clashing}
    for new, old in renamed.items():
        model.update(id=new).where(key == source["pk"], model.id == old).execute()
    first_source = fn.COALESCE(model.merged_from, source["id"])
    moved = model.update({key: survivor["pk"], model.merged_from: first_source}).where(key == source["pk"])
    return moved.execute(), renamed


def _move_identifiers(source: Row, survivor: Row, changes: Row) -> None:
    """Make the identifiers of the source the survivor's, former ones but for those among the changes."""
    account = survivor["account_id"] or NO_ACCOUNT
    of_source = ContactIdentifier.contact == source["pk"]
    ContactIdentifier.update(contact=survivor["pk"], current=False).where(of_source).execute()
    for kind in IDENTIFIER_KINDS:
        if kind not in changes or changes[kind] == survivor[kind]:
            continue
        in_kind = (ContactIdentifier.account == account) & (ContactIdentifier.kind == kind)
        current = in_kind & (ContactIdentifier.value == changes[kind])
        ContactIdentifier.update(current=True).where(current).execute()
        replaced = in_kind & (ContactIdentifier.value == survivor[kind])
        ContactIdentifier.update(current=False, replaced_in=source["id"]).where(replaced).execute()


def _end(contact: Row) -> None:
    """Delete a contact whose rows have moved. The only place where one ends by a merge."""
    Contact.delete().where(Contact.pk == contact["pk"]).execute()


def encoded(model: Any, row: Row) -> Row:
    """Write a row as JSON can hold it; ``decoded`` reads it."""
    fields = model._meta.combined  # noqa: SLF001 - The same.
    return {name: fields[name].db_value(value) for name, value in row.items() if name in fields}


def decoded(model: Any, row: Row) -> Row:
    fields = model._meta.combined  # noqa: SLF001 - The same.
    return {name: fields[name].python_value(value) for name, value in row.items()}


def _rows_of(model: Any, condition: Any) -> list[Row]:
    return [encoded(model, row) for row in model.select().where(condition).dicts()]


def _duplicates_of(contact_pk: int) -> list[Row]:
    """The pairs of a contact, with the id of the other one instead of the keys, which may be given out again."""
    pair = (ContactDuplicate.contact_a, ContactDuplicate.contact_b)
    is_of_contact = (pair[0] == contact_pk) | (pair[1] == contact_pk)
    other = Contact.pk.in_(pair) & (Contact.pk != contact_pk)
    columns = (ContactDuplicate.reason, ContactDuplicate.seen_at, ContactDuplicate.dismissed, Contact.id)
    pairs = ContactDuplicate.select(*columns).join(Contact, on=other).where(is_of_contact)
    return [{**encoded(ContactDuplicate, row), "id": row["id"]} for row in pairs.dicts()]
