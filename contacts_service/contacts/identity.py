"""Finds who a person is by what WhatsApp says, or creates the contact; and learns identifiers.

What WhatsApp says is never refused because identifiers disagree: that would lose a message. The rules and their reasons
are in docs/decisions/identifiers.md.
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from contacts_service.contacts.consent import CONSENT, NOT_SAID, with_consent
from contacts_service.contacts.identifiers import (
    Identifier,
    find_owners,
    list_current,
    lock_owners,
    mark_seen,
    record_conflict,
)
from contacts_service.contacts.merging import forget_old_snapshots, merge_contacts
from contacts_service.contacts.phone_variants import written_forms
from contacts_service.contacts.tables import IDENTIFIER_KINDS, KEPT_KINDS, NO_ACCOUNT
from contacts_service.contacts.writes import change, insert, to_public
from contacts_service.db.caller import AllowedAccounts, require_account
from contacts_service.db.database import ConcurrentChange, database, retried, writing
from contacts_service.db.prepared import Row
from contacts_service.errors import DocumentTooLarge, InvalidRequest

_PROFILE_FIELDS = ("profile_name", "username", "avatar_url")
_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_NOW = datetime(9999, 1, 1, tzinfo=UTC)  # Later than whatever was said.


class Statement(NamedTuple):
    """What WhatsApp says of a person, without what is null."""

    given: dict[str, str]
    previous_bsuid: str | None
    phone_forms: list[str]
    """The ways in which WhatsApp may write the phone number, the given one first."""
    at: datetime | None
    """When it was said; None for now."""
    identifiers: list[list[str]]
    """All values that are looked for, in the order of IDENTIFIER_KINDS."""
    consent: Row
    """The word on marketing, if any; it has a time of its own."""

    def is_late(self, *contacts: Row) -> bool:
        """Whether one of the contacts has a newer incoming message."""
        return self.at is not None and any(self.at < (contact["last_inbound_at"] or _NEVER) for contact in contacts)


class Owner(NamedTuple):
    """Whose an identifier is."""

    contact: Row
    is_current: bool


Owners = dict[Identifier, Owner]


NO_MATCH: Row = {"matched_by": None, "replaced": {}, "conflict_with": [], "merged": []}
"""The outcome when no contact was found or looked for."""


@retried
@writing()
def resolve_contact(
    *, allowed_accounts: AllowedAccounts, account_id: str | None = None, on_conflict: str = "report", **person: Any
) -> tuple[Row, Row]:
    """Find the contact that the identifiers belong to, or create it; see find_or_create.

    Returns the contact and the outcome. Raises AccountForbidden, ContactUnidentified.
    """
    require_account(allowed_accounts, account_id)
    contact, outcome = find_or_create(account_id, statement_of(person, None), on_conflict=on_conflict)
    return to_public(contact), outcome


def statement_of(person: dict[str, Any], said_at: datetime | None) -> Statement:
    """Make a statement of the fields of ContactIdentity."""
    given = {name: value for name, value in person.items() if value and name not in CONSENT}
    consent = {name: person[name] for name in CONSENT if name in person}
    previous = given.pop("previous_bsuid", None)
    number = given.get("phone_number")
    forms = [number, *(form for form in written_forms(number) if form != number)] if number else []
    previous = None if previous == given.get("bsuid") else previous
    bsuids = [each for each in (given.get("bsuid"), previous) if each]
    others = [[given[kind]] if kind in given else [] for kind in ("parent_bsuid", "external_id")]
    return Statement(given, previous, forms, said_at, [forms, bsuids, *others], consent)


def find_or_create(account_id: str | None, said: Statement, *, on_conflict: str) -> tuple[Row, Row]:
    """Do as ``learn``, and create the contact if none has the identifiers. Raises ContactUnidentified too."""
    contact, outcome = learn(account_id, said, on_conflict=on_conflict)
    if contact is None:
        former = [Identifier("bsuid", said.previous_bsuid)] if said.previous_bsuid else []
        fields = with_consent(NOT_SAID, {**said.given, **said.consent}, "whatsapp")
        contact = insert(account_id, fields, former=former, said_at=said.at)
    return contact, outcome


def learn(
    account_id: str | None, said: Statement, *, on_conflict: str, contact_id: str | None = None
) -> tuple[Row | None, Row]:
    """Find the contact that has the identifiers, and change it by what is said, within a transaction.

    It gets the identifiers that no other contact has, and the profile; the name that people gave is left alone. What
    comes late fills gaps and replaces nothing. With ``on_conflict="merge"`` contacts that the identifiers say are one
    person become one, unless they contradict each other. ``contact_id`` is the contact if it is known.

    Returns the contact, locked and including internal columns, or None; and the outcome: ``matched_by``, ``replaced``
    (old identifiers by kind), ``conflict_with`` (ids of other contacts that have some of the identifiers) and
    ``merged`` (ids of contacts that ended). Raises ConcurrentChange.
    """
    owners, contact = _find_owners(account_id, said, contact_id)
    matches = find_matches(owners, said)
    matched_by = None
    if contact is None:
        if not matches:
            return None, NO_MATCH
        matched_by, contact = matches[0]
    changes, former = _learned(contact, owners, said)
    replaced = {kind: contact[kind] for kind in IDENTIFIER_KINDS if kind in changes and contact[kind]}
    if changes or former:
        contact = change(contact, changes, former=former, said_at=said.at)
    seen_at = said.at or datetime.now(UTC)
    if contact["last_message_at"] is None or contact["last_message_at"].date() < seen_at.date():
        day = seen_at.replace(hour=0, minute=0, second=0, microsecond=0)  # Once a day is exact enough.
        mark_seen(account_id or NO_ACCOUNT, said.identifiers, contact["pk"], seen_at, day)
    merged, conflicting = [], []
    for other in {other["pk"]: other for _, other in matches if other["pk"] != contact["pk"]}.values():
        if on_conflict != "merge" or _contradict(contact, other, owners, said):
            conflicting.append(other)
            continue
        survivor, source = sorted((contact, other), key=lambda each: (each["created_at"], each["pk"]))
        try:
            contact = merge_contacts(survivor, source, values=_values_of_merged(contact, other, said))
            merged.append(source["id"])
        except (InvalidRequest, DocumentTooLarge):  # Together they have more than a contact may have.
            conflicting.append(other)
    if merged:
        forget_old_snapshots()
    for other in conflicting:
        record_conflict(contact["pk"], other["pk"])
    conflict_with = [other["id"] for other in conflicting]
    return contact, {"matched_by": matched_by, "replaced": replaced, "conflict_with": conflict_with, "merged": merged}


def _find_owners(account_id: str | None, said: Statement, contact_id: str | None) -> tuple[Owners, Row | None]:
    """Lock the contacts that have or had the identifiers. Returns whose these are, and the contact of this id."""
    if len(said.phone_forms) > 1:
        # A unique key keeps one form from being stored twice, but can't know that two forms are one person.
        database.lock_key(f"{account_id}/{min(said.phone_forms)}")
    account = account_id or NO_ACCOUNT
    contacts = {contact["pk"]: contact for contact in lock_owners(account, said.identifiers, contact_id, True)}
    owners = {
        Identifier(kind, contact[kind]): Owner(contact, is_current=True)
        for contact in contacts.values()
        for kind in IDENTIFIER_KINDS
        if contact[kind]
    }
    unknown = [
        kind
        for kind, each in zip(IDENTIFIER_KINDS, said.identifiers, strict=True)
        # Of a phone number one form is enough.
        if each and not (any if each is said.phone_forms else all)((kind, value) in owners for value in each)
    ]
    # What no contact shows may be a former identifier.
    for row in find_owners(account, said.identifiers) if contacts and unknown else ():
        if row["pk"] not in contacts:
            raise ConcurrentChange
        owners.setdefault(Identifier(row["kind"], row["value"]), Owner(contacts[row["pk"]], row["current"]))
    if contact_id is None:
        return owners, None
    contact = next((each for each in contacts.values() if each["id"] == contact_id), None)
    if contact is None:
        raise ConcurrentChange
    return owners, contact


def find_matches(owners: Owners, said: Statement) -> list[tuple[str, Row]]:
    """The contacts that have the identifiers, and by which each was found, the best first."""
    matches: list[tuple[str, Row]] = []
    for kind in ("bsuid", "previous_bsuid", "parent_bsuid", "external_id"):
        value = said.previous_bsuid if kind == "previous_bsuid" else said.given.get(kind)
        if value and (owner := owners.get(Identifier(kind.removeprefix("previous_"), value))):
            matches.append(("previous_bsuid" if kind == "bsuid" and not owner.is_current else kind, owner.contact))
    for form in said.phone_forms:
        owner = owners.get(Identifier("phone_number", form))
        # A former number finds its contact only where nothing else does: it may be another person's by now.
        if owner and (owner.is_current or not matches):
            matches.append(("phone_number" if form == said.given["phone_number"] else "phone_variant", owner.contact))
            break  # The contact with the very number is meant, even if another has its other form.
    return matches


def _learned(contact: Row, owners: Owners, said: Statement) -> tuple[Row, list[Identifier]]:
    """What a contact learns: columns that change, and identifiers that it has had."""
    is_late = said.is_late(contact)
    changes: Row = {
        name: said.given[name]
        for name in _PROFILE_FIELDS
        if name in said.given and said.given[name] != contact[name] and not (is_late and contact[name])
    }
    former: list[Identifier] = []
    for kind in IDENTIFIER_KINDS:
        value = said.given.get(kind)
        if value and value != contact[kind] and _is_free(kind, value, contact, owners, said):
            if not contact[kind] or _follows(kind, contact, said):
                changes[kind] = value
            elif kind in KEPT_KINDS:
                former.append(Identifier(kind, value))
    if said.previous_bsuid and Identifier("bsuid", said.previous_bsuid) not in owners:
        former.append(Identifier("bsuid", said.previous_bsuid))
    if said.consent:
        changes |= with_consent(contact, said.consent, "whatsapp")
    return changes, former


def _is_free(kind: str, value: str, contact: Row, owners: Owners, said: Statement) -> bool:
    """Whether a contact may get an identifier: no other has it. A former phone number may be taken over."""
    if kind != "phone_number":
        return Identifier(kind, value) not in owners
    found = [owner for form in said.phone_forms if (owner := owners.get(Identifier(kind, form)))]
    return not any(owner.is_current and owner.contact["pk"] != contact["pk"] for owner in found)


def _follows(kind: str, contact: Row, said: Statement) -> bool:
    """Whether the given identifier of this kind replaces the one that a contact has."""
    if kind == "external_id" or contact[kind] in said.phone_forms:
        return False
    if kind == "bsuid" and contact[kind] == said.previous_bsuid:
        return True  # That one follows the other holds whenever it was said.
    if said.at is None:
        return True
    said_at = {row["kind"]: row["said_at"] for row in list_current(contact["pk"])}
    return not said.is_late(contact) and said.at >= (said_at.get(kind) or _NEVER)


def _contradict(contact: Row, other: Row, owners: Owners, said: Statement) -> bool:
    """Whether two contacts can't be one person: by two external ids, or by two bsuids of which none follows the other.

    ``contact`` is the one that was found, so it has the bsuid that follows the previous one.
    """
    bsuids, external_ids = ({contact[kind], other[kind]} - {None} for kind in ("bsuid", "external_id"))
    previous = owners.get(Identifier("bsuid", said.previous_bsuid or ""))
    is_succession = previous is not None and previous.contact["pk"] == other["pk"]
    return len(external_ids) > 1 or (len(bsuids) > 1 and not is_succession)


def _values_of_merged(contact: Row, other: Row, said: Statement) -> dict[str, str | None]:
    """What two contacts have that become one: of each kind the identifier that was said last."""
    is_late = said.is_late(contact, other)
    times = {each["pk"]: {row["kind"]: row["said_at"] for row in list_current(each["pk"])} for each in (contact, other)}

    def said_at(each: Row, kind: str) -> tuple[datetime, datetime]:
        at = times[each["pk"]].get(kind) or _NEVER
        if each[kind] in {said.given.get(kind), *said.phone_forms}:
            at = max(at, said.at or _NOW)
        return at, each["last_inbound_at"] or _NEVER

    values: dict[str, str | None] = {}
    for kind in IDENTIFIER_KINDS:
        choices = [each for each in (other, contact) if each[kind] and each[kind] != said.previous_bsuid]
        choices.sort(key=lambda each, kind=kind: said_at(each, kind))  # type: ignore[misc]
        values[kind] = choices[-1][kind] if choices else None
    return values if is_late else values | {name: said.given[name] for name in _PROFILE_FIELDS if name in said.given}
