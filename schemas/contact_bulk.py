"""Changing many contacts at once."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from schemas.constants import MAX_TAGS
from schemas.contact_list import ContactFilters
from schemas.contacts import Consent, tag_field
from schemas.envelope import MAX_COUNT, Answer
from schemas.examples import CONTACT_ID, USER_ID
from schemas.fields import Integer, UniqueList, Uuid, doc


class BulkFilter(ContactFilters):
    """The parameters of the list that choose contacts, with their texts as values; none chooses all."""

    class Meta:
        exclude = ("metadata",)
        json_schema = {"patternProperties": {r"^metadata\.": {"type": "string"}}}

    def load(self, data: Any, **kwargs: Any) -> Any:
        return ContactFilters().load(data, **kwargs)


class BulkSet(Consent):
    """The fields to set."""

    assigned_to = Uuid(allow_none=True, metadata=doc("Who looks after the contacts; null for no one.", USER_ID))


class ContactBulk(Schema):
    """A change of all contacts that a filter chooses: fields to set, tags to add and to remove."""

    EXAMPLE = {
        "filter": {"ids": CONTACT_ID, "created_before": "9000-01-01T00:00:00Z"},
        "expected_total": 1,
        "add_tags": ["campaign"],
    }
    filter = fields.Nested(BulkFilter, required=True)
    expected_total = Integer(
        required=True, min_value=0, max_value=MAX_COUNT, metadata=doc("How many contacts the filter has to choose.", 1)
    )
    set = fields.Nested(BulkSet)
    add_tags = UniqueList(tag_field(), max_items=MAX_TAGS, metadata={"example": ["campaign"]})
    remove_tags = UniqueList(tag_field(), max_items=MAX_TAGS, metadata={"example": ["lead"]})

    @validates_schema
    def _require_change(self, data: dict[str, Any], **_: Any) -> None:
        if not any(data.get(name) for name in ("set", "add_tags", "remove_tags")):
            raise ValidationError("Send something to change.")
        if both := {*data.get("add_tags", [])} & {*data.get("remove_tags", [])}:
            raise ValidationError(f"Added and removed: {', '.join(sorted(both))}.", "remove_tags")


class BulkResult(Answer):
    EXAMPLE = {"matched": 1, "changed": 1}
    matched = fields.Integer(strict=True, metadata=doc("Contacts that the filter chose."))
    changed = fields.Integer(strict=True, metadata=doc("Those that changed."))
