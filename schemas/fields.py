"""Fields that accept exactly what the OpenAPI document says: no lenient conversions, no text that can't be stored.

marshmallow's own String, Integer, Boolean and UUID accept more than JSON Schema can express (``"yes"`` for true,
``{…}`` around a UUID, ``1_0`` for ten), so that a caller's mistake would pass unnoticed.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields, missing, validate

from schemas import exact_json
from schemas.examples import CONTACT_ID

STORABLE = r"^[^\u0000]*$"  # PostgreSQL can't hold U+0000 in text (documentation, "Character Types").
MAX_NESTING = 32

RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})")
UUID_PATTERN = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# Between the digits of a written phone number: spaces (also the no-break ones), dots, dashes, brackets, and the
# invisible direction marks that copying from an address book brings along.
_GAP = r"[ \t\u00a0\u202f.()\[\]\-\u2010-\u2015\u2212\u200e\u200f\u202a-\u202e\u2066-\u2069]*"
PHONE_PATTERN = rf"^{_GAP}(\+|00)?{_GAP}[1-9]({_GAP}[0-9]){{6,14}}{_GAP}$"
_PHONE = re.compile(PHONE_PATTERN)
# A trunk 0 in brackets, as in +44 (0)20…, is dialled at home only. Some countries keep it, so it is refused.
_TRUNK_ZERO = "(0)"
_PHONE_MAX_LENGTH = 64

_SURROGATE = re.compile("[\ud800-\udfff]")


def why_not_storable(text: str) -> str | None:
    """Why the database or UTF-8 can't hold this text; None if they can."""
    if "\x00" in text:
        return "Must not contain the character U+0000."
    if _SURROGATE.search(text):
        return "Must not contain a lone surrogate: this is no valid Unicode."
    return None


def canonical_uuid(value: object) -> str | None:
    """A UUID in RFC 9562's 8-4-4-4-12 form as lower-case text; None for anything else."""
    return value.lower() if isinstance(value, str) and UUID_PATTERN.fullmatch(value) else None


def doc(description: str, example: Any = missing) -> dict[str, Any]:
    """What the OpenAPI document says of a field, as its metadata."""
    return {"description": description} if example is missing else {"description": description, "example": example}


class Text(fields.String):
    """Text that can be stored as it is."""

    def __init__(self, *, max_length: int, min_length: int = 0, pattern: str | None = None, **kwargs: Any) -> None:
        described = {"maxLength": max_length, "pattern": pattern or STORABLE, **kwargs.pop("metadata", {})}
        if min_length:
            described["minLength"] = min_length
        super().__init__(metadata=described, **kwargs)
        # Called below and not by marshmallow, which would measure what a subclass makes of the text.
        self._check_length = validate.Length(min=min_length or None, max=max_length)
        # Not validate.Regexp, whose $ lets a line break at the end pass.
        self._pattern = re.compile(pattern) if pattern else None

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        self._check_length(text)
        if problem := why_not_storable(text):
            raise ValidationError(problem)
        if self._pattern and not self._pattern.fullmatch(text):
            raise ValidationError(f"Does not match the pattern {self._pattern.pattern}.")
        return text


class Uuid(fields.UUID):
    """A UUID, loaded as lower-case text."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        canonical = canonical_uuid(value)
        if canonical is None:
            raise ValidationError(f"Not a UUID such as {CONTACT_ID}.")
        return canonical


class Choice(fields.String):
    """One of some words, which the OpenAPI document describes once, under the name of the set."""

    def __init__(self, set_name: str, words: Iterable[str], **kwargs: Any) -> None:
        self.set_name, self.words = set_name, list(words)
        super().__init__(validate=validate.OneOf(self.words), **kwargs)


class UuidOrNone(fields.String):
    """In a query: a UUID, or the word none for those that have none, loaded as None."""

    def __init__(self, **kwargs: Any) -> None:
        described = {"pattern": f"^(none|{UUID_PATTERN.pattern})$", **kwargs.pop("metadata", {})}
        super().__init__(metadata=described, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if value == "none":
            return None
        if canonical := canonical_uuid(value):
            return canonical
        raise ValidationError("Not a UUID, and not the word none.")


class CommaSeparated(Text):
    """In a query: values between commas that each match a pattern, loaded as a list; UUIDs in lower case."""

    def __init__(self, *, item_pattern: str, max_items: int, max_length: int, **kwargs: Any) -> None:
        pattern = f"^{item_pattern}(,{item_pattern}){{0,{max_items - 1}}}$"
        super().__init__(max_length=max_length, pattern=pattern, **kwargs)
        self._holds_ids = item_pattern == UUID_PATTERN.pattern

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        return (text.lower() if self._holds_ids else text).split(",")


class UtcDateTime(fields.AwareDateTime):
    """A time as RFC 3339 writes it, with its offset, loaded as an aware datetime in UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if not isinstance(value, str) or not RFC3339.fullmatch(value):
            raise ValidationError("Not a time such as 2024-01-01T12:00:00Z (RFC 3339).")
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise ValidationError("No such day or time.") from error


