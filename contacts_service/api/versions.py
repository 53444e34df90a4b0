"""Conditional requests (RFC 9110, section 13): ETag, If-None-Match and If-Match."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from flask import Request, Response, request

from contacts_service.api.entity_tags import contact_version, flow_version, tag_of
from contacts_service.api.envelope import success
from contacts_service.api.errors import InvalidRequest

_Version = TypeVar("_Version")


def versioned(entity: dict[str, Any], status: int = 200, **headers: str) -> Response:
    """Answer a contact or a flow with its ETag, or 304 to a reader that has it already."""
    tag = tag_of(entity)
    is_read = request.method in {"GET", "HEAD"}
    if is_read and "HTTP_IF_NONE_MATCH" in request.environ and request.if_none_match.contains_weak(tag):
        return Response(status=304, headers={"ETag": f'"{tag}"'})
    return success(entity, status, ETag=f'"{tag}"', **headers)


def expected_contact() -> list[int] | None:
    """Read the versions that If-Match allows a contact to have; None for any."""
    return _expected(contact_version)


def expected_flow() -> list[tuple[datetime, int]] | None:
    """Read the versions that If-Match allows a flow to have; None for any."""
    return _expected(flow_version)


def only_existing() -> bool:
    """Tell whether ``If-Match: *`` forbids a PUT to create anything."""
    return request.if_match.star_tag


def only_new() -> bool:
    """Tell whether ``If-None-Match: *`` forbids a PUT to replace anything."""
    return request.if_none_match.star_tag


def refuse_conditions(request: Request, known: tuple[str, ...]) -> None:
    """Refuse conditions that the operation would ignore: the caller relies on them. Raises InvalidRequest."""
    for name in ("If-Match", "If-None-Match"):
        if name not in known and name in request.headers:
            raise InvalidRequest({name: ["This operation knows no such condition."]})
    if request.method == "PUT" and request.headers.get("If-None-Match", "*").strip() != "*":
        raise InvalidRequest({"If-None-Match": ["Only * makes sense here."]})


def _expected(version: Callable[[str], _Version | None]) -> list[_Version] | None:
    if "If-Match" not in request.headers or request.if_match.star_tag:
        return None
    # Weak tags never match here (RFC 9110, 13.1.1). Werkzeug reads the empty tag as None.
    tags = [tag or "" for tag in request.if_match.as_set()]
    return [found for tag in sorted(tags) if (found := version(tag)) is not None]
