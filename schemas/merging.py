"""Contacts that become one, and pairs that may be one person."""

from marshmallow import Schema, fields, validate

from schemas.constants import DUPLICATE_REASONS
from schemas.contacts import Contact, ContactSummary
from schemas.envelope import Answer, RequestSchema, items_per_page
from schemas.examples import CONTACT_ID, OTHER_CONTACT_ID
from schemas.fields import BoundedList, Choice, StrictBoolean, Text, Uuid, UuidOrNone, doc


class ContactMergeRequest(Schema):
    """Which contact ends."""

    EXAMPLE = {"source_id": OTHER_CONTACT_ID}
    source_id = Uuid(required=True, metadata=doc("The contact that ends; the other one survives.", OTHER_CONTACT_ID))
    dry_run = StrictBoolean(load_default=False, metadata=doc("Answer the same and write nothing.", True))


class MergeResult(Answer):
    """What a merge moves."""

    EXAMPLE = {"source_id": OTHER_CONTACT_ID, "fields": ["bsuid", "metadata"], "messages": 12, "sessions": 1}
    source_id = fields.UUID()
    fields_ = fields.List(fields.String(), data_key="fields", metadata=doc("Fields that the source fills or extends."))
    messages = fields.Integer(strict=True, metadata=doc("How many move."))
    sessions = fields.Integer(strict=True, metadata=doc("How many move."))


class MergedContact(Contact):
    """The surviving contact."""

    EXAMPLE = {**Contact.EXAMPLE, "merge": MergeResult.EXAMPLE}
    merge = fields.Nested(MergeResult)


class Merge(Answer):
    """A contact that ended by a merge."""

    EXAMPLE = {
        "source_id": OTHER_CONTACT_ID,
        "merged_into": CONTACT_ID,
        "at": "2024-01-01T12:00:00Z",
        "actor": "agent desktop",
        "undo_until": "2024-01-31T12:00:00Z",
        "messages": 12,
        "sessions": 1,
    }
    source_id = fields.UUID()
    merged_into = fields.UUID(metadata=doc("This contact, or one that was itself merged into it later."))
    at = fields.AwareDateTime()
    actor = fields.String(allow_none=True, metadata=doc("The name of the key; null without one."))
    undo_until = fields.AwareDateTime()
    messages = fields.Integer(strict=True)
    sessions = fields.Integer(strict=True)


class MergeList(Answer):
    """Contacts that ended in one, the latest first."""

    EXAMPLE = {"items": [Merge.EXAMPLE]}
    items = fields.List(fields.Nested(Merge))


class DuplicateListQuery(RequestSchema):
    limit = items_per_page(20)
    account_id = UuidOrNone(metadata=doc("Only contacts of this account; none: of no account.", "none"))
    cursor = Text(
        max_length=37,
        pattern=r"^[0-9]{1,18}-[0-9]{1,18}$",
        metadata=doc("The next_cursor of an earlier page.", "17-42"),
    )


class Duplicate(Answer):
    """Two contacts that may be one person."""

    EXAMPLE = {
        "contacts": [ContactSummary.EXAMPLE, {**ContactSummary.EXAMPLE, "id": OTHER_CONTACT_ID}],
        "reasons": ["identity_conflict"],
        "seen_at": "2024-01-01T12:00:00Z",
    }
    contacts = fields.List(
        fields.Nested(ContactSummary),
        validate=validate.Length(equal=2),
        metadata=doc("The one that was created first stands first."),
    )
    reasons = fields.List(
        Choice("DuplicateReason", DUPLICATE_REASONS),
        metadata=doc(
            "identity_conflict: WhatsApp gave identifiers of both for one person; phone_variant: their "
            "numbers are two ways to write one."
        ),
    )
    seen_at = fields.AwareDateTime(metadata=doc("When it was first noticed."))


class DuplicatePage(Answer):
    """A part of the list of pairs."""

    EXAMPLE = {"items": [Duplicate.EXAMPLE], "next_cursor": None}
    items = fields.List(fields.Nested(Duplicate))
    next_cursor = fields.String(allow_none=True, metadata=doc("Null on the last page."))


class DuplicateDismiss(Schema):
    """A pair that is two persons."""

    EXAMPLE = {"ids": [CONTACT_ID, OTHER_CONTACT_ID]}
    ids = BoundedList(
        Uuid(),
        max_items=2,
        required=True,
        validate=validate.Length(equal=2),
        metadata=doc("The two contacts.", [CONTACT_ID, OTHER_CONTACT_ID]),
    )
