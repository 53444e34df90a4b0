"""Operations that privacy laws ask for."""

from collections.abc import Iterator
from typing import Any

from flask import Response, g

from contacts_service.privacy.export import export_contact
from contacts_service.web.blueprint import Blueprint
from contacts_service.web.envelope import encode
from contacts_service.web.streaming import streamed
from schemas.privacy import PersonExport

blueprint = Blueprint("privacy", __name__, url_prefix="/api/contacts", description="What is kept of one person.")
_PARTS = ("identifiers", "messages", "sessions", "events", "merges")


@blueprint.route("/<id:id>/export", methods=["GET"])
@blueprint.answers(200, PersonExport)
@blueprint.fails("contact_not_found", "too_many_streams", "unavailable")
def export_person(id: str) -> Response:
    """Export everything of one person

    The contact, its identifiers and former ones, all messages (the oldest first), sessions, events (the latest first)
    and merges, as one document that is written as it is read. If the contact is deleted or merged meanwhile, or the
    database fails, the connection ends before the document does.
    """
    contact, pages = export_contact(id, g.caller.allowed_accounts)
    response = streamed(_document(contact, pages), "application/json")
    response.headers["Content-Disposition"] = f"attachment; filename=contact-{id}.json"
    return response


def _document(contact: dict[str, Any], pages: Iterator[tuple[str, list[dict[str, Any]]]]) -> Iterator[bytes]:
    yield b'{"status":"success","data":{"contact":' + encode(contact)
    parts, current, is_first = iter(_PARTS), None, True
    for name, items in pages:
        while current != name:
            end, current, is_first = b"]" if current else b"", next(parts), True
            yield end + b',"' + current.encode() + b'":['
        for item in items:
            yield (b"" if is_first else b",") + encode(item)
            is_first = False
    yield b"]}}"
