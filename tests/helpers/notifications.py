"""Example notifications in the format of Meta's Cloud API.

The shape follows Meta's documentation as of 2026: "Webhooks reference, messages" (messages, contacts, statuses,
errors, system messages) and "Business-scoped user IDs" (user_id, from_user_id, recipient_user_id, username).
"""

from typing import Any

BUSINESS = {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"}
ANA = {"wa_id": "5511987654321", "user_id": "BR.20593748193847561029", "profile": {"name": "Ana 🌷"}}
BOB = {"wa_id": "16505551234", "user_id": "US.13491208655302741918", "profile": {"name": "Bob"}}
HIDDEN = {"user_id": "DE.99382716450912837465", "profile": {"name": "Kim", "username": "kim.hidden"}}


def notification(**value: Any) -> dict[str, Any]:
    change = {"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": BUSINESS, **value}}
    return {"object": "whatsapp_business_account", "entry": [{"id": "102290129340398", "changes": [change]}]}


def incoming(number: int, sender: dict[str, Any], kind: str, content: Any, **extra: Any) -> dict[str, Any]:
    message = {
        "from_user_id": sender["user_id"],
        "id": f"wamid.in{number:04}",
        "timestamp": str(1_704_067_200 + number),
        "type": kind,
        **extra,
    }
    if content is not None:
        message[kind] = content
    if "wa_id" in sender:
        message["from"] = sender["wa_id"]
    return notification(contacts=[sender], messages=[message])


def status(number: int, name: str, recipient: dict[str, Any], second: int, **extra: Any) -> dict[str, Any]:
    body = {
        "id": f"wamid.out{number:04}",
        "status": name,
        "timestamp": str(1_704_070_800 + second),
        "recipient_user_id": recipient["user_id"],
        "conversation": {"id": "1e5c0a0f", "origin": {"type": "service"}},
        "pricing": {"billable": True, "pricing_model": "PMP", "category": "service"},
        **extra,
    }
    return notification(statuses=[{**body, "recipient_id": recipient["wa_id"]} if "wa_id" in recipient else body])


OLD_FORM = {**ANA, "wa_id": "551187654321"}
NUMBER_ONLY = {"wa_id": BOB["wa_id"], "profile": BOB["profile"]}
MEDIA = {"mime_type": "image/jpeg", "sha256": "SfInY0gGKTsJlUWbwxC1k+FAD0FZHvzwfpvO0zX0GUI=", "id": "1003383421387256"}

MESSAGES = [
    incoming(1, ANA, "text", {"body": "Oi! Vocês entregam hoje?"}),
    incoming(2, ANA, "image", {**MEDIA, "caption": "Este aqui"}),
    incoming(3, OLD_FORM, "audio", {"mime_type": "audio/ogg; codecs=opus", "id": "1", "voice": True}),
    incoming(4, ANA, "interactive", {"type": "button_reply", "button_reply": {"id": "yes", "title": "Sim"}}),
    incoming(5, BOB, "text", {"body": "Where is my order?"}, context={"from": "15550783881", "id": "wamid.out0001"}),
    incoming(6, BOB, "location", {"latitude": 37.48, "longitude": -122.14, "name": "Home", "address": "1 Road"}),
    incoming(7, BOB, "contacts", [{"name": {"formatted_name": "Sue"}, "phones": [{"phone": "+1 650-555-0000"}]}]),
    incoming(8, BOB, "reaction", {"message_id": "wamid.out0002", "emoji": "👍"}),
    incoming(9, HIDDEN, "text", {"body": "Hello without a number"}),
    incoming(10, HIDDEN, "button", {"payload": "STOP", "text": "Stop offers"}),
    incoming(11, HIDDEN, "order", {"catalog_id": "1", "product_items": [{"product_retailer_id": "x", "quantity": 2}]}),
    incoming(12, BOB, "sticker", {"mime_type": "image/webp", "id": "2", "animated": False}),
    incoming(13, BOB, "document", {**MEDIA, "filename": "invoice.pdf"}),
    incoming(14, BOB, "video", {**MEDIA, "caption": "c" * 300}),
    incoming(15, ANA, "unsupported", None, errors=[{"code": 131051, "title": "Message type unknown"}]),
    incoming(16, BOB, "hologram", {"id": "3"}),
    incoming(17, BOB, "text", {"body": "In the same second, first"}, timestamp="1704067300"),
    incoming(18, BOB, "text", {"body": "In the same second, second"}, timestamp="1704067300"),
    # One notification may hold several messages.
    notification(
        contacts=[ANA],
        messages=[
            {
                "from": ANA["wa_id"],
                "id": f"wamid.in00{number}",
                "timestamp": str(1_704_067_200 + number),
                "type": "text",
            }
            | {"from_user_id": ANA["user_id"], "text": {"body": f"part {number}"}}
            for number in (30, 31)
        ],
    ),
]

STATUSES = [
    status(1, "sent", BOB, 1),
    status(1, "delivered", BOB, 2),
    status(1, "read", BOB, 3),
    status(2, "sent", BOB, 4),
    status(2, "delivered", BOB, 5),
    status(3, "sent", HIDDEN, 6),
    status(3, "failed", HIDDEN, 7, errors=[{"code": 131026, "title": "Message undeliverable"}]),
    status(4, "delivered", ANA, 8),
]

# Messages that the chatbot sent and records itself; WhatsApp's statuses may arrive earlier.
SENT = [("wamid.out0001", BOB), ("wamid.out0002", BOB), ("wamid.out0003", HIDDEN), ("wamid.out0004", ANA)]

NUMBER_CHANGED = notification(
    messages=[
        {
            "from": BOB["wa_id"],
            "id": "wamid.in0040",
            "timestamp": "1704070000",
            "type": "system",
            "system": {
                "body": "User Bob changed from 16505551234 to 12195555358",
                "wa_id": "12195555358",
                "user_id": "US.24502319766413852029",
                "previous_user_id": BOB["user_id"],
                "type": "user_changed_number",
            },
        }
    ]
)
NEW_BOB = {"wa_id": "12195555358", "user_id": "US.24502319766413852029", "profile": {"name": "Bob"}}
AFTER_THE_CHANGE = incoming(41, NEW_BOB, "text", {"body": "New phone"})
BSUID_CHANGED = notification(
    messages=[
        {
            "id": "wamid.in0050",
            "timestamp": "1704070001",
            "type": "system",
            "from_user_id": "DE.11111111111111111111",
            "system": {
                "body": "User Kim changed",
                "user_id": "DE.11111111111111111111",
                "previous_user_id": HIDDEN["user_id"],
                "type": "user_changed_user_id",
            },
        }
    ]
)
