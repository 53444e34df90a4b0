"""Finds who a person is by what WhatsApp says, or creates the contact."""

from datetime import datetime
from typing import Any

from contacts_service.contacts.phone_variants import written_forms
from contacts_service.contacts.queries import (
    lock_by_former_bsuid,
    lock_by_identifiers,
    remember_former_bsuid,
)
from contacts_service.contacts.tables import IDENTIFIERS
from contacts_service.contacts.writes import MAX_ATTEMPTS, insert, to_public, update
from contacts_service.db.accounts import AllowedAccounts, require_account
from contacts_service.db.database import database, writing
from contacts_service.errors import ContactExists, IdentityConflict, Unavailable

_PROFILE_FIELDS = ("profile_name", "username", "avatar_url")


@writing()
def resolve_contact(
    *, allowed_accounts: AllowedAccounts, account_id: str | None = None, **person: Any
) -> tuple[dict[str, Any], str | None]:
    """Find the contact that the identifiers belong to, or create it.

    ``person`` may hold ``phone_number`` (E.164), ``bsuid``, ``previous_bsuid`` and what WhatsApp says:
    ``profile_name``, ``username``, ``avatar_url``. Identifiers that the contact lacked are filled in; a new bsuid
    replaces the previous one; what WhatsApp says is renewed, and the name that people gave is left alone.

    Returns the contact and by what it was found, None if it is new. Raises AccountForbidden, IdentityConflict,
    ContactUnidentified.
    """
    require_account(allowed_accounts, account_id)
    contact, matched_by = resolve(account_id, person)
    return to_public(contact), matched_by


def resolve(
    account_id: str | None, person: dict[str, Any], *, said_at: datetime | None = None
) -> tuple[dict[str, Any], str | None]:
    """Find or create within a transaction; see resolve_contact. The contact is locked and has internal columns.

    ``said_at`` is when WhatsApp said it, None for now: a late message doesn't bring back an old profile.
    """
    given = {name: value for name, value in person.items() if value}
    previous_bsuid = given.pop("previous_bsuid", None)
    forms = written_forms(given["phone_number"]) if "phone_number" in given else []
    if len(forms) > 1:
        # A unique index keeps one form from being stored twice, but can't know that two forms are one person.
        database.lock_key(f"{account_id}/{forms[0]}")
    bsuids = [bsuid for bsuid in (given.get("bsuid"), previous_bsuid) if bsuid]
    for _ in range(MAX_ATTEMPTS):
        candidates = lock_by_identifiers(account_id, forms, bsuids)
        contact, matched_by = _choose(candidates, given, previous_bsuid, forms)
        if contact is None and "bsuid" in given:
            # A late message may come under a bsuid that has its successor already.
            contact, matched_by = lock_by_former_bsuid(f"{account_id}/{given['bsuid']}"), "previous_bsuid"
        is_new = contact is None
        if contact is None:
            contact = insert(account_id, given)
            if contact is None:
                continue  # Another transaction created it at this moment; the next round finds it.
        if previous_bsuid:
            remember_former_bsuid({"key": f"{account_id}/{previous_bsuid}", "contact": contact["pk"]})
        if is_new:
            return contact, None
        changes = _changes(contact, given, previous_bsuid, said_at)
        if not changes:
            return contact, matched_by
        try:
            return {**contact, **update(contact["id"], changes, allowed_accounts=None)}, matched_by
        except ContactExists:
            continue  # Another contact got the identifier at this moment; the next round finds both.
    raise Unavailable


def _choose(
    candidates: list[dict[str, Any]], given: dict[str, Any], previous_bsuid: str | None, forms: list[str]
) -> tuple[dict[str, Any] | None, str]:
    """Choose the one contact that all identifiers belong to, and say by which. Raises IdentityConflict."""
    by_bsuid = {contact["bsuid"]: contact for contact in candidates if contact["bsuid"]}
    by_phone = {contact["phone_number"]: contact for contact in candidates if contact["phone_number"]}
    found = [("bsuid", by_bsuid.get(given.get("bsuid"))), ("previous_bsuid", by_bsuid.get(previous_bsuid))]
    if exact := by_phone.get(given.get("phone_number")):
        found.append(("phone_number", exact))
    else:
        # The contact with the very number is meant, even if another has its other form.
        found += [("phone_variant", by_phone.get(form)) for form in forms]
    matched = [(name, contact) for name, contact in found if contact]
    if len(ids := {contact["id"] for _, contact in matched}) > 1:
        raise IdentityConflict(sorted(ids))
    return (matched[0][1], matched[0][0]) if matched else (None, "")


def _changes(
    contact: dict[str, Any], given: dict[str, Any], previous_bsuid: str | None, said_at: datetime | None
) -> dict[str, Any]:
    """What is to be written: missing identifiers, and what WhatsApp says if it says something new."""
    changes: dict[str, Any] = {}
    for name in IDENTIFIERS:
        if name in given and not contact[name]:
            changes[name] = given[name]
    if "bsuid" in given and contact["bsuid"] == previous_bsuid:
        changes["bsuid"] = given["bsuid"]
    newest = contact["last_inbound_at"]
    is_late = said_at is not None and newest is not None and said_at < newest
    for name in _PROFILE_FIELDS:
        if name in given and given[name] != contact[name] and not (is_late and contact[name]):
            changes[name] = given[name]
    return changes