class PhoneNumber(fields.String):
    """A phone number as people write it, loaded as E.164: ``+`` and 7 to 15 digits, the first not 0.

    E.164 (ITU-T) allows 15 digits; the numbering plan of the country is not checked. WhatsApp's webhooks send the
    digits without ``+`` (Cloud API, "wa_id").
    """

    def __init__(self, **kwargs: Any) -> None:
        refused = {"not": {"type": "string", "pattern": re.escape(_TRUNK_ZERO)}}
        described = {"pattern": PHONE_PATTERN, **refused, "maxLength": _PHONE_MAX_LENGTH, **kwargs.pop("metadata", {})}
        super().__init__(metadata=described, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        written: str = super()._deserialize(value, attr, data, **kwargs)
        if len(written) > _PHONE_MAX_LENGTH or not _PHONE.fullmatch(written) or _TRUNK_ZERO in written:
            raise ValidationError(
                "Not an international phone number: 7 to 15 digits, the first not 0, after an optional + or 00."
            )
        return "+" + re.sub("[^0-9]", "", written).removeprefix("00")


class Integer(fields.Integer):
    """A JSON integer from ``min_value`` to ``max_value``."""

    def __init__(self, *, min_value: int, max_value: int, **kwargs: Any) -> None:
        super().__init__(validate=validate.Range(min=min_value, max=max_value), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        # JSON Schema counts 5.0 among the integers; Python counts True, which it must not be.
        if type(value) is not int and not (isinstance(value, float) and value.is_integer()):
            raise self.make_error("invalid")
        return int(value)


class QueryInteger(Integer):
    """The decimal digits of an integer, as a query string holds them."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        # Python would also read "1_0" and "\uff11\uff10" as ten, and refuses to read more than 4,300 digits at all.
        if not isinstance(value, str) or not re.fullmatch("-?[0-9]{1,40}", value):
            raise self.make_error("invalid")
        return super()._deserialize(int(value), attr, data, **kwargs)


class StrictBoolean(fields.Boolean):
    """A JSON boolean and nothing that merely looks like one."""

    default_error_messages = {"invalid": "Not a boolean: true or false."}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class QueryBoolean(Choice):
    """In a query: the word true or false."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("TrueOrFalse", ["true", "false"], **kwargs)
        self.validators = []  # They would see what was loaded.

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if value not in self.words:
            raise ValidationError("Not true or false.")
        return value == "true"


class BoundedList(fields.List[Any]):
    """A list of at most ``max_items``. A longer one is refused before its items are looked at."""

    def __init__(self, inner: Any, *, max_items: int, **kwargs: Any) -> None:
        super().__init__(inner, metadata={"maxItems": max_items, **kwargs.pop("metadata", {})}, **kwargs)
        self._max_items = max_items

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, list) and len(value) > self._max_items:
            raise ValidationError(f"More than {self._max_items} items.")
        return super()._deserialize(value, attr, data, **kwargs)


class UniqueList(BoundedList):
    """A list of at most ``max_items``; of equal items only the first is kept."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        return list(dict.fromkeys(super()._deserialize(value, attr, data, **kwargs)))


class JsonObject(fields.Dict):
    """A JSON object kept as it came: text that can be stored, finite numbers, at most 32 levels deep."""

    def __init__(self, *, max_bytes: int | None = None, **kwargs: Any) -> None:
        # JSON Schema could only say this by recursion, which client generators don't follow.
        described = kwargs.pop("metadata", {})
        limits = f"At most {MAX_NESTING} levels deep; no U+0000 in any text within."
        if max_bytes:
            limits += f" At most {max_bytes // 1024} KiB of JSON."
        self.max_bytes = max_bytes
        super().__init__(metadata={**described, "description": f"{described['description']} {limits}"}, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("Not a JSON object.")
        containers: list[Any] = [value]
        for _ in range(MAX_NESTING):
            containers = [inner for container in containers for inner in _containers_within(container)]
            if not containers:
                break
        else:
            raise ValidationError(f"Nested deeper than {MAX_NESTING} levels.")
        if self.max_bytes and len(exact_json.dumps(value)) > self.max_bytes:
            raise ValidationError(f"More than {self.max_bytes // 1024} KiB of JSON.")
        return value


def _containers_within(container: dict[str, Any] | list[Any]) -> Iterator[Any]:
    """Check the scalars directly in a container, and yield the containers in it."""
    for item in (*container, *container.values()) if isinstance(container, dict) else container:
        if isinstance(item, dict | list):
            yield item
        elif isinstance(item, str) and (problem := why_not_storable(item)):
            raise ValidationError(problem)
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValidationError("Holds a number that is not finite.")
