"""Use case of exporting one person: everything that is kept, part by part, in constant memory."""

from collections.abc import Iterator
from typing import Any

from contacts_service.contacts.events import list_events
from contacts_service.contacts.tables import Contact, ContactIdentifier, ContactMerge, by_id
from contacts_service.contacts.use_cases import get_contact as get_public_contact
from contacts_service.contacts.writes import require_contact
from contacts_service.db.caller import AllowedAccounts
from contacts_service.db.database import reading
from contacts_service.db.pages import first_within_bytes
from contacts_service.db.prepared import Row
from contacts_service.merges.use_cases import list_merges
from contacts_service.messages import queries as messages
from contacts_service.sessions.use_cases import list_sessions

_PAGE = 100


def export_contact(contact_id: str, allowed_accounts: AllowedAccounts) -> tuple[Row, Iterator[tuple[str, list[Row]]]]:
    """Read a contact, and the pages of each part by name. No connection is held between two pages.

    Raises ContactNotFound and ContactMerged, also between pages if the contact ends meanwhile.
    """
    contact = get_public_contact(contact_id, allowed_accounts=allowed_accounts)
    return contact, _pages(contact_id, allowed_accounts)


def _pages(contact_id: str, allowed_accounts: AllowedAccounts) -> Iterator[tuple[str, list[Row]]]:
    yield "identifiers", _list_identifiers(contact_id, allowed_accounts)
    after = None
    while page := _list_messages(contact_id, allowed_accounts, after):
        yield "messages", page
        # As they are ordered: by time, then by WhatsApp's id or else the own one.
        after = {"timestamp": page[-1]["timestamp"], "key": page[-1]["wa_message_id"] or page[-1]["id"]}
    for name, read, key in (("sessions", list_sessions, "session_id"), ("events", list_events, "id")):
        before, has_more = None, True
        while has_more:
            found: dict[str, Any] = read(contact_id, allowed_accounts=allowed_accounts, limit=_PAGE, before=before)
            yield name, found["items"]
            before, has_more = found["items"] and found["items"][-1][key], found["has_more"]
    yield "merges", _list_merges(contact_id, allowed_accounts)


@reading()
def _list_identifiers(contact_id: str, allowed_accounts: AllowedAccounts) -> list[Row]:
    columns = ("kind", "value", "current", "said_at", "first_seen_at", "last_seen_at")
    rows = ContactIdentifier.select(*[getattr(ContactIdentifier, name) for name in columns]).join(Contact)
    rows = rows.where(by_id(contact_id, allowed_accounts))
    return [*rows.order_by(ContactIdentifier.kind, ContactIdentifier.first_seen_at).dicts()]


@reading()
def _list_messages(contact_id: str, allowed_accounts: AllowedAccounts, after: Row | None) -> list[Row]:
    page = first_within_bytes(
        messages.list_after(contact_id, allowed_accounts, _PAGE, None, after), _PAGE, "content", "error"
    )
    if not page:
        require_contact(contact_id, allowed_accounts)
    return [{**each, "contact_id": contact_id} for each in page]


@reading()
def _list_merges(contact_id: str, allowed_accounts: AllowedAccounts) -> list[Row]:
    """The merges, each with what undoing it needs."""
    merges = list_merges(contact_id, allowed_accounts=allowed_accounts)
    rows = ContactMerge.select(ContactMerge.source_id, ContactMerge.snapshot).join(Contact)
    snapshots = dict(rows.where(by_id(contact_id, allowed_accounts)).tuples())
    return [{**merge, "snapshot": snapshots.get(merge["source_id"])} for merge in merges]
