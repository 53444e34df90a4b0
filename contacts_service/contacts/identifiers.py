"""Queries of identifiers: whose they are, and which a contact has.

A writer of several inserts the new ones first, in the order of kind and value, and changes existing ones afterwards.
So transactions that want the same identifiers never wait for each other in a circle.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from peewee import Case, NodeList, fn

from contacts_service.contacts.phone_variants import written_forms
from contacts_service.contacts.tables import (
    ALL_COLUMNS,
    IDENTIFIER_KINDS,
    INTERNAL_COLUMNS,
    KEPT_KINDS,
    NO_ACCOUNT,
    Contact,
    ContactDuplicate,
    ContactIdentifier,
)
from contacts_service.db.database import ConcurrentChange, database
from contacts_service.db.fields import JSONText
from contacts_service.db.prepared import Row, columns_of, prepared

# A lookup for each: without statistics the planner would rather read all identifiers of the account.
_FIND_KEYS = {
    kind: f"""
SELECT kinds.key, given.value, (
    SELECT contact_id FROM contact_identifier
    WHERE account = {parameter} AND kind = kinds.key AND contact_identifier.value = given.value
) FROM json_each(CAST({parameter} AS {json})) AS kinds, {elements}(kinds.value) AS given{columns}
"""  # noqa: S608  # nosec B608 - All names are our own.
    for kind, parameter, json, elements, columns in (
        ("sqlite", "?", "text", "json_each", ""),
        ("postgresql", "%s", "json", "json_array_elements_text", "(value)"),
    )
}


class IdentifierTaken(ConcurrentChange):
    """Another contact of the account has an identifier that a contact was to get."""

    def __init__(self, contact_pk: int) -> None:
        super().__init__()
        self.contact_pk = contact_pk


class Identifier(NamedTuple):
    """An identifier within an account."""

    kind: str
    value: str


def _any_of(account: Any, values: list[list[Any]]) -> Any:
    """Condition: a row is one of these identifiers; ``values`` are lists in the order of IDENTIFIER_KINDS."""
    in_account = ContactIdentifier.account == account
    # Each alternative names the account and the kind, or it would be no range of the primary key.
    return reduce(
        or_,
        [
            in_account & (ContactIdentifier.kind == kind) & ContactIdentifier.value.in_(each)
            for kind, each in zip(IDENTIFIER_KINDS, values, strict=True)
            if each
        ],
    )


@prepared
def lock_owners(account: Any, values: list[list[Any]], contact_id: Any, locks: Any) -> Any:
    """Read the contacts that have or had any of the identifiers, and the one of this id if it isn't None; lock them.

    They are locked in the order of their keys, so that transactions that lock several don't wait in a circle.
    """
    rows = _any_of(account, values)
    if contact_id is not None:
        rows |= ContactIdentifier.contact == Contact.select(Contact.pk).where(Contact.id == contact_id)
    owners = ContactIdentifier.select(ContactIdentifier.contact).where(rows)
    contacts = Contact.select(*INTERNAL_COLUMNS, *ALL_COLUMNS).where(Contact.pk.in_(owners))
    contacts = contacts.order_by(Contact.pk)
    return database.locked(contacts) if locks else contacts


@prepared
def find_owners(account: Any, values: list[list[Any]]) -> Any:
    """Read which of the identifiers are whose: kind, value, current, key and id of the contact."""
    columns = (ContactIdentifier.kind, ContactIdentifier.value, ContactIdentifier.current, Contact.pk, Contact.id)
    return ContactIdentifier.select(*columns).join(Contact).where(_any_of(account, values)).order_by(Contact.pk)


def find_keys(account: str, values: dict[str, list[str]]) -> dict[Identifier, int]:
    """Read whose of many identifiers, given by kind, are: the keys of contacts."""
    rows = database.execute_sql(_FIND_KEYS[database.kind], (account, JSONText.of(values)))
    return {Identifier(kind, value): pk for kind, value, pk in rows.fetchall() if pk is not None}


@prepared(one=True, replan=True)
def measure_metadata(keys: Any) -> Any:
    """Add up the bytes of the metadata of contacts, given by a JSON array of their keys."""
    size = fn.SUM(database.byte_length(Contact.metadata)).alias("bytes")
    return Contact.select(size).where(NodeList((Contact.pk, *database.keys_of(keys))))


@prepared(replan=True)
def lock_by_keys(keys: Any, locks: Any) -> Any:
    """Read contacts as ``lock_owners`` does, given by a JSON array of their keys."""
    contacts = Contact.select(*INTERNAL_COLUMNS, *ALL_COLUMNS).where(NodeList((Contact.pk, *database.keys_of(keys))))
    contacts = contacts.order_by(Contact.pk)
    return database.locked(contacts) if locks else contacts


@prepared
def list_current(contact_pk: Any) -> Any:
    of_contact = (ContactIdentifier.contact == contact_pk) & ContactIdentifier.current
    return ContactIdentifier.select(ContactIdentifier.kind, ContactIdentifier.said_at).where(of_contact)


def store_identifiers(
    contact: Row, changes: dict[str, str | None], former: Iterable[Identifier], now: datetime, said_at: datetime | None
) -> None:
    """Give a contact identifiers by kind, null takes one away, and remember former ones. Raises IdentifierTaken.

    ``contact`` is as it was before, and locked or new. What is replaced stays as a former identifier where WhatsApp
    gives it to no one else.
    """
    account = contact["account_id"] or NO_ACCOUNT
    common = {
        "account": account,
        "contact": contact["pk"],
        "said_at": said_at,
        "first_seen_at": said_at or now,
        "last_seen_at": said_at or now,
    }
    new = {Identifier(kind, value): True for kind, value in changes.items() if value}
    new |= dict.fromkeys(former, False)
    rows = {each: {**common, **each._asdict(), "current": new[each]} for each in sorted(new)}
    inserted = {Identifier(**row) for row in _insert([*rows.values()])} if rows else set()
    for each in rows.keys() - inserted:
        if not new[each] or not _take_over(rows[each]):
            raise IdentifierTaken(contact["pk"])
    if number := changes.get("phone_number"):
        _record_variants(contact["pk"], account, number)
    for kind, value in changes.items():
        old = contact.get(kind)
        if old and old != value:
            (_make_former if value and kind in KEPT_KINDS else _delete)(account, kind, old)


@prepared
def _insert(rows: list[Row]) -> Any:
    """Insert identifiers that no contact has, and return which."""
    # Not an upsert, which would lock the rows of other contacts.
    values = [columns_of(ContactIdentifier, row) for row in rows]
    inserted = ContactIdentifier.insert_many(values).on_conflict("nothing")
    return inserted.returning(ContactIdentifier.kind, ContactIdentifier.value)


@prepared(one=True)
def _take_over(row: Row) -> Any:
    """Give a contact its own former identifier again, or a former phone number of another; None if it is neither."""
    is_own = ContactIdentifier.contact == row["contact"]
    is_free = (ContactIdentifier.kind == "phone_number") & ~ContactIdentifier.current
    first_seen_at = Case(None, [(is_own, ContactIdentifier.first_seen_at)], row["first_seen_at"])
    changed = ("contact", "current", "said_at", "last_seen_at")
    values = {**columns_of(ContactIdentifier, {name: row[name] for name in changed}), "first_seen_at": first_seen_at}
    identifier = _is(row["account"], row["kind"], row["value"])
    return ContactIdentifier.update(values).where(identifier, is_own | is_free).returning(ContactIdentifier.value)


@prepared
def mark_seen(account: Any, values: list[list[Any]], contact_pk: Any, seen_at: Any, day: Any) -> Any:
    """Set when a contact's identifiers were seen last, where that was before this day."""
    is_old = (ContactIdentifier.contact == contact_pk) & (ContactIdentifier.last_seen_at < day)
    seen = ContactIdentifier.update(columns_of(ContactIdentifier, {"last_seen_at": seen_at}))
    return seen.where(_any_of(account, values), is_old)


