"""The columns of the tables of contacts. Their indexes and constraints are written in the migrations alone."""

from collections.abc import Callable
from typing import Any

from peewee import BigAutoField, BigIntegerField, BooleanField, CompositeKey, ForeignKeyField, IntegerField, TextField

from contacts_service.db.caller import limited_to
from contacts_service.db.database import BaseModel
from contacts_service.db.fields import IdField, JSONTextField, OrderedTextField, UtcDateTimeField

NO_ACCOUNT = "none"
"""Stands for contacts of no account where others have the id of their account."""

IDENTIFIER_KINDS = ("phone_number", "bsuid", "parent_bsuid", "external_id")
# WhatsApp never assigns these again, so a former one still identifies its contact. Operators give phone numbers to
# other people.
KEPT_KINDS = {"bsuid", "parent_bsuid"}


class Contact(BaseModel):
    pk = BigAutoField()  # FTS5 and foreign keys want a small integer; callers see only the id.
    id = IdField()
    account_id = IdField(null=True)
    phone_number = TextField(null=True)
    bsuid = TextField(null=True)
    parent_bsuid = TextField(null=True)
    external_id = TextField(null=True)
    username = TextField(null=True)
    name = TextField(null=True)
    profile_name = TextField(null=True)
    avatar_url = TextField(null=True)
    assigned_to = IdField(null=True)
    tags = JSONTextField()
    marketing_opt_out = BooleanField()
    marketing_opt_out_at = UtcDateTimeField(null=True)  # When that was said; null while nothing was.
    marketing_opt_out_source = TextField(null=True)
    metadata = JSONTextField()
    search_text = TextField()
    last_message_at = UtcDateTimeField(null=True)
    recency = UtcDateTimeField()  # Generated: last_message_at, or for contacts without a message 0001-01-01.
    last_message_key = OrderedTextField(null=True)  # Orders messages of the same time.
    last_message_preview = TextField(null=True)
    last_inbound_at = UtcDateTimeField(null=True)
    unread_count = IntegerField()
    created_at = UtcDateTimeField()
    updated_at = UtcDateTimeField()
    version = IntegerField()
    # The other columns are read by triggers, see db/migrations/initial_changes.py.
    change_seq = BigIntegerField()  # Orders the change feed.
    changed_by = TextField(null=True)  # The name of the key that made the last change.
    on_behalf_of = TextField(null=True)


class ContactTag(BaseModel):
    """Finds contacts by tag; the contact has its tags as JSON too, in their order."""

    contact = ForeignKeyField(Contact)
    tag = TextField()

    class Meta:
        primary_key = CompositeKey("contact", "tag")


class ContactMetadata(BaseModel):
    """Finds contacts by the scalars at the top of their metadata, see ``filters.metadata_terms``."""

    term = BigIntegerField()
    contact = ForeignKeyField(Contact)

    class Meta:
        primary_key = CompositeKey("term", "contact")


class ContactIdentifier(BaseModel):
    """Whose an identifier is. The primary key decides; the columns of a contact copy its current identifiers.

    Changing the identifiers of a contact requires the lock of the contact's row.
    """

    account = TextField()  # As in ContactCount.
    kind = TextField()
    value = TextField()
    contact = ForeignKeyField(Contact)
    current = BooleanField()  # Former ones find the contact too; a former phone number until another contact gets it.
    said_at = UtcDateTimeField(null=True)  # When WhatsApp said that it is current, by its own time if it gave one.
    first_seen_at = UtcDateTimeField()
    last_seen_at = UtcDateTimeField()
    replaced_in = IdField(null=True)  # The merge, by its source, since when another one is current instead.

    class Meta:
        primary_key = CompositeKey("account", "kind", "value")


class ContactDuplicate(BaseModel):
    """Two contacts that may be one person, the one of the smaller key first."""

    contact_a = ForeignKeyField(Contact)
    contact_b = ForeignKeyField(Contact)
    reason = TextField()
    seen_at = UtcDateTimeField()
    dismissed = BooleanField()

    class Meta:
        primary_key = CompositeKey("contact_a", "contact_b", "reason")


