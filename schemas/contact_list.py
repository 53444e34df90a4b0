"""Reading contacts page by page."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from schemas.contacts import (
    CONTACT_ID,
    TAG_FORM,
    USER_ID,
    ContactSummary,
    bsuid_field,
    phone_number_field,
)
from schemas.envelope import cursor_page_of
from schemas.fields import UUID_FORM, CommaSeparated, IdOrNone, QueryInteger, Text

# An OFFSET beyond 64 bits is no number to either database; nobody pages this far.
LAST_PAGE = 10**12


class ContactListQuery(Schema):
    page = QueryInteger(
        least=1, most=LAST_PAGE, metadata={"description": "Page number, by default 1; not with cursor.", "example": 1}
    )
    cursor = Text(
        longest=1000,
        shortest=1,
        metadata={
            "description": "The next_cursor of an earlier page with the same filters and sort.",
            "example": "TsgdeNoPWzEsbnVsbCwiMjAyNC0wMS0wMVQxMjowMDowMFoiXQ",
        },
    )
    limit = QueryInteger(least=1, most=100, load_default=20, metadata={"description": "Items per page.", "example": 20})
    sort = fields.String(
        validate=validate.OneOf(["recent", "created"]),
        metadata={"description": "recent: newest message first; created: oldest contact first.", "example": "recent"},
    )
    search = Text(
        longest=1000,
        metadata={
            "description": "Words that all have to appear, in any order and as any part, in the name, the profile "
            "name or the phone number; case and accents don't matter. A phone number may be written in any way.",
            "example": "john",
        },
    )
    account_id = IdOrNone(
        metadata={"description": "Only the contacts of this WhatsApp account; none: of no account.", "example": "none"}
    )
    assigned_to = IdOrNone(
        metadata={"description": "Only those this user looks after; none: nobody does.", "example": USER_ID}
    )
    tags = CommaSeparated(
        form=TAG_FORM,
        most=50,
        longest=2550,
        metadata={"description": "Only those with any of these tags, separated by commas.", "example": "vip,new"},
    )
    phone_number = phone_number_field()
    bsuid = bsuid_field("Only the contact with this business-scoped user id.")
    ids = CommaSeparated(
        form=UUID_FORM.pattern,
        most=100,
        longest=3699,
        metadata={"description": "Only these contacts, separated by commas, at most 100.", "example": CONTACT_ID},
    )

    @validates_schema
    def _page_or_cursor(self, data: dict[str, Any], **_: Any) -> None:
        if "page" in data and "cursor" in data:
            raise ValidationError("Send page or cursor, not both.", "cursor")


ContactPage = cursor_page_of(ContactSummary, "ContactPage")
