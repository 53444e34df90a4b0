"""A contact: a WhatsApp user that a business communicates with."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from schemas.constants import CONSENT_SOURCES, MAX_TAGS
from schemas.envelope import Answer, RequestSchema
from schemas.examples import ACCOUNT_ID, CONTACT_ID, USER_ID
from schemas.fields import Choice, JsonObject, PhoneNumber, StrictBoolean, Text, UniqueList, UtcDateTime, Uuid, doc


def at_least_one_of(*names: str) -> dict[str, Any]:
    """Say in the OpenAPI document that these properties are not all missing or null.

    Client generators ignore if and then; of anyOf they would make a union of types, and of not some fail.
    """
    *others, last = names
    return {
        "if": {"properties": {name: {"type": "null"} for name in others}},
        "then": {"required": [last], "properties": {last: {"type": "string"}}},
    }


HTTP_URL_PATTERN = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\u0000-\u0020]+$"
TAG_PATTERN = r"[^,\u0000]{1,50}"
# Meta's documentation, "Business-scoped user IDs": the user's country, a period and up to 128 letters and digits; that
# of linked business portfolios has ENT behind the country.
BSUID_PATTERN = r"^[A-Z]{2}\.[A-Za-z0-9]{1,128}$"
PARENT_BSUID_PATTERN = r"^[A-Z]{2}\.ENT\.[A-Za-z0-9]{1,128}$"


def text_field(what: str, example: str, **kwargs: Any) -> Text:
    kwargs = {"max_length": 255, "allow_none": True, **kwargs}
    return Text(**kwargs, metadata=doc(what, example))


def tag_field(**kwargs: Any) -> Text:
    return Text(max_length=50, min_length=1, pattern=f"^{TAG_PATTERN}$", **kwargs)


def bsuid_field(what: str = "WhatsApp's business-scoped user id; an account has it once.", **kwargs: Any) -> Text:
    return text_field(what, "US.13491208655302741918", max_length=150, pattern=BSUID_PATTERN, **kwargs)


def parent_bsuid_field(
    what: str = "WhatsApp's user id across linked business portfolios; an account has it once.", **kwargs: Any
) -> Text:
    return text_field(what, "US.ENT.11815799212886844830", max_length=150, pattern=PARENT_BSUID_PATTERN, **kwargs)


def external_id_field(what: str = "Your own key for this person; an account has it once.", **kwargs: Any) -> Text:
    return text_field(what, "CRM-1234", min_length=1, **kwargs)


def avatar_url_field() -> Text:
    example = "https://example.com/john.jpg"
    return text_field("The profile picture.", example, max_length=2048, pattern=HTTP_URL_PATTERN)


def phone_number_field(**kwargs: Any) -> PhoneNumber:
    what = "Stored as E.164. Spaces, dots, dashes, brackets, a leading 00 and WhatsApp's bare digits are understood."
    return PhoneNumber(metadata=doc(what, "+1234567890"), **kwargs)


class ConsentTime(UtcDateTime):
    """The time of a word on marketing, which has to come with it."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if data is not None and "marketing_opt_out" not in data:
            raise ValidationError("Send marketing_opt_out with it.")
        return super()._deserialize(value, attr, data, **kwargs)


class Consent(RequestSchema):
    """May hold a word on marketing."""

    class Meta:
        json_schema = {"dependentRequired": {"marketing_opt_out_at": ["marketing_opt_out"]}}

    marketing_opt_out = StrictBoolean(metadata=doc("Wants no marketing.", False))
    marketing_opt_out_at = ConsentTime(
        metadata=doc(
            "When that was said, by default now, which is also the latest. The newest word counts.",
            "2024-01-01T12:00:00Z",
        )
    )


class ContactFields(Consent):
    """What a caller may say of a contact."""

    phone_number = phone_number_field(allow_none=True)
    bsuid = bsuid_field()
    parent_bsuid = parent_bsuid_field()
    external_id = external_id_field()
    name = text_field("What people call the contact.", "John Doe")
    profile_name = text_field("What WhatsApp calls the contact.", "John")
    username = text_field("The user's WhatsApp username, which may change.", "john.doe")
    avatar_url = avatar_url_field()
    tags = UniqueList(tag_field(), max_items=MAX_TAGS, metadata=doc("Replaced whole; each counts once.", ["vip"]))
    metadata = JsonObject(metadata=doc("Anything the business keeps about a contact.", {"plan": "gold"}))


