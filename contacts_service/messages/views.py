"""Operations of the conversation history."""

from typing import Any

from flask import Response, g

from contacts_service.messages import use_cases
from contacts_service.web.blueprint import Blueprint
from contacts_service.web.envelope import success
from schemas import messages as schemas

blueprint = Blueprint(
    "messages", __name__, url_prefix="/api", description="What was said. Messages are recorded here, not sent."
)


@blueprint.route("/contacts/<id:id>/messages", methods=["GET"])
@blueprint.query(schemas.MessageListQuery)
@blueprint.answers(200, schemas.MessageList)
@blueprint.fails("contact_not_found", "message_not_found")
def list_messages(query: dict[str, Any], id: str) -> Response:
    """List a contact's messages

    Oldest first within a page. Without `before` and `after` it is the newest page; `before` the first message of a page
    leads to older ones, `after` the last to newer ones, both to those between. A page also ends after about 4 MiB;
    `has_more` tells whether there are more in that direction.
    """
    return success(use_cases.list_messages(id, allowed_accounts=g.caller.allowed_accounts, **query))


@blueprint.route("/contacts/<id:id>/messages", methods=["POST"])
@blueprint.body(schemas.MessageCreate)
@blueprint.answers(200, schemas.Message, "Recorded before")
@blueprint.answers(201, schemas.Message, "Recorded")
@blueprint.fails("contact_not_found")
def record_message(body: dict[str, Any], id: str) -> Response:
    """Record a message

    A `wa_message_id` that the account has already answers 200 with the first record and changes nothing, also when that
    is another contact's: `contact_id` says whose. An incoming message raises `unread_count`; `last_message_at`,
    `last_inbound_at` and the preview move forward, never back, in whatever order messages arrive. A `reaction`, `edit`,
    `revoke` or `system` message raises no `unread_count`, is no preview and doesn't move `last_message_at`; of these
    only a `reaction` moves `last_inbound_at`. With `history` a message counts as read.
    """
    message, is_new = use_cases.record_message(id, allowed_accounts=g.caller.allowed_accounts, **body)
    return success(message, 201 if is_new else 200)


@blueprint.route("/messages", methods=["POST"])
@blueprint.body(schemas.MessageReceive)
@blueprint.answers(200, schemas.ReceivedMessage, "Recorded before")
@blueprint.answers(201, schemas.ReceivedMessage, "Recorded")
@blueprint.fails("contact_unidentified")
def receive_message(body: dict[str, Any]) -> Response:
    """Record a message and its contact

    For a webhook receiver: finds or creates the contact as `POST /api/contacts/resolve` does, and records the message,
    in one transaction. It is recorded whichever contacts have the identifiers. What is older than the newest incoming
    message fills gaps of the contact and replaces nothing. The same message again answers 200 with the first record and
    changes nothing.
    """
    message, is_new = use_cases.receive_message(allowed_accounts=g.caller.allowed_accounts, **body)
    return success(message, 201 if is_new else 200)


@blueprint.route("/messages/status", methods=["PUT"])
@blueprint.body(schemas.StatusByWaIdPut)
@blueprint.answers(200, schemas.Message)
@blueprint.answers(202, None, "Kept until the message is recorded")
@blueprint.fails("invalid_request")
def set_status_by_wa_id(body: dict[str, Any]) -> Response:
    """Set a message's status by WhatsApp's id

    As `PUT /api/messages/{id}/status`. WhatsApp may report a status before the sender has recorded the message: such a
    status is answered with 202, kept for 30 days, and applied when the message comes.

    `contact` is what WhatsApp says of the recipient: the message's contact gets its identifiers as by
    `POST /api/contacts/resolve`; before the message is recorded, the contact that has some of them.
    """
    message = use_cases.set_status_by_wa_id(allowed_accounts=g.caller.allowed_accounts, **body)
    return success(message, 200 if message else 202)


@blueprint.route("/messages/<id:id>/status", methods=["PUT"])
@blueprint.body(schemas.StatusPut)
@blueprint.answers(200, schemas.Message)
@blueprint.fails("message_not_found")
def set_status(body: dict[str, Any], id: str) -> Response:
    """Set a message's status

    Forward only: `pending`, `sent`, `delivered`, `read`; `failed` from any but `read`. A late lower one is ignored.
    """
    return success(use_cases.set_status(id, allowed_accounts=g.caller.allowed_accounts, **body))
