"""JSON Merge Patch (RFC 7396)."""

from typing import Any

from contacts_service.errors import TooLarge
from contacts_service.models.fields import JSONText

LARGEST_DOCUMENT = 1024 * 1024  # Bytes of JSON, as many as one request may bring.


def merged_document(before: JSONText | None, patch: dict[str, Any]) -> JSONText:
    """Apply a patch to a stored document, to be stored again. Raises TooLarge."""
    after = JSONText.of(merge_patch(before.parsed() if before else {}, patch))
    if len(after.encode()) > LARGEST_DOCUMENT:
        raise TooLarge
    return after


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a patch, as RFC 7396, section 2 defines it."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
