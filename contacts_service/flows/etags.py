"""Entity tags of flows (RFC 9110, section 8.8.3), without the quotes."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

Version = tuple[datetime, int]
"""Time of creation and version: a flow that was deleted and put again begins with version 1 once more."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TAG = re.compile("([0-9]{1,16})-([0-9]{1,9})")


def flow_etag(flow: dict[str, Any]) -> str:
    return f"{(flow['created_at'] - _EPOCH) // _MICROSECOND}-{flow['version']}"


def flow_version(etag: str) -> Version | None:
    """The version in a flow's entity tag; None if it is no such tag."""
    match = _TAG.fullmatch(etag)
    return (_EPOCH + int(match[1]) * _MICROSECOND, int(match[2])) if match else None