@prepared
def _make_former(account: Any, kind: Any, value: Any) -> Any:
    return ContactIdentifier.update({ContactIdentifier.current: False}).where(_is(account, kind, value))


@prepared
def _delete(account: Any, kind: Any, value: Any) -> Any:
    return ContactIdentifier.delete().where(_is(account, kind, value))


def _is(account: Any, kind: Any, value: Any) -> Any:
    identifier = (ContactIdentifier.account == account) & (ContactIdentifier.kind == kind)
    return identifier & (ContactIdentifier.value == value)


def record_conflict(contact_pk: int, other_pk: int) -> None:
    """Remember that two contacts have identifiers which WhatsApp says are one person's."""
    _record_duplicate(contact_pk, other_pk, "identity_conflict")


def _record_variants(contact_pk: int, account: str, phone_number: str) -> None:
    """Remember that other contacts have numbers which are other ways to write this one."""
    if others := [form for form in written_forms(phone_number) if form != phone_number]:
        for owner in find_owners(account, [others, [], [], []]):
            if owner["current"] and owner["pk"] != contact_pk:
                _record_duplicate(contact_pk, owner["pk"], "phone_variant")


def _record_duplicate(contact_pk: int, other_pk: int, reason: str) -> None:
    first, second = sorted((contact_pk, other_pk))
    _insert_duplicate({"contact_a": first, "contact_b": second, "reason": reason, "seen_at": datetime.now(UTC)})


@prepared
def _insert_duplicate(values: Row) -> Any:
    new = {**columns_of(ContactDuplicate, values), "dismissed": False}
    return ContactDuplicate.insert(new).on_conflict("nothing")
