"""Addresses of contacts."""

from typing import Any

from flask import Response

from contacts_service.api.blueprint import Blueprint
from contacts_service.api.envelope import success
from contacts_service.api.keys import accounts
from contacts_service.api.versions import expected_contact, versioned
from contacts_service.services import contact_list, contacts, identity
from schemas.contact_list import ContactListQuery, ContactPage
from schemas.contacts import CONTACT_ID, Contact, ContactAssign, ContactCreate, ContactPatch, ContactUpdate
from schemas.identity import ContactResolve, ResolvedContact

blueprint = Blueprint("contacts", __name__, url_prefix="/api/contacts", description="The people a business talks to.")

LOCATION = {"Location": {"schema": {"type": "string"}, "example": f"/api/contacts/{CONTACT_ID}"}}


@blueprint.route("", methods=["GET"])
@blueprint.query(ContactListQuery)
@blueprint.answers(200, ContactPage)
def list_contacts(query: dict[str, Any]) -> Response:
    """List contacts

    By default those with the newest message first, those without one last, then the newest contact first. A page past
    the end is an empty list.

    `next_cursor` leads on in the same order with the same filters, at the cost of a first page however deep; it is
    null on the last page. With `sort=created` following it visits every contact that exists throughout exactly once,
    whatever is created, deleted or written to meanwhile. With `sort=recent` a contact that gets a message moves to the
    front, so a reader that is past the front may miss it; what stays put is neither missed nor seen twice.
    """
    return success(contact_list.list_contacts(accounts=accounts(), **query))


@blueprint.route("", methods=["POST"])
@blueprint.body(ContactCreate)
@blueprint.answers(201, Contact, headers=LOCATION)
@blueprint.fails("contact_exists", "identity_conflict")
@blueprint.versioned()
def create_contact(body: dict[str, Any]) -> Response:
    """Create a contact

    An account has a phone number and a bsuid once, and so have the contacts without account. When it has one already,
    the answer is 409 with the id of that contact in `errors.id`.
    """
    contact = contacts.create_contact(accounts=accounts(), **body)
    return versioned(contact, 201, Location=f"/api/contacts/{contact['id']}")


@blueprint.route("/resolve", methods=["POST"])
@blueprint.body(ContactResolve)
@blueprint.answers(200, ResolvedContact, "Found")
@blueprint.answers(201, ResolvedContact, "Created", headers=LOCATION)
@blueprint.fails("identity_conflict")
@blueprint.versioned()
def resolve_contact(body: dict[str, Any]) -> Response:
    """Find or create a contact by what WhatsApp says

    Looks for the `bsuid`, the `previous_bsuid` and the `phone_number`, also in the other form in which WhatsApp writes
    numbers of Mexico, Argentina and Brazil. Fills in identifiers that the contact lacked, replaces a previous bsuid,
    renews `profile_name`, `username` and `avatar_url`, and never touches `name`. Identifiers of two contacts are 409
    with both ids in `errors.id`, and nothing is written.
    """
    contact, matched_by = identity.resolve_contact(accounts=accounts(), **body)
    answer = {**contact, "matched_by": matched_by}
    return versioned(answer) if matched_by else versioned(answer, 201, Location=f"/api/contacts/{contact['id']}")


@blueprint.route("/<id:id>", methods=["GET"])
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found")
@blueprint.versioned("If-None-Match")
def get_contact(id: str) -> Response:
    """Get a contact"""
    return versioned(contacts.get_contact(id, accounts=accounts()))


@blueprint.route("/<id:id>", methods=["PUT"])
@blueprint.body(ContactUpdate)
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found", "contact_exists", "identity_conflict", "contact_unidentified")
@blueprint.versioned("If-Match")
def update_contact(body: dict[str, Any], id: str) -> Response:
    """Update a contact

    Only the fields that are sent change; null empties one that may be null. `metadata` and `tags` are replaced whole.
    `name` is what people call the contact, `profile_name` what WhatsApp says: a write of one never changes the other.
    """
    return versioned(contacts.update_contact(id, body, accounts=accounts(), expected=expected_contact()))


@blueprint.route("/<id:id>", methods=["PATCH"])
@blueprint.body(ContactPatch)
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found", "contact_exists", "identity_conflict", "contact_unidentified")
@blueprint.versioned("If-Match")
def patch_contact(body: dict[str, Any], id: str) -> Response:
    """Patch a contact

    A JSON Merge Patch (RFC 7396), as `application/merge-patch+json` or `application/json`: as PUT, but `metadata` is
    merged key by key, and null removes a key of it. Many writers may do so at once: none undoes what another merged.
    """
    changed = contacts.update_contact(id, body, accounts=accounts(), expected=expected_contact(), merge=True)
    return versioned(changed)


@blueprint.route("/<id:id>", methods=["DELETE"])
@blueprint.answers(200)
@blueprint.fails("contact_not_found")
@blueprint.versioned("If-Match")
def delete_contact(id: str) -> Response:
    """Delete a contact

    Final and complete: its messages, chatbot sessions and tags go with it.
    """
    contacts.delete_contact(id, accounts=accounts(), expected=expected_contact())
    return success(None)


@blueprint.route("/<id:id>/assign", methods=["PUT"])
@blueprint.body(ContactAssign)
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found")
@blueprint.versioned("If-Match")
def assign_contact(body: dict[str, Any], id: str) -> Response:
    """Assign a contact

    Says which user looks after the contact from now on; null unassigns.
    """
    assigned = contacts.assign_contact(id, body["user_id"], accounts=accounts(), expected=expected_contact())
    return versioned(assigned)


@blueprint.route("/<id:id>/mark-read", methods=["POST"])
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found")
@blueprint.versioned("If-Match")
def mark_read(id: str) -> Response:
    """Mark a contact's messages as read

    Sets `unread_count` to 0. It takes no body.
    """
    return versioned(contacts.mark_read(id, accounts=accounts(), expected=expected_contact()))
