"""Fields that say exactly what the OpenAPI document says: no lenient conversions, no characters that can't be stored.

marshmallow's own String, Integer, Boolean and UUID accept more than JSON Schema can express (``"yes"`` for true,
``{…}`` around a UUID, ``1_0`` for ten); a caller's mistake would pass unnoticed.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields

STORABLE = r"^[^\u0000]*$"  # PostgreSQL can't hold U+0000 in text (documentation, "Character Types").
MAX_NESTING = 32

RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})")
UUID_FORM = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# Between the digits of a written phone number: spaces (also the no-break ones), dots, dashes, brackets, and the
# invisible direction marks that copying from an address book brings along.
_GAP = r"[ \t\u00a0\u202f.()\[\]\-\u2010-\u2015\u200e\u200f\u202a-\u202e\u2066-\u2069]*"
# A trunk 0 in brackets, as in +44 (0)20…, is dialled at home only. Some countries keep it, so it is refused.
PHONE_FORM = rf"^(?!.*\(0\)){_GAP}(\+|00)?{_GAP}[1-9]({_GAP}[0-9]){{6,14}}{_GAP}$"
_PHONE = re.compile(PHONE_FORM)
_PHONE_LONGEST = 64

_SURROGATE = re.compile("[\ud800-\udfff]")


def unstorable(text: str) -> str | None:
    """Why neither database nor UTF-8 can hold this text, or None when they can."""
    if "\x00" in text:
        return "Must not contain the character U+0000."
    if _SURROGATE.search(text):
        return "Must not contain a lone surrogate: this is no valid Unicode."
    return None


def canonical_uuid(value: object) -> str | None:
    """A UUID in RFC 9562's 8-4-4-4-12 form as lower-case text, or None for anything else."""
    return value.lower() if isinstance(value, str) and UUID_FORM.fullmatch(value) else None


class Text(fields.String):
    """Text that can be stored as it is, of at most ``longest`` characters."""

    def __init__(self, *, longest: int, shortest: int = 0, pattern: str = STORABLE, **kwargs: Any) -> None:
        described = {"maxLength": longest, "pattern": pattern, **kwargs.pop("metadata", {})}
        if shortest:
            described["minLength"] = shortest
        super().__init__(metadata=described, **kwargs)
        self.shortest, self.longest = shortest, longest
        self.pattern = None if pattern == STORABLE else re.compile(pattern)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if len(text) > self.longest:
            raise ValidationError(f"Longer than {self.longest} characters.")
        if len(text) < self.shortest:
            raise ValidationError(f"Shorter than {self.shortest} character(s).")
        if problem := unstorable(text):
            raise ValidationError(problem)
        if self.pattern and not self.pattern.fullmatch(text):
            raise ValidationError(f"Does not match the pattern {self.pattern.pattern}.")
        return text


