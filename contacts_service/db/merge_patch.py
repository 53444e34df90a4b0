"""JSON Merge Patch (RFC 7396) of stored documents."""

from typing import Any

from contacts_service.db.fields import JSONText
from contacts_service.errors import DocumentTooLarge
from contacts_service.settings import MAX_BODY_BYTES


def patched_document(document: JSONText | None, patch: dict[str, Any]) -> JSONText:
    """Apply a merge patch to a stored document. Raises DocumentTooLarge."""
    return bounded_document(merge_patch(document.parsed() if document else {}, patch))


def bounded_document(value: Any) -> JSONText:
    """Write a document that may have grown. Raises DocumentTooLarge."""
    document = JSONText.of(value)
    if len(document.encode()) > MAX_BODY_BYTES:
        raise DocumentTooLarge
    return document


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a patch as RFC 7396, section 2 defines it."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
