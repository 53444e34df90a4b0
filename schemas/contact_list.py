"""Reading contacts page by page."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields

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
from schemas.envelope import Cursor, PageQuery, RequestSchema, page_of
from schemas.examples import CONTACT_ID, USER_ID
from schemas.fields import (
    UUID_PATTERN,
    Choice,
    CommaSeparated,
    QueryBoolean,
    Text,
    UtcDateTime,
    UuidOrNone,
    doc,
    why_not_storable,
)

METADATA_PREFIX = "metadata."
_MAX_METADATA_FILTERS = 5


class MetadataFilter(fields.Dict):
    """In a query: parameters ``metadata.KEY``, loaded as texts by key."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if len(value) > _MAX_METADATA_FILTERS:
            raise ValidationError(f"More than {_MAX_METADATA_FILTERS} keys.")
        texts = {name.removeprefix(METADATA_PREFIX): text for name, text in value.items()}
        errors = {
            key: [why_not_storable(key + text) if isinstance(text, str) else "Not a valid string."]
            for key, text in texts.items()
            if not isinstance(text, str) or why_not_storable(key + text)
        }
        if errors:
            raise ValidationError(errors)
        return texts


def time_filter(what: str) -> UtcDateTime:
    return UtcDateTime(metadata=doc(what, "2024-01-01T00:00:00Z"))


class ContactFilters(RequestSchema):
    """Which contacts, by the names and texts of the list's query parameters."""

    EXAMPLE = {"tags": "vip,new", "unread": "true", "metadata.plan": "gold"}
    search = Text(
        max_length=1000,
        metadata=doc(
            f"Up to {MAX_SEARCH_WORDS} words that all have to appear, in any order and as any part, in "
            "the name, the profile name, the username or the phone number; case and accents don't matter. A phone "
            "number may be written in any way.",
            "john",
        ),
    )
    account_id = UuidOrNone(metadata=doc("Only the contacts of this WhatsApp account; none: of no account.", "none"))
    assigned_to = UuidOrNone(metadata=doc("Only those this user looks after; none: no one does.", USER_ID))
    tags = CommaSeparated(
        item_pattern=TAG_PATTERN,
        max_items=50,
        max_length=2550,
        metadata=doc("Only those with any of these tags, separated by commas.", "vip,new"),
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
        metadata=doc("Only these contacts, separated by commas, at most 100.", CONTACT_ID),
    )
    created_after = time_filter("Only those that were created then or later.")
    created_before = time_filter("Only those that were created earlier.")
    last_message_after = time_filter("Only those whose newest message is of then or later.")
    last_message_before = time_filter("Only those whose newest message is older, or that have none.")
    last_inbound_after = time_filter("Only those that wrote then or later.")
    last_inbound_before = time_filter("Only those that wrote last before, or never.")
    unread = QueryBoolean(metadata=doc("Whether there are unread messages.", "true"))
    marketing_opt_out = QueryBoolean(metadata=doc("Whether the contact wants no marketing.", "false"))
    metadata = MetadataFilter(
        metadata={
            "description": "Only those whose metadata has this text, number, true, false or null at its top: "
            "`metadata.plan=gold`, at most five.",
            "propertyNames": {"pattern": r"^metadata\."},
            "example": {"metadata.plan": "gold"},
        }
    )

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Collect the parameters that are named after keys of metadata."""
        if isinstance(data, Mapping) and any(name.startswith("metadata") for name in data):
            if "metadata" in data:
                raise ValidationError({"metadata": ["Unknown field."]})
            found = {name: value for name, value in data.items() if name.startswith(METADATA_PREFIX)}
            data = {**{name: value for name, value in data.items() if name not in found}, "metadata": found}
        return super().load(data, **kwargs)


class ContactListQuery(ContactFilters, PageQuery):
    cursor = Cursor(
        "The next_cursor of an earlier page with the same filters and sort.",
        "TsgdeNoPWzEsbnVsbCwiMjAyNC0wMS0wMVQxMjowMDowMFoiXQ",
    )
    sort = Choice(
        "ContactSort",
        ["recent", "created", "-created"],
        metadata=doc("recent: newest message first; created: oldest contact first; -created: newest first."),
    )


ContactPage = page_of(ContactSummary, "ContactPage")