class ContactMerge(BaseModel):
    """A contact that ended because it was merged into another. Ids of ended contacts lead to the survivor by it.

    Tables whose rows move with a contact have a column ``merged_from``: the ended contact that a row was stored for.
    """

    source_id = IdField(primary_key=True)
    merged_into = IdField()
    survivor = ForeignKeyField(Contact)  # At the end of the chain, if merged_into was itself merged into another.
    at = UtcDateTimeField()
    actor = TextField(null=True)
    messages = IntegerField()
    sessions = IntegerField()
    unread_count = IntegerField()  # The source's part of the survivor's; 0 since the survivor was marked as read.
    # The words on marketing that the two had, as JSON; see merges/undo.py.
    survivor_consent = TextField()
    source_consent = TextField()
    snapshot = JSONTextField(null=True)  # What undoing needs; null when it is too late for that.


class ContactCount(BaseModel):
    """How many contacts an account has, and how many of them are assigned to no one. Triggers keep it."""

    account = TextField()
    slot = IntegerField()  # The count of an account is spread over slots, or writers would wait for one another.
    contacts = BigIntegerField()
    unassigned = BigIntegerField()

    class Meta:
        primary_key = CompositeKey("account", "slot")


class ContactEvent(BaseModel):
    """Who changed which fields of a contact. Written by triggers."""

    contact = ForeignKeyField(Contact)
    version = IntegerField()  # The contact's, since the change.
    at = UtcDateTimeField()
    kind = TextField()
    fields = JSONTextField()
    actor = TextField(null=True)
    on_behalf_of = TextField(null=True)

    class Meta:
        primary_key = CompositeKey("contact", "version")


class ContactTombstone(BaseModel):
    """Tells the change feed that a contact was deleted or merged. Written by a trigger."""

    id = IdField(primary_key=True)
    pk = BigIntegerField()
    account_id = IdField(null=True)
    change_seq = BigIntegerField()
    ended_at = UtcDateTimeField()


class ChangeFeed(BaseModel):
    """One row with the state of the change feed. See docs/decisions/change-feed.md."""

    generation = TextField(primary_key=True)  # Random; renewed after a restore.
    base = BigIntegerField()  # SQLite: the last change_seq given; PostgreSQL: added to transaction ids.
    horizon = BigIntegerField()  # Tombstones up to this change_seq were deleted.


ORDERS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "recent": lambda columns: (columns.recency.desc(), columns.created_at.desc(), columns.id),
    "created": lambda columns: (columns.created_at, columns.id),
    "-created": lambda columns: (columns.created_at.desc(), columns.id.desc()),
}
"""The orders of lists by what ``sort`` calls them."""

SUMMARY_COLUMNS = (
    Contact.id,
    Contact.phone_number,
    Contact.bsuid,
    Contact.parent_bsuid,
    Contact.external_id,
    Contact.username,
    Contact.name,
    Contact.profile_name,
    Contact.avatar_url,
    Contact.account_id,
    Contact.assigned_to,
    Contact.tags,
    Contact.marketing_opt_out,
    Contact.marketing_opt_out_at,
    Contact.marketing_opt_out_source,
    Contact.last_message_at,
    Contact.last_message_preview,
    Contact.last_inbound_at,
    Contact.unread_count,
    Contact.created_at,
    Contact.updated_at,
    Contact.version,
)
ALL_COLUMNS = (*SUMMARY_COLUMNS, Contact.metadata)
INTERNAL_COLUMNS = (Contact.pk, Contact.last_message_key)
"""Columns that use cases need and callers never see."""


def by_id(contact_id: Any, allowed_accounts: Any) -> Any:
    """Condition: the contact with this id, if the caller may see it."""
    return limited_to(Contact.id == contact_id, Contact.account_id, allowed_accounts)
