"""Who somebody is, by what WhatsApp says."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from schemas.contacts import (
    Consent,
    Contact,
    at_least_one_of,
    avatar_url_field,
    bsuid_field,
    external_id_field,
    parent_bsuid_field,
    phone_number_field,
    text_field,
)
from schemas.envelope import Answer
from schemas.examples import ACCOUNT_ID
from schemas.fields import Choice, Uuid, doc

MATCHED_BY = ["bsuid", "previous_bsuid", "parent_bsuid", "external_id", "phone_number", "phone_variant"]
FINDING = ("phone_number", "bsuid", "parent_bsuid", "external_id")


def on_conflict_field() -> Choice:
    what = "When identifiers belong to several contacts: report them, which is the default, or make them one contact."
    return Choice("OnConflict", ["report", "merge"], metadata=doc(what, "merge"))


class Findable(Schema):
    """Has an identifier."""

    @validates_schema
    def _require_identifier(self, data: dict[str, Any], **_: Any) -> None:
        if not any(data.get(kind) for kind in FINDING):
            raise ValidationError(f"Send a {', '.join(FINDING[:-1])} or {FINDING[-1]}.", "phone_number")


class ContactIdentity(Findable, Consent):
    """Who somebody is, as WhatsApp says."""

    EXAMPLE: dict[str, Any] = {"phone_number": "1234567890", "bsuid": "US.13491208655302741918", "profile_name": "John"}

    class Meta:
        json_schema = at_least_one_of(*FINDING)

    phone_number = phone_number_field(allow_none=True)
    bsuid = bsuid_field()
    previous_bsuid = bsuid_field("The bsuid that the user had before this one.")
    parent_bsuid = parent_bsuid_field()
    external_id = external_id_field()
    profile_name = text_field("What WhatsApp calls the contact.", "John")
    username = text_field("The user's WhatsApp username.", "john.doe")
    avatar_url = avatar_url_field()


class ContactResolve(ContactIdentity):
    """Who somebody is, as WhatsApp says, and in which account."""

    EXAMPLE: dict[str, Any] = {"account_id": ACCOUNT_ID, **ContactIdentity.EXAMPLE}
    account_id = Uuid(allow_none=True, metadata=doc("The WhatsApp account.", ACCOUNT_ID))
    on_conflict = on_conflict_field()


class Resolution(Answer):
    """How a contact was found, and what that changed."""

    EXAMPLE: dict[str, Any] = {"matched_by": "phone_number", "replaced": {}, "conflict_with": [], "merged": []}
    matched_by = Choice(
        "MatchedBy",
        MATCHED_BY,
        allow_none=True,
        metadata=doc("By what the contact was found; null when it is new, or the message is known."),
    )
    replaced = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata=doc("The identifiers that were replaced, by kind.", {"bsuid": "US.1A2b3C"}),
    )
    conflict_with = fields.List(
        fields.UUID(), metadata=doc("Other contacts that have some of the identifiers, and keep them.")
    )
    merged = fields.List(fields.UUID(), metadata=doc("Contacts that ended, as they became one with this."))


class ResolvedContact(Contact, Resolution):
    """A contact and how it was found."""

    EXAMPLE = {**Contact.EXAMPLE, **Resolution.EXAMPLE}
