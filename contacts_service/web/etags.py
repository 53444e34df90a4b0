"""Conditional requests (RFC 9110, section 13): ETag, If-None-Match and If-Match."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Request, Response, request

from contacts_service.errors import InvalidRequest
from contacts_service.web.envelope import success

_Version = TypeVar("_Version")


def success_with_etag(entity: dict[str, Any], etag: str, status: int = 200, **headers: str) -> Response:
    """Answer an entity with its ETag, or 304 to a reader that has it already."""
    environ = request.environ
    is_read = "HTTP_IF_NONE_MATCH" in environ and environ["REQUEST_METHOD"] in {"GET", "HEAD"}
    if is_read and request.if_none_match.contains_weak(etag):
        return Response(status=304, headers={"ETag": f'"{etag}"'})
    return success(entity, status, ETag=f'"{etag}"', **headers)


def expected_versions(version_of: Callable[[str], _Version | None]) -> list[_Version] | None:
    """The versions that If-Match allows, read from its tags by ``version_of``; None for any."""
    if "HTTP_IF_MATCH" not in request.environ or request.if_match.star_tag:
        return None
    # Weak tags never match here (RFC 9110, 13.1.1). Werkzeug reads the empty tag as None.
    tags = sorted(tag or "" for tag in request.if_match.as_set())
    return [version for version in map(version_of, tags) if version is not None]


def must_exist() -> bool:
    """Whether ``If-Match: *`` forbids a PUT to create anything."""
    return request.if_match.star_tag


def must_be_new() -> bool:
    """Whether ``If-None-Match: *`` forbids a PUT to replace anything."""
    return request.if_none_match.star_tag


def require_known_conditions(request: Request, known: tuple[str, ...]) -> None:
    """Raise InvalidRequest for conditions that the operation would ignore: the caller relies on them."""
    environ = request.environ  # Werkzeug raises and catches an error for each header that is missing.
    for name, variable in (("If-Match", "HTTP_IF_MATCH"), ("If-None-Match", "HTTP_IF_NONE_MATCH")):
        if variable in environ and name not in known:
            raise InvalidRequest({name: ["This operation knows no such condition."]})
    if request.method == "PUT" and environ.get("HTTP_IF_NONE_MATCH", "*").strip() != "*":
        raise InvalidRequest({"If-None-Match": ["Only * makes sense here."]})
