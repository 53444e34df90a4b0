"""Entity tags of contacts (RFC 9110, section 8.8.3), without the quotes."""

import re
from typing import Any

_TAG = re.compile("([0-9]{1,9})(-open)?")


def contact_etag(contact: dict[str, Any]) -> str:
    # The service window closes by itself: the representation changes, the version doesn't.
    return f"{contact['version']}-open" if contact["service_window_open"] else str(contact["version"])


def contact_version(etag: str) -> int | None:
    """The version in a contact's entity tag; None if it is no such tag."""
    match = _TAG.fullmatch(etag)
    return int(match[1]) if match else None
