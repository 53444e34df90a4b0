"""Reading contacts page by page."""

from schemas.constants import MAX_SEARCH_WORDS
from schemas.contacts import (
    TAG_PATTERN,
    ContactSummary,
    bsuid_field,
    external_id_field,
    parent_bsuid_field,
    phone_number_field,
    text_field,
)
from schemas.envelope import PageOrCursor, items_per_page, page_of
from schemas.examples import CONTACT_ID, USER_ID
from schemas.fields import UUID_PATTERN, Choice, CommaSeparated, Text, UuidOrNone


class ContactListQuery(PageOrCursor):
    cursor = Text(
        max_length=1000,
        min_length=1,
        metadata={
            "description": "The next_cursor of an earlier page with the same filters and sort.",
            "example": "TsgdeNoPWzEsbnVsbCwiMjAyNC0wMS0wMVQxMjowMDowMFoiXQ",
        },
    )
    limit = items_per_page(20)
    sort = Choice(
        "ContactSort",
        ["recent", "created"],
        metadata={"description": "recent: newest message first; created: oldest contact first."},
    )
    search = Text(
        max_length=1000,
        metadata={
            "description": f"Up to {MAX_SEARCH_WORDS} words that all have to appear, in any order and as any part, in "
            "the name, the profile name, the username or the phone number; case and accents don't matter. A phone "
            "number may be written in any way.",
            "example": "john",
        },
    )
    account_id = UuidOrNone(
        metadata={"description": "Only the contacts of this WhatsApp account; none: of no account.", "example": "none"}
    )
    assigned_to = UuidOrNone(
        metadata={"description": "Only those this user looks after; none: no one does.", "example": USER_ID}
    )
    tags = CommaSeparated(
        item_pattern=TAG_PATTERN,
        max_items=50,
        max_length=2550,
        metadata={"description": "Only those with any of these tags, separated by commas.", "example": "vip,new"},
    )
    phone_number = phone_number_field()
    bsuid = bsuid_field("Only the contact with this business-scoped user id.", allow_none=False)
    parent_bsuid = parent_bsuid_field("Only the contact with this id across business portfolios.", allow_none=False)
    external_id = external_id_field("Only the contact with this key of yours.", allow_none=False)
    username = text_field(
        "Only contacts with exactly this WhatsApp username.", "john.doe", min_length=1, allow_none=False
    )
    ids = CommaSeparated(
        item_pattern=UUID_PATTERN.pattern,
        max_items=100,
        max_length=3699,
        metadata={"description": "Only these contacts, separated by commas, at most 100.", "example": CONTACT_ID},
    )


ContactPage = page_of(ContactSummary, "ContactPage")
