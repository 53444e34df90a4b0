"""The envelope around every JSON answer."""

from typing import Any

import orjson
from flask import Response, request

from contacts_service.api.request_log import seen
from contacts_service.metrics import ERRORS
from contacts_service.models.fields import JSONText


def success(data: Any, status: int = 200, **headers: str) -> Response:
    """Answer ``{"status": "success", "data": …}``. Header names are given with underscores."""
    response = _json({"status": "success", "data": data}, status)
    for name, value in headers.items():
        response.headers.add(name.replace("_", "-"), value)
    return response


def failure(status: int, code: str, message: str, errors: dict[str, list[str]] | None = None, **more: Any) -> Response:
    """Answer an error; ``errors`` tells what is wrong with which field."""
    ERRORS.labels(code).inc()
    return _json(error_body(code, message, seen(request).request_id, errors, **more), status)


def error_body(
    code: str, message: str, request_id: str, errors: dict[str, list[str]] | None = None, **more: Any
) -> dict[str, Any]:
    """Make the envelope of an error, for Flask and for the server around it."""
    body: dict[str, Any] = {"status": "error", "message": message, "data": None, "code": code}
    if errors:
        body["errors"] = errors
    return {**body, "request_id": request_id, **more}


def _json(body: Any, status: int) -> Response:
    return Response(encode(body), status, content_type="application/json")


def encode(body: Any) -> bytes:
    """Write JSON with Z for UTC; text that is JSON already goes in as it stands."""
    return orjson.dumps(body, _embed_json, orjson.OPT_UTC_Z | orjson.OPT_PASSTHROUGH_SUBCLASS)


def _embed_json(value: Any) -> orjson.Fragment:
    if isinstance(value, JSONText):
        return orjson.Fragment(str(value))  # Fragment takes no subclass.
    raise TypeError(type(value).__name__)
