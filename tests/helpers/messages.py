"""Messages as a webhook receiver records them."""

from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2024, 1, 1, tzinfo=UTC)


def message(number: int = 0, *, second: int | None = None, **fields: Any) -> dict[str, Any]:
    """Make a message with a WhatsApp id; ``second`` is its time."""
    moment = START + timedelta(seconds=number if second is None else second)
    return {
        "wa_message_id": f"wamid.{number:04}",
        "direction": "incoming",
        "type": "text",
        "content": {"body": f"text {number}"},
        "timestamp": moment.isoformat(),
        **fields,
    }
