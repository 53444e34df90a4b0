"""Use case of finding who somebody is by what WhatsApp says of them, or getting to know them."""

from datetime import datetime
from typing import Any

from contacts_service.errors import ContactExists, IdentityConflict, Unavailable
from contacts_service.models import identity
from contacts_service.models.accounts import Accounts
from contacts_service.models.database import lock_key, writing
from contacts_service.services.access import require_account
from contacts_service.services.contact_steps import ATTEMPTS, insert, shown, update
from contacts_service.services.phone_variants import written_forms

_SAID_BY_WHATSAPP = ("profile_name", "username", "avatar_url")


@writing()
def resolve_contact(
    *, accounts: Accounts, account_id: str | None = None, **who: Any
) -> tuple[dict[str, Any], str | None]:
    """Find the contact that the identifiers belong to, or create it.

    ``who`` may hold ``phone_number`` (E.164), ``bsuid``, ``previous_bsuid`` and what WhatsApp says: ``profile_name``,
    ``username``, ``avatar_url``. Identifiers that the contact lacked are filled in; a new bsuid takes the place of the
    previous one; what WhatsApp says is renewed, and the name that people gave is left alone.

    Returns the contact and by what it was found, None when it is new. Raises AccountForbidden, IdentityConflict,
    Unidentified.
    """
    require_account(accounts, account_id)
    contact, matched_by = resolve(account_id, who)
    return shown(contact), matched_by


def resolve(
    account_id: str | None, who: dict[str, Any], *, said_at: datetime | None = None
) -> tuple[dict[str, Any], str | None]:
    """Find or create within a transaction; see resolve_contact. The contact has what is inside, and is locked.

    ``said_at`` is when WhatsApp said it, None for now: a late message doesn't bring back an old profile.
    """
    given = {name: value for name, value in who.items() if value}
    previous_bsuid = given.pop("previous_bsuid", None)
    forms = written_forms(given["phone_number"]) if "phone_number" in given else []
    if len(forms) > 1:
        # A unique index keeps one form from being stored twice, but can't know that two forms are one person.
        lock_key(f"{account_id}/{forms[0]}")
    bsuids = [bsuid for bsuid in (given.get("bsuid"), previous_bsuid) if bsuid]
    for _ in range(ATTEMPTS):
        candidates = identity.find_by_identifiers(account_id, phone_numbers=forms, bsuids=bsuids, lock=True)
        contact, matched_by = _choose(candidates, given, previous_bsuid)
        if contact is None and (former := identity.find_by_former_bsuid(account_id, given.get("bsuid"))):
            # A late message may come under a bsuid that has its successor already.
            contact, matched_by = former, "previous_bsuid"
        if contact is None:
            if created := _create(account_id, given, previous_bsuid):
                return created, None
            continue  # Somebody else created it at this moment; the next round finds it.
        if previous_bsuid:
            identity.remember_former_bsuid(contact, previous_bsuid)
        changes = _changes(contact, given, previous_bsuid, said_at)
        if not changes:
            return contact, matched_by
        try:
            return {**contact, **update(contact["id"], changes, accounts=None)}, matched_by
        except ContactExists:
            continue  # Another contact got the identifier at this moment; the next round finds both.
    raise Unavailable


def _create(account_id: str | None, given: dict[str, Any], previous_bsuid: str | None) -> dict[str, Any] | None:
    created = insert(account_id, given)
    if created and previous_bsuid:
        identity.remember_former_bsuid(created, previous_bsuid)
    return created


def _choose(
    candidates: list[dict[str, Any]], given: dict[str, Any], previous_bsuid: str | None
) -> tuple[dict[str, Any] | None, str]:
    """Choose the one contact that all identifiers belong to, and say by which. Raises IdentityConflict."""
    by_bsuid = {contact["bsuid"]: contact for contact in candidates if contact["bsuid"]}
    by_phone = {contact["phone_number"]: contact for contact in candidates if contact["phone_number"]}
    forms = written_forms(given["phone_number"]) if "phone_number" in given else []
    found = [
        ("bsuid", by_bsuid.get(given.get("bsuid"))),
        ("previous_bsuid", by_bsuid.get(previous_bsuid)),
    ]
    if exact := by_phone.get(given.get("phone_number")):
        found.append(("phone_number", exact))
    else:
        # Who has the number itself is no doubt meant, even when somebody else has its other form.
        found += [("phone_variant", by_phone.get(form)) for form in forms]
    matched = [(name, contact) for name, contact in found if contact]
    if len(ids := {contact["id"] for _, contact in matched}) > 1:
        raise IdentityConflict(sorted(ids))
    return (matched[0][1], matched[0][0]) if matched else (None, "")


def _changes(
    contact: dict[str, Any], given: dict[str, Any], previous_bsuid: str | None, said_at: datetime | None
) -> dict[str, Any]:
    """What is to be written: identifiers that were missing, and what WhatsApp says if it says something new."""
    changes = {name: given[name] for name in ("phone_number", "bsuid") if name in given and not contact[name]}
    if "bsuid" in given and contact["bsuid"] == previous_bsuid:
        changes["bsuid"] = given["bsuid"]
    newer = contact["last_inbound_at"]
    is_late = said_at is not None and newer is not None and said_at < newer
    said = {name: given[name] for name in _SAID_BY_WHATSAPP if name in given and not (is_late and contact[name])}
    return changes | {name: value for name, value in said.items() if value != contact[name]}