class Id(fields.UUID):
    """A UUID, loaded as text in small letters."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        canonical = canonical_uuid(value)
        if canonical is None:
            raise ValidationError("Not a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057.")
        return canonical


class IdOrNone(fields.String):
    """In a query: a UUID, or the word none for those that have none, loaded as None."""

    def __init__(self, **kwargs: Any) -> None:
        described = {"anyOf": [{"format": "uuid"}, {"const": "none"}], **kwargs.pop("metadata", {})}
        super().__init__(metadata=described, allow_none=True, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if value == "none":
            return None
        if canonical := canonical_uuid(value):
            return canonical
        raise ValidationError("Not a UUID, and not the word none.")


class CommaSeparated(Text):
    """In a query: values between commas, each of a form, loaded as a list; UUIDs in small letters."""

    def __init__(self, *, form: str, most: int, longest: int, **kwargs: Any) -> None:
        super().__init__(longest=longest, pattern=f"^{form}(,{form}){{0,{most - 1}}}$", **kwargs)
        self.holds_ids = form == UUID_FORM.pattern

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        return (text.lower() if self.holds_ids else text).split(",")


class Moment(fields.AwareDateTime):
    """A moment as RFC 3339 writes it, with its offset, loaded as an aware datetime in UTC."""

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
        described = {"pattern": PHONE_FORM, "maxLength": _PHONE_LONGEST, **kwargs.pop("metadata", {})}
        super().__init__(metadata=described, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        written: str = super()._deserialize(value, attr, data, **kwargs)
        if len(written) > _PHONE_LONGEST or not _PHONE.fullmatch(written):
            raise ValidationError(
                "Not an international phone number: 7 to 15 digits, the first not 0, after an optional + or 00."
            )
        return "+" + re.sub("[^0-9]", "", written).removeprefix("00")


class Integer(fields.Integer):
    """A JSON integer from ``least`` to ``most``."""

    def __init__(self, *, least: int, most: int, **kwargs: Any) -> None:
        described = {"minimum": least, "maximum": most, **kwargs.pop("metadata", {})}
        super().__init__(metadata=described, **kwargs)
        self.least, self.most = least, most

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        # JSON Schema counts 5.0 among the integers; Python counts True, which it must not be.
        if type(value) is not int and not (isinstance(value, float) and value.is_integer()):
            raise self.make_error("invalid")
        if not self.least <= value <= self.most:
            raise ValidationError(f"Must be from {self.least} to {self.most}.")
        return int(value)


class QueryInteger(Integer):
    """The decimal digits of an integer, as a query string holds them."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        # Python would also read "1_0" and "\uff11\uff10" as ten, and refuses to read more than 4,300 digits at all.
        if not isinstance(value, str) or not re.fullmatch("-?[0-9]{1,40}", value):
            raise self.make_error("invalid")
        return super()._deserialize(int(value), attr, data, **kwargs)


class Flag(fields.Boolean):
    """A JSON boolean and nothing that merely looks like one."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class BoundedList(fields.List[Any]):
    """A list of at most ``most`` items. A longer one is refused before its items are looked at."""

    def __init__(self, inner: Any, *, most: int, **kwargs: Any) -> None:
        super().__init__(inner, metadata={"maxItems": most, **kwargs.pop("metadata", {})}, **kwargs)
        self.most = most

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        if isinstance(value, list) and len(value) > self.most:
            raise ValidationError(f"More than {self.most} items.")
        return super()._deserialize(value, attr, data, **kwargs)


class JsonObject(fields.Dict):
    """A JSON object kept as it came: text that can be stored, finite numbers, at most 32 levels deep."""

    def __init__(self, *, most_bytes: int | None = None, **kwargs: Any) -> None:
        # JSON Schema could only say this by recursion, which client generators don't follow.
        described = kwargs.pop("metadata", {})
        limits = f"At most {MAX_NESTING} levels deep; no U+0000 in any text within."
        if most_bytes:
            limits += f" At most {most_bytes // 1024} KiB of JSON."
        self.most_bytes = most_bytes
        super().__init__(metadata={**described, "description": f"{described['description']} {limits}"}, **kwargs)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("Not a JSON object.")
        level: list[Any] = [value]
        for _ in range(MAX_NESTING):
            level = [inner for container in level for inner in _containers_within(container)]
            if not level:
                if (
                    self.most_bytes
                    and len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) > self.most_bytes
                ):
                    raise ValidationError(f"More than {self.most_bytes // 1024} KiB of JSON.")
                return value
        raise ValidationError(f"Nested deeper than {MAX_NESTING} levels.")


def _containers_within(container: dict[str, Any] | list[Any]) -> Iterator[Any]:
    """Check the scalars that stand directly in a container, and yield the containers among them."""
    for item in (*container, *container.values()) if isinstance(container, dict) else container:
        if isinstance(item, dict | list):
            yield item
        elif isinstance(item, str) and (problem := unstorable(item)):
            raise ValidationError(problem)
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValidationError("Holds a number that is not finite.")
