"""A contact: a WhatsApp user that a business communicates with."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from schemas.envelope import Answer, page_of
from schemas.fields import Id, JsonObject, PhoneNumber, QueryInteger, Text

CONTACT_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
ACCOUNT_ID = "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a10"
USER_ID = "2b7d9a52-2f0c-4d55-8a6f-0c7c4e3f1d11"

# An OFFSET beyond 64 bits is no number to either database; nobody pages this far.
LAST_PAGE = 10**12


def _name(what: str, example: str) -> Text:
    return Text(longest=255, allow_none=True, metadata={"description": what, "example": example})


def _web_address() -> Text:
    return Text(
        longest=2048,
        pattern=r"^https?://[!-~]+$",
        allow_none=True,
        metadata={"description": "The profile picture.", "example": "https://example.com/john.jpg"},
    )


def _metadata(**kwargs: Any) -> JsonObject:
    return JsonObject(
        metadata={"description": "Anything the business keeps about a contact.", "example": {"plan": "gold"}},
        **kwargs,
    )


class ContactListQuery(Schema):
    page = QueryInteger(least=1, most=LAST_PAGE, load_default=1, metadata={"description": "Page number.", "example": 1})
    limit = QueryInteger(least=1, most=100, load_default=20, metadata={"description": "Items per page.", "example": 20})
    search = Text(
        longest=1000,
        metadata={
            "description": "Words that all have to appear, in any order and as any part, in the name, the profile "
            "name or the phone number; case and accents don't matter. A phone number may be written in any way.",
            "example": "john",
        },
    )
    account_id = Id(metadata={"description": "Only the contacts of this WhatsApp account.", "example": ACCOUNT_ID})


class ContactCreate(Schema):
    EXAMPLE = {
        "phone_number": "+1234567890",
        "name": "John Doe",
        "account_id": ACCOUNT_ID,
        "metadata": {"custom_field": "value"},
    }
    phone_number = PhoneNumber(
        required=True,
        metadata={
            "description": "Stored as E.164. Spaces, dots, dashes, brackets, a leading 00 and the bare digits that "
            "WhatsApp sends are understood.",
            "example": "+1234567890",
        },
    )
    name = _name("What people call the contact.", "John Doe")
    account_id = Id(allow_none=True, metadata={"description": "The WhatsApp account.", "example": ACCOUNT_ID})
    metadata = _metadata()


class ContactUpdate(Schema):
    """The fields to change; ``metadata`` is replaced whole."""

    EXAMPLE = {"name": "John Smith", "metadata": {"custom_field": "updated_value"}}
    name = _name("What people call the contact.", "John Smith")
    profile_name = _name("What WhatsApp calls the contact.", "John")
    avatar_url = _web_address()
    metadata = _metadata()

    class Meta:
        json_schema = {"minProperties": 1}  # For the OpenAPI document.

    @validates_schema
    def _changes_something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("Send at least one field to change.")


class ContactAssign(Schema):
    EXAMPLE = {"user_id": USER_ID}
    user_id = Id(
        required=True,
        allow_none=True,
        metadata={"description": "Who looks after the contact from now on; null for nobody.", "example": USER_ID},
    )


class ContactSummary(Answer):
    """A contact as lists show it."""

    EXAMPLE: dict[str, Any] = {
        "id": CONTACT_ID,
        "phone_number": "+1234567890",
        "name": "John Doe",
        "profile_name": "John",
        "avatar_url": "https://example.com/john.jpg",
        "account_id": ACCOUNT_ID,
        "assigned_to": USER_ID,
        "last_message_at": "2024-01-01T12:00:00Z",
        "created_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-01-01T12:00:00Z",
    }
    id = fields.UUID(required=True)
    phone_number = fields.String(required=True, allow_none=True, metadata={"description": "E.164."})
    name = fields.String(required=True, allow_none=True, metadata={"description": "What people call the contact."})
    profile_name = fields.String(
        required=True, allow_none=True, metadata={"description": "What WhatsApp calls the contact."}
    )
    avatar_url = fields.String(required=True, allow_none=True)
    account_id = fields.UUID(required=True, allow_none=True)
    assigned_to = fields.UUID(
        required=True, allow_none=True, metadata={"description": "The user who looks after the contact."}
    )
    last_message_at = fields.AwareDateTime(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)


class Contact(ContactSummary):
    """A contact, whole."""

    EXAMPLE = {**ContactSummary.EXAMPLE, "metadata": {"custom_field": "value"}}
    metadata = fields.Dict(required=True, keys=fields.String())


ContactPage = page_of(ContactSummary, "ContactPage")
