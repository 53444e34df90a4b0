"""Use case of undoing a merge: the source is back as it was, and what it gave the survivor goes back."""

from datetime import UTC, datetime
from typing import Any

from peewee import chunked, fn

from contacts_service.contacts.consent import rank
from contacts_service.contacts.events import record_merge
from contacts_service.contacts.merging import FILLED, UNDO_WINDOW, decoded, encoded_consent, moved_keys
from contacts_service.contacts.queries import Versions, insert_contact
from contacts_service.contacts.tables import (
    IDENTIFIER_KINDS,
    NO_ACCOUNT,
    Contact,
    ContactEvent,
    ContactIdentifier,
    ContactMerge,
)
from contacts_service.contacts.writes import change, raise_identifier_taken, require_lock, to_public
from contacts_service.db.caller import AllowedAccounts
from contacts_service.db.database import retried, writing
from contacts_service.db.fields import JSONText
from contacts_service.db.prepared import Row
from contacts_service.errors import MergeFinal, MergeNotFound
from contacts_service.messages.use_cases import shown_of_messages
from contacts_service.sessions.tables import Session


@retried
@writing()
def undo_merge(contact_id: str, source_id: str, *, allowed_accounts: AllowedAccounts, expected: Versions = None) -> Row:
    """Separate two contacts again. Returns the one that had ended.

    Raises ContactNotFound, ContactMerged, VersionMismatch, MergeNotFound, MergeFinal, ContactExists, IdentityConflict,
    ContactUnidentified.
    """
    survivor = require_lock(contact_id, allowed_accounts, expected)
    merge = ContactMerge.get_or_none(ContactMerge.source_id == source_id, ContactMerge.survivor == survivor["pk"])
    if merge is None:
        raise MergeNotFound(source_id)
    if merge.merged_into != contact_id:
        text = f"The contact {merge.merged_into}, which it was merged into, has ended too: undo that merge first."
        raise MergeFinal(message=text, errors={"id": [merge.merged_into]})
    if merge.snapshot is None or merge.at < datetime.now(UTC) - UNDO_WINDOW:
        raise MergeFinal
    snapshot = merge.snapshot.parsed()
    merge.delete_instance()
    before = decoded(Contact, snapshot["contact"])
    kept = {name: value for name, value in before.items() if name != "pk"}
    source = insert_contact({**kept, "unread_count": merge.unread_count, "search_text": ""})
    _restore_events(source, snapshot["events"])
    _move_back(source, survivor, snapshot["session_ids"])
    lost, taken = _give_back_identifiers(source, survivor, snapshot["identifiers"])
    # The columns of identifiers follow the table of identifiers, which is right already.
    changes = {**taken, **_given_back(survivor, before, snapshot), **_consent_without(merge, survivor)}
    changes |= shown_of_messages(survivor["pk"])
    changes["unread_count"] = survivor["unread_count"] - merge.unread_count
    record_merge(change({**survivor, **taken}, changes), "unmerged")
    found_by = {"name": source["name"], "tags": source["tags"].parsed(), "metadata": source["metadata"]}
    changes = {**lost, **found_by, **shown_of_messages(source["pk"])}
    source = change({**source, **lost, "metadata": {}}, changes)
    record_merge(source, "unmerged")
    return to_public(source)


def _restore_events(source: Row, snapshot: list[Row]) -> None:
    """Bring the events back, in place of the one that it was created."""
    ContactEvent.delete().where(ContactEvent.contact == source["pk"]).execute()
    rows = [{**decoded(ContactEvent, row), "contact": source["pk"]} for row in snapshot]
    for batch in chunked(rows, 1000):
        ContactEvent.insert_many(batch).execute()


def _move_back(source: Row, survivor: Row, session_ids: dict[str, str]) -> None:
    """Move what came with the source, also from contacts that had been merged into it before."""
    merges = ContactMerge.select(ContactMerge.source_id, ContactMerge.merged_into)
    merged_into = dict(merges.where(ContactMerge.survivor == survivor["pk"]).tuples())
    earlier = [each for each in merged_into if leads_to(each, source["id"], merged_into)]
    for key in moved_keys().values():
        merged_from = key.model.merged_from
        moved = key.model.update({key: source["pk"], merged_from: fn.NULLIF(merged_from, source["id"])})
        moved.where(key == survivor["pk"], merged_from.in_([source["id"], *earlier])).execute()
    ContactMerge.update(survivor=source["pk"]).where(ContactMerge.source_id.in_(earlier)).execute()
    for new, old in session_ids.items():
        Session.update(id=old).where(Session.contact == source["pk"], Session.id == new).execute()


