"""Words of the contract that other modules need too. Imports nothing, so that tables may use it."""

CONSENT_SOURCES = ("import", "person", "whatsapp")
"""Where a word on marketing came from; of the same words at the same time the last of these counts."""
DUPLICATE_REASONS = ("identity_conflict", "phone_variant")
EVENT_KINDS = ("created", "updated", "assigned", "tagged", "read", "merged", "unmerged")
MESSAGE_DIRECTIONS = ("incoming", "outgoing")
MESSAGE_STATUSES = ("pending", "sent", "delivered", "failed", "read")
"""From low to high. A status never moves down, so the final one is the same in whatever order they arrive. WhatsApp may
report a failure after it has reported a delivery, but not after a read."""
MESSAGE_TYPES = (
    "text",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contacts",
    "interactive",
    "button",
    "template",
    "reaction",
    "order",
    "system",
    "edit",
    "revoke",
    "call",
    "unsupported",
)
SESSION_STATUSES = ("active", "completed", "cancelled", "timeout")
MAX_SEARCH_WORDS = 12
MAX_TAGS = 50
"""Of a search; each costs the database a list of matches."""
