"""The envelope around every JSON response."""

from functools import partial
from typing import Any

import orjson
from flask import Response, g, request

from contacts_service.db.fields import JSONText
from contacts_service.metrics import ERRORS
from contacts_service.web.observability import ServiceResponse


def success(data: Any, status: int = 200, **headers: str) -> Response:
    """Answer ``{"status": "success", "data": …}``. Underscores in header names become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = encode({"status": "success", "data": data})
    return ServiceResponse(body, status, named, content_type="application/json")


def success_with_etag(entity: dict[str, Any], etag: str, status: int = 200, **headers: str) -> Response:
    """Answer an entity with its ETag, or 304 to a reader that has it already."""
    environ = request.environ
    is_read = "HTTP_IF_NONE_MATCH" in environ and environ["REQUEST_METHOD"] in {"GET", "HEAD"}
    if is_read and request.if_none_match.contains_weak(etag):
        return Response(status=304, headers={"ETag": f'"{etag}"'})
    return success(entity, status, ETag=f'"{etag}"', **headers)


def success_with_page(
    query: dict[str, Any], items: list[dict[str, Any]], total: int, next_cursor: str | None
) -> Response:
    """Answer one page of a list, read as PageQuery says."""
    page, limit = None if "cursor" in query else query.get("page", 1), query["limit"]
    counts = {"total": total, "page": page, "limit": limit, "total_pages": -(-total // limit)}
    return success({"items": items, **counts, "next_cursor": next_cursor})


def failure(status: int, code: str, message: str, errors: dict[str, list[str]] | None = None, **more: Any) -> Response:
    """Answer an error; ``errors`` tells what is wrong with which field."""
    ERRORS.labels(code).inc()
    body = error_body(code, message, g.request_id, errors, **more)
    return ServiceResponse(encode(body), status, content_type="application/json")


def error_body(
    code: str, message: str, request_id: str, errors: dict[str, list[str]] | None = None, **more: Any
) -> dict[str, Any]:
    """Make the envelope of an error, for Flask and for the server around it."""
    body: dict[str, Any] = {"status": "error", "message": message, "data": None, "code": code}
    if errors:
        body["errors"] = errors
    return {**body, "request_id": request_id, **more}


def _embed_json(value: Any) -> orjson.Fragment:
    if isinstance(value, JSONText):
        return orjson.Fragment(str(value))  # Fragment takes no subclass.
    raise TypeError(type(value).__name__)


encode = partial(orjson.dumps, default=_embed_json, option=orjson.OPT_UTC_Z | orjson.OPT_PASSTHROUGH_SUBCLASS)
"""Write JSON with Z for UTC; JSONText is copied as it stands."""
