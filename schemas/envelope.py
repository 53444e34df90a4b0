"""The envelope around every JSON answer."""

from typing import Any

from marshmallow import EXCLUDE, Schema, fields, validate


class Answer(Schema):
    """An answer may grow: a caller ignores fields that it doesn't know."""

    class Meta:
        unknown = EXCLUDE


class Error(Answer):
    """What every answer but a success looks like."""

    status = fields.String(required=True, validate=validate.Equal("error"), metadata={"const": "error"})
    message = fields.String(required=True, metadata={"description": "What went wrong, for a person."})
    data = fields.Raw(required=True, allow_none=True, metadata={"const": None})
    code = fields.String(required=True, metadata={"description": "What went wrong, for a program."})
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "Texts for each field at fault; fields inside others are joined by dots."},
    )
    request_id = fields.String(required=True, metadata={"description": "The X-Request-ID of this answer."})


def page_of(items: type[Answer], name: str) -> type[Schema]:
    """Make the schema of one page of a list."""
    count: dict[str, Any] = {"strict": True, "required": True, "validate": validate.Range(min=0)}
    page = Answer.from_dict(
        {
            "items": fields.List(fields.Nested(items), required=True),
            "total": fields.Integer(**count, metadata={"description": "Matches on all pages."}),
            "page": fields.Integer(**count),
            "limit": fields.Integer(**count),
            "total_pages": fields.Integer(**count),
        },
        name=name,
    )
    page.EXAMPLE = {"items": [items.EXAMPLE], "total": 1, "page": 1, "limit": 20, "total_pages": 1}  # type: ignore[attr-defined]
    return page
