"""Steps that several use cases of contacts share. They run within the transaction of the use case."""

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NoReturn

import uuid_utils

from contacts_service.contacts import queries
from contacts_service.contacts.identifiers import Identifier, find_owners, store_identifiers
from contacts_service.contacts.metadata_terms import store_terms, terms_of
from contacts_service.contacts.phone_variants import written_forms
from contacts_service.contacts.queries import Versions
from contacts_service.contacts.search_text import searchable
from contacts_service.contacts.tables import IDENTIFIER_KINDS, INTERNAL_COLUMNS, NO_ACCOUNT
from contacts_service.db.caller import AllowedAccounts
from contacts_service.db.database import ConcurrentChange
from contacts_service.db.fields import JSONText
from contacts_service.errors import (
    ContactExists,
    ContactMerged,
    ContactNotFound,
    ContactUnidentified,
    IdentityConflict,
    InvalidRequest,
    VersionMismatch,
)
from schemas.constants import MAX_TAGS

# WhatsApp lets a business answer freely for 24 hours after the user's last message (Cloud API, "Customer service
# windows").
SERVICE_WINDOW = timedelta(hours=24)
_LAST = datetime.max.replace(tzinfo=UTC)  # Python knows no later moment.
_LAST_OPENING = _LAST - SERVICE_WINDOW
_TAG = re.compile("([0-9]{1,9})(-open)?")
_INTERNAL_NAMES = [column.name for column in INTERNAL_COLUMNS]
SEARCHED = {"name", "profile_name", "username", "phone_number"}


def contact_etag(contact: dict[str, Any]) -> str:
    """Entity tag (RFC 9110, section 8.8.3), without the quotes."""
    # The service window closes by itself: the representation changes, the version doesn't.
    return f"{contact['version']}-open" if contact["service_window_open"] else str(contact["version"])


def contact_version(etag: str) -> int | None:
    match = _TAG.fullmatch(etag)
    return int(match[1]) if match else None


def to_public(contact: dict[str, Any], now: datetime | None = None) -> dict[str, Any]:
    """Turn a row into what callers see, in place."""
    window = service_window(contact["last_inbound_at"], now)
    contact["service_window_open"], contact["service_window_expires_at"] = window
    for name in _INTERNAL_NAMES:
        contact.pop(name, None)
    return contact


def service_window(last_inbound_at: datetime | None, now: datetime | None = None) -> tuple[bool, datetime | None]:
    """Whether the service window is open, and when it closes or has closed."""
    if last_inbound_at is None:
        return False, None
    expires_at = last_inbound_at + SERVICE_WINDOW if last_inbound_at < _LAST_OPENING else _LAST
    return (now or datetime.now(UTC)) < expires_at, expires_at


def insert(
    account_id: str | None,
    fields: dict[str, Any],
    *,
    former: Iterable[Identifier] = (),
    said_at: datetime | None = None,
) -> dict[str, Any]:
    """Insert a contact, its identifiers and its tags. Raises ContactUnidentified, IdentifierTaken.

    ``former`` are identifiers that it had before, ``said_at`` is when WhatsApp said so.
    """
    now = datetime.now(UTC)
    values = new_contact(account_id, fields, now)
    created: dict[str, Any] = queries.insert_contact(values)
    identifiers = {kind: fields.get(kind) for kind in IDENTIFIER_KINDS}
    store_identifiers({"pk": created["pk"], "account_id": account_id}, identifiers, former, now, said_at)
    if values["tags"]:
        queries.replace_tags(created["pk"], values["tags"])
    if values["metadata"]:
        store_terms(created["pk"], account_id, {}, values["metadata"])
    return created


def insert_at_once(account_id: str | None, fields: dict[str, Any]) -> dict[str, Any] | None:
    """Do as ``insert`` by one statement on PostgreSQL; None if that can't be done, or another has the identifier."""
    now = datetime.now(UTC)
    values = new_contact(account_id, fields, now)
    identifiers = [(kind, value) for kind in IDENTIFIER_KINDS if (value := fields.get(kind))]
    if len(identifiers) > 1 or len(written_forms(identifiers[0][1])) > 1:
        return None
    identifier = dict(zip(("kind", "value"), identifiers[0], strict=True))
    seen = {"first_seen_at": now, "last_seen_at": now}
    identifier = {"account": account_id or NO_ACCOUNT, **identifier, "current": True, **seen}
    terms = terms_of(account_id, values["metadata"])
    created: dict[str, Any] | None = queries.insert_whole_contact(
        values,
        identifier,
        JSONText.of(sorted(terms)) if terms else None,
        JSONText.of(values["tags"]) if values["tags"] else None,
    )
    return created


