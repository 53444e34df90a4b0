"""Entity tags of contacts and flows (RFC 9110, section 8.8.3)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CONTACT_TAG = re.compile("([0-9]{1,9})(-open)?")
_FLOW_TAG = re.compile("([0-9]{1,16})-([0-9]{1,9})")


def tag_of(entity: dict[str, Any]) -> str:
    """Make the tag of a contact or a flow, without the quotes."""
    if "panel_config" in entity:
        # A flow that was deleted and put again begins with version 1 once more.
        return f"{(entity['created_at'] - _EPOCH) // _MICROSECOND}-{entity['version']}"
    # The service window closes by itself: the answer changes, the version doesn't.
    return f"{entity['version']}-open" if entity["service_window_open"] else str(entity["version"])


def contact_version(tag: str) -> int | None:
    """Read the version from a contact's tag; None when it is no such tag."""
    found = _CONTACT_TAG.fullmatch(tag)
    return int(found[1]) if found else None


def flow_version(tag: str) -> tuple[datetime, int] | None:
    """Read time of creation and version from a flow's tag; None when it is no such tag."""
    found = _FLOW_TAG.fullmatch(tag)
    return (_EPOCH + int(found[1]) * _MICROSECOND, int(found[2])) if found else None
