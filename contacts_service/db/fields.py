"""Field types with the same Python values on both databases: text ids, aware datetimes, JSON as text."""

from datetime import datetime
from typing import Any

from peewee import Field, Node

from schemas import exact_json


class JSONText(str):
    """JSON as the database holds it. It is copied into responses without being parsed."""

    __slots__ = ()

    @classmethod
    def of(cls, value: Any) -> "JSONText":
        return cls(exact_json.dumps(value).decode())

    def parsed(self) -> Any:
        return exact_json.loads(self)


class IdField(Field):
    """A UUID as lower-case text: ``uuid`` on PostgreSQL, ``TEXT`` on SQLite."""

    field_type = "UUID"


class UtcDateTimeField(Field):
    """An instant in UTC: ``timestamptz`` on PostgreSQL; on SQLite RFC 3339 text of one width, which sorts by time."""

    field_type = "TIMESTAMPTZ"

    def db_value(self, value: datetime | None) -> str | None:
        return None if value is None else value.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def python_value(self, value: datetime | str | None) -> datetime | None:
        return datetime.fromisoformat(value) if isinstance(value, str) else value


class JSONTextField(Field):
    """A JSON document that the database checks and otherwise leaves as it is.

    PostgreSQL's ``json`` keeps the text as it came; ``jsonb`` would turn 1e22 into an integer of 23 digits.
    """

    field_type = "JSONTEXT"

    def db_value(self, value: Any) -> Any:
        return value if value is None or isinstance(value, JSONText | Node) else JSONText.of(value)

    def python_value(self, value: str | None) -> JSONText | None:
        return None if value is None else JSONText(value)


class OrderedTextField(Field):
    """Text that sorts by code point on both databases, whatever collation PostgreSQL's database has."""

    field_type = "ORDEREDTEXT"
