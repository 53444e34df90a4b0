"""What a list shows of a message: its text, its caption, or a word for its type."""

from typing import Any

MAX_PREVIEW = 100
_WORDS = {"contacts": "Contact card", "unsupported": "Unsupported message"}


def preview_of(message_type: str, content: dict[str, Any]) -> str:
    """Make a preview of at most 100 characters.

    ``content`` is what WhatsApp's webhook holds under the type's name, or the object around it.

    >>> preview_of("text", {"body": "Hello"}), preview_of("image", {"caption": "Look"}), preview_of("audio", {})
    ('Hello', 'Look', 'Audio')
    """
    inner = content.get(message_type)
    for part in (inner, content):
        for text in _texts(part) if isinstance(part, dict) else [part]:
            if isinstance(text, str) and text.strip():
                return text.strip()[:MAX_PREVIEW]
    return _WORDS.get(message_type, message_type.capitalize())


def _texts(part: dict[str, Any]) -> list[Any]:
    """The places where WhatsApp puts what a person would read, the likeliest first."""
    replies = [part.get(name) for name in ("button_reply", "list_reply", "nfm_reply")]
    titles = [reply.get("title") or reply.get("body") for reply in replies if isinstance(reply, dict)]
    body = part.get("body")
    body = body.get("text") if isinstance(body, dict) else body
    return [
        body,
        part.get("text"),
        part.get("caption"),
        *titles,
        part.get("emoji"),
        part.get("name"),
        part.get("filename"),
    ]
