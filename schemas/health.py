"""Whether the service works."""

from marshmallow import fields

from schemas.envelope import Answer


class Health(Answer):
    EXAMPLE = {"healthy": True}
    healthy = fields.Boolean()
