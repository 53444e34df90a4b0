"""Example notifications of a business that also uses the WhatsApp Business app on a phone ("coexistence")."""

from typing import Any

from helpers.notifications import BUSINESS, MEDIA, incoming, notification, status

EVA = {"wa_id": "34600111222", "user_id": "ES.77120934857610293847", "username": "eva.m"}
EVA_SAYS = {"wa_id": EVA["wa_id"], "user_id": EVA["user_id"], "profile": {"name": "Eva"}}


def echo(number: int, kind: str, content: Any, second: int) -> dict[str, Any]:
    message = {"from": BUSINESS["display_phone_number"], "to": EVA["wa_id"], "to_user_id": EVA["user_id"]}
    message |= {"id": f"wamid.app{number:04}", "timestamp": str(1_704_080_000 + second), "type": kind, kind: content}
    contact = {"profile": {"username": "@eva.m"}, "wa_id": EVA["wa_id"], "user_id": EVA["user_id"]}
    return notification("smb_message_echoes", contacts=[contact], message_echoes=[message])


def old(number: int, writer: str, kind: str, content: Any = None, status: str = "READ") -> dict[str, Any]:
    """Make a message of a history thread."""
    message = {"from": writer, "id": f"wamid.old{number:04}", "timestamp": str(1_700_000_000 + number), "type": kind}
    return {**message, "history_context": {"status": status}, **({kind: content} if content else {})}


THREAD = {
    "id": EVA["wa_id"],
    "context": EVA,
    "messages": [
        old(1, EVA["wa_id"], "text", {"body": "¿Abrís el lunes?"}),
        old(2, BUSINESS["display_phone_number"], "text", {"body": "Sí, a las nueve"}),
        old(3, BUSINESS["display_phone_number"], "media_placeholder", status="PLAYED"),
        old(4, EVA["wa_id"], "media_placeholder"),
        old(5, BUSINESS["display_phone_number"], "text", {"body": "¿Recibido?"}, status="ERROR"),
    ],
}
HISTORY = notification(
    "history", history=[{"metadata": {"phase": 0, "chunk_order": 1, "progress": 100}, "threads": [THREAD]}]
)
HISTORY_MEDIA = notification(
    "history",
    contacts=[{"profile": {"username": "eva.m"}, "wa_id": EVA["wa_id"], "user_id": EVA["user_id"]}],
    messages=[
        {"from": EVA["wa_id"], "from_user_id": EVA["user_id"], "id": "wamid.old0004", "timestamp": "1700000004"}
        | {"type": "image", "image": {**MEDIA, "caption": "Mi pedido"}}
    ],
    message_echoes=[
        {"from": BUSINESS["display_phone_number"], "to": EVA["wa_id"], "to_user_id": EVA["user_id"]}
        | {"id": "wamid.old0003", "timestamp": "1700000003", "type": "audio", "audio": {"id": "7", "voice": True}}
    ],
)
HISTORY_DECLINED = notification(
    "history", history=[{"errors": [{"code": 2593109, "title": "History sync is turned off by the business"}]}]
)
EDITED = {
    "original_message_id": "wamid.in0060",
    "message": {"context": {"id": "M0"}, "type": "text", "text": {"body": "Hola!"}},
}


def synced(contact: dict[str, Any], action: str = "add") -> dict[str, Any]:
    entry = {"type": "contact", "contact": contact, "action": action, "metadata": {"timestamp": "1704080050"}}
    return notification("smb_app_state_sync", state_sync=[entry])


COEXISTENCE = [
    HISTORY,
    HISTORY_MEDIA,
    HISTORY_DECLINED,
    incoming(60, EVA_SAYS, "text", {"body": "Hola"}, timestamp="1704080001"),
    incoming(61, EVA_SAYS, "edit", EDITED, timestamp="1704080002"),
    incoming(62, EVA_SAYS, "revoke", {"original_message_id": "wamid.in0060"}, timestamp="1704080003"),
    echo(1, "text", {"body": "Buenos días"}, 10),
    echo(2, "image", {**MEDIA, "caption": "La carta"}, 11),
    echo(3, "edit", {"original_message_id": "wamid.app0001", "message": {"type": "text"}}, 12),
    echo(4, "revoke", {"original_message_id": "wamid.app0002"}, 13),
    status(0, "delivered", EVA_SAYS, 9300, id="wamid.app0001"),
    synced({"full_name": "Eva Martín", "first_name": "Eva", "phone_number": EVA["wa_id"], "user_id": EVA["user_id"]}),
    synced({"full_name": "Paco Ruiz", "first_name": "Paco", "phone_number": "34600333444"}),
    synced({"phone_number": "34600333444"}, "remove"),
]
