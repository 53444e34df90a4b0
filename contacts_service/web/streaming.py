"""Responses that are written as they are made."""

from collections.abc import Iterable

from flask import Response

from contacts_service.web.observability import ServiceResponse


def streamed(chunks: Iterable[bytes], content_type: str) -> Response:
    """A response that is written as it is made. If that fails, the connection ends without the last chunk."""
    return ServiceResponse(chunks, content_type=content_type)
