"""Reads requests strictly: what a caller sent and we would ignore is an error that names it."""

import json
import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote_to_bytes

from flask import Request, request
from gunicorn.http.errors import ParseException
from marshmallow import RAISE, Schema, ValidationError, fields
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest
from werkzeug.routing import BaseConverter

from contacts_service.errors import MAX_BODY, InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from schemas.exact_json import ExactFloat, parse_int
from schemas.examples import CONTACT_ID
from schemas.fields import canonical_uuid

_Version = TypeVar("_Version")
MAX_ERRORS = 100  # A body of a million mistakes gets no response of a million texts.


class RequestParser(FlaskParser):
    """Parses arguments as webargs does, and refuses what webargs would ignore or guess."""

    def __init__(self) -> None:
        super().__init__(unknown=RAISE)

    def load_querystring(self, req: Request, schema: Schema) -> dict[str, str]:  # noqa: ARG002
        return read_query(req)

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002
        """Parse JSON as RFC 8259 defines it: no NaN, no infinity, also not by way of 1e999."""
        body = read_body(req)
        if not body:
            raise InvalidRequest({"body": ["The body is empty; send a JSON object."]})
        if not req.is_json:
            raise UnsupportedMediaType
        try:
            text = body.decode()
            if text.startswith("\ufeff"):
                _refuse_constant("A byte order mark")
            return _DECODER.decode(text)
        except RecursionError as error:
            raise InvalidRequest({"body": ["Nested too deeply."]}) from error
        except ValueError as error:  # Bad UTF-8 and integers of more than 4,300 digits are ValueErrors too.
            raise InvalidRequest({"body": [f"Not valid JSON: {error}."]}) from error

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        [messages] = error.messages.values()  # type: ignore[union-attr] # By location, of which there is one.
        raise invalid_request(messages) from error


def expected_versions(version_of: Callable[[str], _Version | None]) -> list[_Version] | None:
    """The versions that If-Match allows, read from its tags by ``version_of``; None for any."""
    if "HTTP_IF_MATCH" not in request.environ or request.if_match.star_tag:
        return None
    # Weak tags never match here (RFC 9110, 13.1.1). Werkzeug reads the empty tag as None.
    tags = sorted(tag or "" for tag in request.if_match.as_set())
    return [version for version in map(version_of, tags) if version is not None]


def require_known_conditions(request: Request, known: tuple[str, ...]) -> None:
    """Raise InvalidRequest for conditions that the operation would ignore: the caller relies on them."""
    environ = request.environ  # Werkzeug raises and catches an error for each header that is missing.
    for name, variable in (("If-Match", "HTTP_IF_MATCH"), ("If-None-Match", "HTTP_IF_NONE_MATCH")):
        if variable in environ and name not in known:
            raise InvalidRequest({name: ["This operation knows no such condition."]})
    if request.method == "PUT" and environ.get("HTTP_IF_NONE_MATCH", "*").strip() != "*":
        raise InvalidRequest({"If-None-Match": ["Only * makes sense here."]})


def invalid_request(errors: Any) -> InvalidRequest:
    """Make the error of messages by field, which may be nested, and of which only the first are kept."""
    return InvalidRequest(dict(islice(_flattened(errors), MAX_ERRORS)))


def read_query(req: Request) -> dict[str, str]:
    """Read query parameters, each given once. Raises InvalidRequest."""
    query = req.query_string
    if b"%" in query or not query.isascii():
        for pair in query.replace(b"+", b" ").split(b"&"):
            try:
                unquote_to_bytes(pair).decode()
            except UnicodeDecodeError as error:
                name = unquote_to_bytes(pair.partition(b"=")[0]).decode(errors="replace")
                raise invalid_request({name: ["Not valid UTF-8."]}) from error
    given = req.args.to_dict(flat=False)
    if repeated := [name for name, values in given.items() if len(values) > 1]:
        raise invalid_request({name: ["Given more than once."] for name in repeated})
    return {name: values[0] for name, values in given.items()}


def read_body(req: Request) -> bytes:
    """Read the body to its end; a second call returns it again. Raises InvalidRequest, PayloadTooLarge."""
    try:
        body = req.get_data()
    except (OSError, ParseException) as error:  # What gunicorn raises for broken chunks.
        raise InvalidRequest({"body": ["The body can't be read to its end."]}) from error
    if req.content_length is None and len(body) == req.max_content_length:
        raise PayloadTooLarge(MAX_BODY)  # Werkzeug cuts a chunked body at the limit and says nothing.
    return body


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no part of JSON")


def _finite(digits: str) -> ExactFloat:
    number = ExactFloat(digits)
    return number if math.isfinite(number) else _refuse_constant(digits)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, parse_int=parse_int)


def _flattened(errors: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Join marshmallow's nested messages to dotted paths.

    >>> dict(_flattened({"a": {0: {"b": ["Not so."]}}, "_schema": ["No."]}))
    {'a.0.b': ['Not so.'], 'body': ['No.']}
    """
    if isinstance(errors, dict):
        for key, inner in errors.items():
            # A key may come from the caller, and so hold what UTF-8 can't.
            name = str(key).encode(errors="backslashreplace").decode()
            yield from _flattened(inner, path if key == "_schema" else f"{path}.{name}".lstrip("."))
    else:
        yield path or "body", [str(text) for text in (errors if isinstance(errors, list) else [errors])]


class InvalidId(InvalidRequest, BadRequest):  # type: ignore[misc] # Both have a code.
    """An id in the path that is no UUID. Routing lets only errors of Werkzeug through."""


class IdConverter(BaseConverter):
    """An id in a path. Anything but a UUID is a bad request, not an address that doesn't exist."""

    # Not the words that have addresses of their own, so that a wrong method there is 405 and no bad id.
    regex = r"(?!(?:resolve|duplicates|bulk|import|export)\Z)[^/]+"
    part_isolating = True

    def to_python(self, value: str) -> str:
        canonical = canonical_uuid(value)
        if canonical is None:
            raise InvalidId({"id": [f"Not a UUID such as {CONTACT_ID}."]})
        return canonical


class TextConverter(BaseConverter):
    """The rest of a path as text, which may hold slashes."""

    regex = r"[\s\S]+"  # A dot matches no line break.
    part_isolating = False


def read_path_text(req: Request, name: str, field: fields.Field[str]) -> str:
    """Read and validate text in the path. Raises InvalidRequest."""
    try:
        req.environ["PATH_INFO"].encode("latin-1").decode()  # Routing replaces what is no UTF-8.
        return str(field.deserialize((req.view_args or {})[name]))
    except UnicodeDecodeError as error:
        raise invalid_request({name: ["Not valid UTF-8."]}) from error
    except ValidationError as error:
        raise invalid_request({name: error.messages}) from error