class ContactCreate(ContactFields):
    """A new contact, with a phone number or a bsuid."""

    EXAMPLE = {
        "phone_number": "+1234567890",
        "name": "John Doe",
        "account_id": ACCOUNT_ID,
        "metadata": {"custom_field": "value"},
    }

    class Meta:
        json_schema = at_least_one_of("phone_number", "bsuid")

    account_id = Uuid(allow_none=True, metadata=doc("The WhatsApp account.", ACCOUNT_ID))

    @validates_schema
    def _require_identifier(self, data: dict[str, Any], **_: Any) -> None:
        if not data.get("phone_number") and not data.get("bsuid"):
            raise ValidationError("Send a phone_number or a bsuid.", "phone_number")


class ContactUpdate(ContactFields):
    """The fields to change; ``metadata`` is replaced whole."""

    EXAMPLE = {"name": "John Smith", "metadata": {"custom_field": "updated_value"}}

    class Meta:
        json_schema = {"minProperties": 1}  # For the OpenAPI document.

    @validates_schema
    def _require_change(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("Send at least one field to change.")


class ContactPatch(ContactUpdate):
    """A JSON Merge Patch (RFC 7396): ``metadata`` is merged, and null removes a key of it."""

    EXAMPLE = {"metadata": {"custom_field": None, "plan": "gold"}}


class ContactAssign(Schema):
    EXAMPLE = {"user_id": USER_ID}
    user_id = Uuid(
        required=True,
        allow_none=True,
        metadata=doc("Who looks after the contact from now on; null for no one.", USER_ID),
    )


class ContactSummary(Answer):
    """A contact as lists show it."""

    EXAMPLE: dict[str, Any] = {
        "id": CONTACT_ID,
        "phone_number": "+1234567890",
        "name": "John Doe",
        "bsuid": "US.13491208655302741918",
        "parent_bsuid": None,
        "external_id": "CRM-1234",
        "username": "john.doe",
        "profile_name": "John",
        "avatar_url": "https://example.com/john.jpg",
        "account_id": ACCOUNT_ID,
        "assigned_to": USER_ID,
        "tags": ["vip"],
        "marketing_opt_out": False,
        "marketing_opt_out_at": "2024-01-01T12:00:00Z",
        "marketing_opt_out_source": "whatsapp",
        "last_message_at": "2024-01-01T12:00:00Z",
        "last_message_preview": "Where is my order?",
        "last_inbound_at": "2024-01-01T12:00:00Z",
        "unread_count": 1,
        "service_window_open": True,
        "service_window_expires_at": "2024-01-02T12:00:00Z",
        "created_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-01-01T12:00:00Z",
        "version": 3,
    }
    id = fields.UUID()
    phone_number = fields.String(allow_none=True, metadata=doc("E.164."))
    name = fields.String(allow_none=True, metadata=doc("What people call the contact."))
    profile_name = fields.String(allow_none=True, metadata=doc("What WhatsApp calls the contact."))
    avatar_url = fields.String(allow_none=True)
    account_id = fields.UUID(allow_none=True)
    assigned_to = fields.UUID(allow_none=True, metadata=doc("The user who looks after the contact."))
    bsuid = fields.String(allow_none=True, metadata=doc("WhatsApp's business-scoped user id."))
    parent_bsuid = fields.String(allow_none=True, metadata=doc("The one across linked business portfolios."))
    external_id = fields.String(allow_none=True, metadata=doc("The caller's own key."))
    username = fields.String(allow_none=True)
    tags = fields.List(fields.String())
    marketing_opt_out = fields.Boolean(metadata=doc("Wants no marketing."))
    marketing_opt_out_at = fields.AwareDateTime(
        allow_none=True, metadata=doc("When that was said; null while nothing was.")
    )
    marketing_opt_out_source = Choice("ConsentSource", CONSENT_SOURCES, allow_none=True, metadata=doc("Who said it."))
    last_message_at = fields.AwareDateTime(allow_none=True, metadata=doc("When the newest message was written."))
    last_message_preview = fields.String(
        allow_none=True, metadata=doc("Its text, caption or kind, at most 100 characters.")
    )
    last_inbound_at = fields.AwareDateTime(allow_none=True, metadata=doc("When the contact wrote last."))
    unread_count = fields.Integer(strict=True, metadata=doc("Incoming messages recorded since mark-read."))
    service_window_open = fields.Boolean(metadata=doc("Whether the contact wrote within the last 24 hours."))
    service_window_expires_at = fields.AwareDateTime(allow_none=True, metadata=doc("24 hours after last_inbound_at."))
    created_at = fields.AwareDateTime()
    updated_at = fields.AwareDateTime()
    version = fields.Integer(strict=True, metadata=doc("Rises with every change."))


class Contact(ContactSummary):
    """A contact, whole."""

    EXAMPLE = {**ContactSummary.EXAMPLE, "metadata": {"custom_field": "value"}}
    metadata = fields.Dict(keys=fields.String())