def new_contact(account_id: str | None, fields: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The columns of a contact that is yet to be stored. Raises ContactUnidentified."""
    if not fields.get("phone_number") and not fields.get("bsuid"):
        raise ContactUnidentified
    return {
        "id": str(uuid_utils.uuid7()),
        "account_id": account_id,
        "tags": [],
        "marketing_opt_out": False,
        "metadata": {},
        "unread_count": 0,
        "created_at": now,
        "updated_at": now,
        "version": 1,
        **fields,
        "search_text": searchable(**{name: fields.get(name) for name in SEARCHED}),
    }


def raise_identifier_taken(account_id: str | None, fields: dict[str, Any], *, except_pk: int | None = None) -> None:
    """Raise ContactExists or IdentityConflict if other contacts of the account have these identifiers."""
    values = [[value] if (value := fields.get(kind)) else [] for kind in IDENTIFIER_KINDS]
    owners = find_owners(account_id or NO_ACCOUNT, values)
    # A former phone number is free.
    taken = [row for row in owners if row["current"] or row["kind"] != "phone_number"]
    if ids := {row["id"] for row in taken if row["pk"] != except_pk}:
        raise (ContactExists if len(ids) == 1 else IdentityConflict)(errors={"id": sorted(ids)})


def change(
    before: dict[str, Any],
    changes: dict[str, Any],
    *,
    former: Iterable[Identifier] = (),
    said_at: datetime | None = None,
) -> dict[str, Any]:
    """Change a contact that is locked, and what it is found by. Returns it including internal columns.

    ``former`` and ``said_at`` as for insert. Raises ContactUnidentified, IdentifierTaken.
    """
    after = {**before, **changes}
    if not after["phone_number"] and not after["bsuid"]:
        raise ContactUnidentified
    now = datetime.now(UTC)
    identifiers = {kind: after[kind] for kind in IDENTIFIER_KINDS if after[kind] != before[kind]}
    if identifiers or former:
        store_identifiers(before, identifiers, former, now, said_at)
    if not changes:
        return before
    if changes.keys() & SEARCHED:
        changes = {**changes, "search_text": searchable(**{name: after[name] for name in SEARCHED})}
    if "tags" in changes:
        queries.replace_tags(before["pk"], changes["tags"])
    if "metadata" in changes:
        store_terms(before["pk"], before["account_id"], before["metadata"], changes["metadata"])
    return {**before, **queries.update_contact(before["id"], None, None, changes, now)}


def changed_tags(tags: JSONText, add: Collection[str], remove: Collection[str]) -> list[str] | None:
    """The tags with others added and removed; None if that changes nothing. Raises InvalidRequest for too many."""
    before = tags.parsed()
    after = [each for each in dict.fromkeys([*before, *add]) if each not in remove]
    if len(after) > max(MAX_TAGS, len(before)):
        raise InvalidRequest({"tags": [f"A contact has at most {MAX_TAGS} tags."]})
    return None if after == before else after


def raise_why_not_written(contact_id: str, allowed_accounts: AllowedAccounts, expected: Versions) -> NoReturn:
    """Raise ContactNotFound, or VersionMismatch with the contact as it is now. Raises ConcurrentChange as below."""
    contact = require_contact(contact_id, allowed_accounts)
    if expected is None or contact["version"] in expected:
        raise ConcurrentChange
    raise version_mismatch(contact)


def version_mismatch(contact: dict[str, Any]) -> VersionMismatch:
    current = to_public(contact)
    return VersionMismatch(current, contact_etag(current), partial(queries.lock_contact, current["id"], None))


def require_contact(contact_id: str, allowed_accounts: AllowedAccounts) -> dict[str, Any]:
    """Read a contact. Raises ContactNotFound, ContactMerged."""
    contact: dict[str, Any] | None = queries.get_contact(contact_id, allowed_accounts)
    return contact or raise_not_found(contact_id, allowed_accounts)


def require_lock(contact_id: str, allowed_accounts: AllowedAccounts, expected: Versions = None) -> dict[str, Any]:
    """Lock a contact and read all its columns. Raises ContactNotFound, ContactMerged, VersionMismatch."""
    contact: dict[str, Any] | None = queries.lock_contact(contact_id, allowed_accounts)
    if contact is None:
        raise_not_found(contact_id, allowed_accounts)
    if expected is not None and contact["version"] not in expected:
        raise version_mismatch(contact)
    return contact


def raise_not_found(contact_id: str, allowed_accounts: AllowedAccounts) -> NoReturn:
    """Raise ContactMerged if the contact was merged into one that the caller may see, else ContactNotFound.

    Raises ConcurrentChange if it is there again.
    """
    if survivor := queries.find_survivor(contact_id, allowed_accounts):
        raise ContactMerged(contact_id, survivor["id"])
    if queries.get_contact(contact_id, allowed_accounts):
        raise ConcurrentChange  # A merge was undone between the queries.
    raise ContactNotFound(contact_id)
