"""Reading requests strictly: what a caller sent and we would ignore is an error that names it."""

import json
import math
from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from flask import Request
from gunicorn.http.errors import ParseException
from marshmallow import Schema, ValidationError, missing
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.routing import BaseConverter

from contacts_service.api.errors import InvalidRequest
from contacts_service.api.keys import authenticate
from contacts_service.api.request_log import seen
from schemas.fields import canonical_uuid

_SLOW_BODY = 1.0  # Seconds since the request began.


def query_reader(schema: type[Schema]) -> Callable[[Request], dict[str, Any]]:
    """Make the function that reads and validates a request's query parameters. It raises InvalidRequest."""
    load = _loader(schema)
    return lambda req: load(read_query(req))


def body_reader(schema: type[Schema]) -> Callable[[Request], Any]:
    """Make the function that reads and validates a request's JSON body.

    It raises InvalidRequest, UnsupportedMediaType, RequestEntityTooLarge.
    """
    load = _loader(schema)
    return lambda req: load(_json(req))


def _loader(schema: type[Schema]) -> Callable[[Any], Any]:
    """Make the function that validates data.

    marshmallow visits each field of a schema, sent or not, so there is a schema of those that matter for each set of
    names that callers send.
    """
    whole = schema()
    always = {name for name, field in whole.fields.items() if field.required or field.load_default is not missing}

    @lru_cache(maxsize=64)
    def of_names(names: frozenset[str]) -> Schema:
        return schema(only=names | always)

    def load(data: Any) -> Any:
        is_known = isinstance(data, dict) and data.keys() <= whole.fields.keys()
        try:
            return (of_names(frozenset(data)) if is_known else whole).load(data)
        except ValidationError as error:
            raise InvalidRequest(error.normalized_messages()) from error

    return load


def read_query(req: Request) -> dict[str, str]:
    """Read query parameters, each given once. Raises InvalidRequest."""
    query = req.query_string
    if b"%" in query or not query.isascii():
        for pair in query.split(b"&"):
            name, _, value = (unquote_to_bytes(part.replace(b"+", b" ")) for part in pair.partition(b"="))
            if not is_utf8(name) or not is_utf8(value):
                raise InvalidRequest({name.decode(errors="replace"): ["Not valid UTF-8."]})
    given = req.args.to_dict(flat=False)
    if repeated := [name for name, values in given.items() if len(values) > 1]:
        raise InvalidRequest({name: ["Given more than once."] for name in repeated})
    return {name: values[0] for name, values in given.items()}


def _json(req: Request) -> Any:
    body = read_body(req)
    if not body:
        raise InvalidRequest(["The body is empty; send a JSON object."])
    if not req.is_json:
        raise UnsupportedMediaType
    return parse_json(body)


def read_body(req: Request) -> bytes:
    """Read the body to its end, as often as is asked for. Raises InvalidRequest, RequestEntityTooLarge."""
    try:
        body = req.get_data()
    except (OSError, ParseException) as error:  # As gunicorn reports broken chunks.
        raise InvalidRequest(["The body can't be read to its end."]) from error
    if req.content_length is None and len(body) == req.max_content_length:
        raise RequestEntityTooLarge  # Werkzeug cuts a chunked body at the limit and says nothing.
    if body and perf_counter() - seen(req).began > _SLOW_BODY:
        authenticate(req)  # The key may have been revoked while the body came.
    return body


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_json(body: bytes) -> Any:
    """Read JSON as RFC 8259 has it: no NaN, no infinity, also not by way of 1e999. Raises InvalidRequest."""
    try:
        text = body.decode()
        if text.startswith("\ufeff"):
            return _refuse("A byte order mark")
        return _DECODER.decode(text)
    except RecursionError as error:
        raise InvalidRequest(["Nested too deeply."]) from error
    except ValueError as error:  # Bad UTF-8 and integers of more than 4,300 digits are ValueErrors too.
        raise InvalidRequest([f"Not valid JSON: {error}."]) from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no part of JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


class IdConverter(BaseConverter):
    """An id in a path. Anything but a UUID is a bad request, not an address that doesn't exist."""

    # Not the word that has an address of its own, so that a wrong method there is 405 and no bad id.
    regex = r"(?!resolve\Z)[^/]+"
    part_isolating = True

    def to_python(self, value: str) -> str:
        canonical = canonical_uuid(value)
        if canonical is None:
            raise InvalidRequest({"id": ["Not a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057."]})
        return canonical
