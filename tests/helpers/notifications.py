"""Example notifications in the format of Meta's Cloud API; docs/whatsapp.md names the page behind each."""

from typing import Any

BUSINESS = {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"}
ANA = {"wa_id": "5511987654321", "user_id": "BR.20593748193847561029", "profile": {"name": "Ana 🌷"}}
BOB = {"wa_id": "16505551234", "user_id": "US.13491208655302741918", "profile": {"name": "Bob"}}
HIDDEN = {"user_id": "DE.99382716450912837465", "profile": {"name": "Kim", "username": "kim.hidden"}}


def notification(field: str = "messages", **value: Any) -> dict[str, Any]:
    change = {"field": field, "value": {"messaging_product": "whatsapp", "metadata": BUSINESS, **value}}
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
    }
    if "wa_id" in recipient:
        body["recipient_id"] = recipient["wa_id"]
    contacts = {} if name == "failed" else {"contacts": [recipient]}
    return notification(**contacts, statuses=[{**body, **extra}])


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


def system(number: int, second: int, sender: dict[str, Any], **change: Any) -> dict[str, Any]:
    """Make a system message; it never comes with contacts."""
    message = {"id": f"wamid.in{number:04}", "timestamp": str(1_704_070_000 + second), "type": "system"}
    return notification(messages=[{**message, **sender, "system": {"body": "User Bob changed", **change}}])


NUMBER_CHANGED = system(
    40,
    0,
    {"from": BOB["wa_id"]},
    type="user_changed_number",
    wa_id="12195555358",
    user_id="US.24502319766413852029",
    previous_user_id=BOB["user_id"],
)
NEW_BOB = {"wa_id": "12195555358", "user_id": "US.24502319766413852029", "profile": {"name": "Bob"}}
AFTER_THE_CHANGE = incoming(41, NEW_BOB, "text", {"body": "New phone"}, timestamp="1704070060")
CHANGED_AGAIN = system(
    42,
    100,
    {"from": NEW_BOB["wa_id"]},
    type="user_changed_number",
    wa_id="13125550142",
    user_id="US.35613420877524963130",
    previous_user_id=NEW_BOB["user_id"],
)
BSUID_CHANGED = system(
    50,
    1,
    {},
    type="user_changed_user_id",
    user_id="DE.11111111111111111111",
    parent_user_id="DE.ENT.22222222222222222222",
    previous_user_id=HIDDEN["user_id"],
)
AFTER_BSUID_CHANGED = incoming(
    51, {**HIDDEN, "user_id": "DE.11111111111111111111"}, "text", {"body": "Still me"}, timestamp="1704070062"
)


def preference(person: dict[str, Any], value: str, second: int, category: str = "marketing_messages") -> dict[str, Any]:
    ids = {name: person[name] for name in ("wa_id", "user_id") if name in person}
    said = {"detail": f"User requested to {value} marketing messages", "category": category, "value": value}
    timestamp = 1_704_070_000 + second  # A number, other than in messages.
    return notification("user_preferences", contacts=[ids], user_preferences=[{**ids, **said, "timestamp": timestamp}])


PREFERENCES = [
    preference(ANA, "stop", 1),
    preference(ANA, "resume", 2),
    preference(BOB, "resume", 3),
    preference(BOB, "stop", 4),
    preference(HIDDEN, "stop", 5),
    preference(ANA, "stop", 6, category="something_new"),
]


def call(number: int, person: dict[str, Any], side: str, event: str, **extra: Any) -> dict[str, Any]:
    body = {"id": f"wacid.{number:04}", "from": BUSINESS["display_phone_number"], "to": person["wa_id"], "event": event}
    if side == "from":
        body |= {"from": body["to"], "to": body["from"]}
    body |= {f"{side}_user_id": person["user_id"], "timestamp": str(1_704_090_000 + number), **extra}
    body["direction"] = "USER_INITIATED" if side == "from" else "BUSINESS_INITIATED"
    return notification("calls", contacts=[person], calls=[body])


CALLS = [
    call(1, BOB, "from", "connect", session={"sdp_type": "offer", "sdp": "v=0"}),
    call(1, BOB, "from", "terminate", status="COMPLETED", duration=33, start_time="1704090001", end_time="1704090034"),
    call(2, BOB, "to", "connect", session={"sdp_type": "answer", "sdp": "v=0"}),
    call(2, BOB, "to", "terminate", status="FAILED"),
    notification(
        "calls", statuses=[{"id": "wacid.0002", "type": "call", "status": "RINGING", "timestamp": "1704090002"}]
    ),
]

GROUP = "Y2FwaV9ncm91cDoxOTk4ODc3NjY1NTQ0MzMyMjEx"
GROUPS = [
    incoming(70, BOB, "text", {"body": "To everybody"}, group_id=GROUP),
    status(6, "delivered", BOB, 20, recipient_id=GROUP, recipient_type="group", recipient_participant_id=BOB["wa_id"]),
]

# Somebody whom a campaign knows by number alone, who hides it when writing, and shares it in the end.
LEO = {"user_id": "FR.40127784512099834561", "parent_user_id": "FR.ENT.55018273645091827364"}
LEO |= {"profile": {"name": "Léo", "username": "@leo"}}
LEO_NUMBER = "33612345678"
CARD = {"origin": "contact_request", "phones": [{"phone": "+33 6 12 34 56 78", "wa_id": LEO_NUMBER, "type": "CELL"}]}
CAMPAIGN_STATUS = status(
    7,
    "delivered",
    {**LEO, "wa_id": LEO_NUMBER},
    30,
    recipient_parent_user_id=LEO["parent_user_id"],
)
LEO_WRITES = incoming(80, LEO, "text", {"body": "Bonjour"}, from_parent_user_id=LEO["parent_user_id"])
LEO_SHARES = incoming(81, LEO, "contacts", [CARD])
