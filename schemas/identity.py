"""Who somebody is, by what WhatsApp says."""

from schemas.contacts import (
    IDENTIFIED,
    Contact,
    Identified,
    avatar_url_field,
    bsuid_field,
    phone_number_field,
    text_field,
)
from schemas.examples import ACCOUNT_ID
from schemas.fields import Choice, Uuid

MATCHED_BY = ["bsuid", "previous_bsuid", "phone_number", "phone_variant"]


def matched_by_field(what: str) -> Choice:
    return Choice("MatchedBy", MATCHED_BY, required=True, allow_none=True, metadata={"description": what})


class ContactResolve(Identified):
    """Who somebody is, as WhatsApp says."""

    EXAMPLE = {
        "account_id": ACCOUNT_ID,
        "phone_number": "1234567890",
        "bsuid": "US.13491208655302741918",
        "profile_name": "John",
    }
    account_id = Uuid(allow_none=True, metadata={"description": "The WhatsApp account.", "example": ACCOUNT_ID})
    phone_number = phone_number_field(allow_none=True)
    bsuid = bsuid_field()
    previous_bsuid = bsuid_field("The bsuid that the user had before this one.")
    profile_name = text_field("What WhatsApp calls the contact.", "John")
    username = text_field("The user's WhatsApp username.", "john.doe")
    avatar_url = avatar_url_field()


class ContactIdentity(ContactResolve):
    """Who a message's contact is, as WhatsApp says; the message has the account."""

    EXAMPLE = {"phone_number": "1234567890", "bsuid": "US.13491208655302741918", "profile_name": "John"}

    class Meta:
        exclude = ("account_id",)
        json_schema = IDENTIFIED


class ResolvedContact(Contact):
    """A contact and by what it was found."""

    EXAMPLE = {**Contact.EXAMPLE, "matched_by": "phone_number"}
    matched_by = matched_by_field("Null when the contact is new.")