def leads_to(contact_id: str, target: str, merged_into: dict[str, str]) -> bool:
    while contact_id != target and contact_id in merged_into:
        contact_id = merged_into[contact_id]
    return contact_id == target


def _give_back_identifiers(source: Row, survivor: Row, snapshot: list[Row]) -> tuple[Row, Row]:
    """Give the source its identifiers again, unless other contacts have got them.

    Returns the columns of the source and of the survivor that change by that. Raises ContactExists, IdentityConflict.
    """
    account = survivor["account_id"] or NO_ACCOUNT
    of_survivor = (ContactIdentifier.account == account) & (ContactIdentifier.contact == survivor["pk"])
    rows = [{**decoded(ContactIdentifier, row), "contact": source["pk"]} for row in snapshot]
    own = {(row["kind"], row["value"]) for row in rows}
    for kind, value in own:
        identifier = (ContactIdentifier.kind == kind) & (ContactIdentifier.value == value)
        ContactIdentifier.delete().where(of_survivor, identifier).execute()
    given = ContactIdentifier.insert_many(rows).on_conflict("nothing")
    given = set(given.returning(ContactIdentifier.kind, ContactIdentifier.value).tuples().execute())
    lost = dict.fromkeys(kind for kind in IDENTIFIER_KINDS if source[kind] and (kind, source[kind]) not in given)
    kept = {**source, **lost}
    if not kept["phone_number"] and not kept["bsuid"]:
        raise_identifier_taken(source["account_id"], {kind: source[kind] for kind in lost})
    replaced = of_survivor & (ContactIdentifier.replaced_in == source["id"])
    values = dict(ContactIdentifier.select(ContactIdentifier.kind, ContactIdentifier.value).where(replaced).tuples())
    taken = {kind: values.get(kind) for kind in IDENTIFIER_KINDS if (kind, survivor[kind]) in own}
    ContactIdentifier.update(current=True).where(replaced, ContactIdentifier.kind.in_(list(taken))).execute()
    ContactIdentifier.update(replaced_in=None).where(replaced).execute()
    return lost, taken


def _given_back(survivor: Row, before: Row, snapshot: Row) -> Row:
    """What the survivor has without what it took from the source, unless that was changed since."""
    filled = snapshot["filled"]
    changes: Row = {name: None for name in FILLED if name in filled and survivor[name] == before[name]}
    if "metadata" in filled:
        theirs, now = before["metadata"].parsed(), survivor["metadata"].parsed()
        # As text, because Python takes 1 and true for equal.
        same = [key for key in snapshot["metadata"] if key in now and JSONText.of(now[key]) == JSONText.of(theirs[key])]
        changes["metadata"] = {key: value for key, value in now.items() if key not in same}
    if "tags" in filled:
        changes["tags"] = [tag for tag in survivor["tags"].parsed() if tag not in snapshot["tags"]]
    return changes


def _consent_without(merge: ContactMerge, survivor: Row) -> Row:
    """What changes of the survivor's word on marketing if the source's is none of it any more."""
    had, took = merge.survivor_consent, merge.source_consent
    if _rank(took) <= _rank(had):
        return {}
    others = (ContactMerge.survivor == survivor["pk"]) & (ContactMerge.merged_into == survivor["id"])
    # Later merges found what the survivor took here.
    ContactMerge.update(survivor_consent=had).where(others, ContactMerge.survivor_consent == took).execute()
    if encoded_consent(survivor) != took:
        return {}
    pairs = ContactMerge.select(ContactMerge.survivor_consent, ContactMerge.source_consent).where(others).tuples()
    newest = max({had, *(word for pair in pairs for word in pair)}, key=_rank)
    return decoded(Contact, JSONText(newest).parsed())


def _rank(consent: str) -> tuple[Any, ...]:
    return rank(decoded(Contact, JSONText(consent).parsed()))
