"""Reading requests strictly: what a caller sent and we would ignore is an error that names it."""

import json
import math
from time import perf_counter
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

import marshmallow
from flask import Request, g
from gunicorn.http.errors import ParseException
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.routing import BaseConverter

from contacts_service.api.errors import InvalidRequest
from contacts_service.api.keys import authenticate
from schemas.fields import canonical_uuid

_SLOW_BODY = 1.0  # Seconds since the request began.


class StrictParser(FlaskParser):
    """Refuses unknown and repeated query parameters, and any body that is not one JSON value in UTF-8."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION = {"query": marshmallow.RAISE, "json": marshmallow.RAISE}

    def load_querystring(self, req: Request, schema: marshmallow.Schema) -> Any:  # noqa: ARG002
        for pair in req.query_string.split(b"&"):
            name, _, value = (unquote_to_bytes(part.replace(b"+", b" ")) for part in pair.partition(b"="))
            if not is_utf8(name) or not is_utf8(value):
                raise InvalidRequest({name.decode(errors="replace"): ["Not valid UTF-8."]})
        repeated = [name for name, values in req.args.lists() if len(values) > 1]
        if repeated:
            raise InvalidRequest({name: ["Given more than once."] for name in repeated})
        return req.args.to_dict()

    def load_json(self, req: Request, schema: marshmallow.Schema) -> Any:  # noqa: ARG002
        body = read_body(req)
        if not body:
            raise InvalidRequest(["The body is empty; send a JSON object."])
        if not req.is_json:
            raise UnsupportedMediaType
        return parse_json(body)

    def handle_error(self, error: marshmallow.ValidationError, *_: Any, **__: Any) -> NoReturn:
        [messages] = error.normalized_messages().values()  # Under the name of the location: json or query.
        raise InvalidRequest(messages) from error


def read_body(req: Request) -> bytes:
    """Read the body to its end, as often as is asked for. Raises InvalidRequest, RequestEntityTooLarge."""
    try:
        body = req.get_data()
    except (OSError, ParseException) as error:  # As gunicorn reports broken chunks.
        raise InvalidRequest(["The body can't be read to its end."]) from error
    if req.content_length is None and len(body) == req.max_content_length:
        raise RequestEntityTooLarge  # Werkzeug cuts a chunked body at the limit and says nothing.
    if body and perf_counter() - g.began > _SLOW_BODY:
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
        return json.loads(body.decode(), parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise InvalidRequest(["Nested too deeply."]) from error
    except ValueError as error:  # Bad UTF-8 and integers of more than 4,300 digits are ValueErrors too.
        raise InvalidRequest([f"Not valid JSON: {error}."]) from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)


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
