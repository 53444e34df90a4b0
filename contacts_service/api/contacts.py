"""Addresses of contacts."""

from typing import Any

from flask import Response

from contacts_service.api.blueprint import Blueprint
from contacts_service.api.envelope import success
from contacts_service.services import contacts
from schemas.contacts import (
    CONTACT_ID,
    Contact,
    ContactAssign,
    ContactCreate,
    ContactListQuery,
    ContactPage,
    ContactUpdate,
)

blueprint = Blueprint("contacts", __name__, url_prefix="/api/contacts", description="The people a business talks to.")

LOCATION = {"Location": {"schema": {"type": "string"}, "example": f"/api/contacts/{CONTACT_ID}"}}


@blueprint.route("", methods=["GET"])
@blueprint.query(ContactListQuery)
@blueprint.answers(200, ContactPage)
def list_contacts(query: dict[str, Any]) -> Response:
    """List contacts

    Those with the newest message first, those without one last; then the newest contact first. A page past the end
    is an empty list.
    """
    return success(contacts.list_contacts(**query))


@blueprint.route("", methods=["POST"])
@blueprint.body(ContactCreate)
@blueprint.answers(201, Contact, headers=LOCATION)
@blueprint.fails("contact_exists")
def create_contact(body: dict[str, Any]) -> Response:
    """Create a contact

    An account has a phone number once, and so have the contacts without account. When it has it already, the answer
    is 409 with the id of that contact in `errors.id`.
    """
    contact = contacts.create_contact(**body)
    return success(contact, 201, Location=f"/api/contacts/{contact['id']}")


@blueprint.route("/<id:id>", methods=["GET"])
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found")
def get_contact(id: str) -> Response:
    """Get a contact"""
    return success(contacts.get_contact(id))


@blueprint.route("/<id:id>", methods=["PUT"])
@blueprint.body(ContactUpdate)
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found")
def update_contact(body: dict[str, Any], id: str) -> Response:
    """Update a contact

    Only the fields that are sent change; null empties one. `metadata` is replaced whole. `name` is what people call
    the contact and `profile_name` what WhatsApp says: a write of one never changes the other.
    """
    return success(contacts.update_contact(id, body))


@blueprint.route("/<id:id>", methods=["DELETE"])
@blueprint.answers(200)
@blueprint.fails("contact_not_found")
def delete_contact(id: str) -> Response:
    """Delete a contact

    Final and complete: its chatbot sessions go with it.
    """
    contacts.delete_contact(id)
    return success(None)


@blueprint.route("/<id:id>/assign", methods=["PUT"])
@blueprint.body(ContactAssign)
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found")
def assign_contact(body: dict[str, Any], id: str) -> Response:
    """Assign a contact

    Says which user looks after the contact from now on; null unassigns.
    """
    return success(contacts.assign_contact(id, body["user_id"]))
