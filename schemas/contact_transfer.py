"""Importing and exporting many contacts."""

from typing import Any

from marshmallow import fields

from schemas.contact_list import ContactFilters
from schemas.contacts import ContactFields
from schemas.envelope import Answer, RequestSchema
from schemas.examples import ACCOUNT_ID, USER_ID
from schemas.fields import Choice, QueryBoolean, Uuid, UuidOrNone, doc
from schemas.identity import Findable

MAX_REJECTED = 1000
ON_MATCH = ("update", "skip", "error")
IGNORED = {
    *("id", "last_message_at", "last_message_preview", "last_inbound_at", "unread_count", "service_window_open"),
    *("service_window_expires_at", "marketing_opt_out_source", "created_at", "updated_at", "version", "error"),
}
"""What an export has and only the service writes, and the last column of rejected rows."""


class ImportQuery(RequestSchema):
    on_match = Choice(
        "OnMatch",
        ON_MATCH,
        load_default=ON_MATCH[0],
        metadata=doc("What becomes of a row whose contact exists.", "update"),
    )
    account_id = UuidOrNone(metadata=doc("The WhatsApp account of rows that name none.", ACCOUNT_ID))
    dry_run = QueryBoolean(load_default=False, metadata=doc("Count what would happen, and write nothing.", "true"))


class ImportRow(Findable, ContactFields):
    """One row: what it doesn't hold stays as it is."""

    account_id = Uuid(metadata=doc("The WhatsApp account.", ACCOUNT_ID))
    assigned_to = Uuid(metadata=doc("The user who looks after the contact.", USER_ID))


class RejectedRow(Answer):
    """A row that was not imported."""

    row = fields.Integer(strict=True, metadata=doc("Its number, from 1 behind the header."))
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata=doc("Texts for each field at fault; `row` for what is wrong with the row as a whole."),
    )


def _count(what: str) -> fields.Integer:
    return fields.Integer(strict=True, metadata=doc(what))


class ImportResult(Answer):
    """What became of the rows."""

    EXAMPLE: dict[str, Any] = {
        "rows": 3,
        "created": 1,
        "updated": 1,
        "unchanged": 0,
        "skipped": 0,
        "failed": 1,
        "rejected": [{"row": 3, "errors": {"phone_number": ["Not an international phone number."]}}],
    }
    rows = _count("Rows that hold anything.")
    created = _count("Contacts that are new.")
    updated = _count("Rows that changed a contact.")
    unchanged = _count("Rows whose contact is so already.")
    skipped = _count("Rows whose contact exists, with `on_match=skip`.")
    failed = _count("Rows that were rejected.")
    rejected = fields.List(fields.Nested(RejectedRow), metadata=doc(f"The first {MAX_REJECTED:,} of them."))


class ExportQuery(ContactFilters):
    format = Choice(
        "ExportFormat",
        ["csv", "ndjson"],
        metadata=doc("CSV for spreadsheets, the default, or one JSON object a line.", "ndjson"),
    )
