"""The change feed: what a copy of the contacts has to take over."""

from marshmallow import fields

from schemas.contacts import Contact
from schemas.envelope import Answer, RequestSchema
from schemas.examples import ACCOUNT_ID
from schemas.fields import QueryInteger, Text, UuidOrNone, doc

_NEXT = "ATY4NGFmNmEzMDUzOGQ2OGEAAAAAAAAAAgAAAAAAAAAAAAAAAAAAAAKwsWI0Tb0"


class ChangesQuery(RequestSchema):
    after = Text(
        max_length=200,
        min_length=1,
        metadata=doc(
            "The next of an earlier page; now for the token of this moment; without it from the start.", "now"
        ),
    )
    limit = QueryInteger(min_value=1, max_value=500, load_default=100, metadata=doc("Items per page.", 100))
    account_id = UuidOrNone(metadata=doc("Only contacts of this WhatsApp account; none: of no account.", ACCOUNT_ID))


class ContactChange(Answer):
    """A contact as it is now, or that it is gone."""

    EXAMPLE = {"id": Contact.EXAMPLE["id"], "deleted": False, "merged_into": None, "contact": Contact.EXAMPLE}
    id = fields.UUID()
    deleted = fields.Boolean(metadata=doc("Whether it was deleted or merged."))
    merged_into = fields.UUID(
        allow_none=True, metadata=doc("The contact that it was merged into; null once that is deleted.")
    )
    contact = fields.Nested(Contact, allow_none=True, metadata=doc("Null when deleted."))


class ChangePage(Answer):
    """Changes in the order of each contact's last change."""

    EXAMPLE = {"items": [ContactChange.EXAMPLE], "next": _NEXT, "has_more": False}
    items = fields.List(fields.Nested(ContactChange))
    next = fields.String(metadata=doc("Send it as after, also when there is no more now."))
    has_more = fields.Boolean(metadata=doc("Whether to ask again at once."))
