"""Operations of contacts."""

from typing import Any

from flask import Response, g, request

from contacts_service.contacts import bulk, events, identity, listing, use_cases
from contacts_service.contacts.writes import contact_etag, contact_version
from contacts_service.web.blueprint import Blueprint
from contacts_service.web.envelope import success, success_with_etag, success_with_page
from contacts_service.web.parser import expected_versions, read_path_text
from schemas.contact_bulk import BulkResult, ContactBulk
from schemas.contact_list import ContactListQuery, ContactPage
from schemas.contacts import TAG_PATTERN, Contact, ContactAssign, ContactCreate, ContactPatch, ContactUpdate, tag_field
from schemas.events import EventList, EventsQuery
from schemas.examples import CONTACT_ID
from schemas.identity import ContactResolve, ResolvedContact

blueprint = Blueprint("contacts", __name__, url_prefix="/api/contacts", description="The people a business talks to.")

TAG = {
    "name": "tag",
    "in": "path",
    "description": "The tag, percent-encoded.",
    "schema": {"type": "string", "maxLength": 50, "pattern": f"^{TAG_PATTERN}$"},
    "example": "vip",
}
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
    return success_with_page(query, *listing.list_contacts(allowed_accounts=g.caller.allowed_accounts, **query))


@blueprint.route("", methods=["POST"])
@blueprint.body(ContactCreate)
@blueprint.answers(201, Contact, headers=LOCATION)
@blueprint.fails("contact_exists", "identity_conflict")
@blueprint.conditional()
def create_contact(body: dict[str, Any]) -> Response:
    """Create a contact

    An account has each phone number, bsuid, parent bsuid and external id once, and so have the contacts without
    account. When it has one already, the answer is 409 with the id of that contact in `errors.id`.
    """
    contact = use_cases.create_contact(allowed_accounts=g.caller.allowed_accounts, **body)
    return success_with_etag(contact, contact_etag(contact), 201, Location=f"/api/contacts/{contact['id']}")


@blueprint.route("/resolve", methods=["POST"])
@blueprint.body(ContactResolve)
@blueprint.answers(200, ResolvedContact, "Found")
@blueprint.answers(201, ResolvedContact, "Created", headers=LOCATION)
@blueprint.fails("contact_unidentified")
@blueprint.conditional()
def resolve_contact(body: dict[str, Any]) -> Response:
    """Find or create a contact by what WhatsApp says

    Looks for the `bsuid`, the `previous_bsuid`, the `parent_bsuid`, the `external_id` and the `phone_number`, in this
    order, and for the number also in the other form in which WhatsApp writes numbers of Mexico, Argentina and Brazil.
    The contact gets the identifiers that no other has. A new bsuid or phone number replaces the old one, which
    `replaced` tells; an `external_id` is never replaced. Renews `profile_name`, `username` and `avatar_url`, and never
    touches `name`. `marketing_opt_out` changes nothing if a newer word is known.

    Identifiers that belong to other contacts stay with them: `conflict_with` has their ids. With `on_conflict: merge`
    they become one contact in the same transaction, the one that was created first, and `merged` has the ids that
    ended; unless they contradict each other by two external ids, or by two bsuids of which the request doesn't say that
    one follows the other. A new contact needs a phone number or a bsuid.
    """
    contact, outcome = identity.resolve_contact(allowed_accounts=g.caller.allowed_accounts, **body)
    data = {**contact, **outcome}
    if outcome["matched_by"]:
        return success_with_etag(data, contact_etag(contact))
    return success_with_etag(data, contact_etag(contact), 201, Location=f"/api/contacts/{contact['id']}")


@blueprint.route("/<id:id>", methods=["GET"])
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found")
@blueprint.conditional("If-None-Match")
def get_contact(id: str) -> Response:
    """Get a contact"""
    contact = use_cases.get_contact(id, allowed_accounts=g.caller.allowed_accounts)
    return success_with_etag(contact, contact_etag(contact))


@blueprint.route("/<id:id>", methods=["PUT"])
@blueprint.body(ContactUpdate)
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found", "contact_exists", "identity_conflict", "contact_unidentified")
@blueprint.conditional("If-Match")
def update_contact(body: dict[str, Any], id: str) -> Response:
    """Update a contact

    Only the fields that are sent change; null empties one that may be null. `metadata` and `tags` are replaced whole.
    `name` is what people call the contact, `profile_name` what WhatsApp says: a write of one never changes the other.

    Of all words on marketing the newest counts by `marketing_opt_out_at`, by default now. One that is older than what
    is known is left out: the answer is 200 with the contact as it is, unchanged if nothing else was sent.
    """
    return _update(id, body)


@blueprint.route("/<id:id>", methods=["PATCH"])
@blueprint.body(ContactPatch)
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found", "contact_exists", "identity_conflict", "contact_unidentified")
@blueprint.conditional("If-Match")
def patch_contact(body: dict[str, Any], id: str) -> Response:
    """Patch a contact

    A JSON Merge Patch (RFC 7396), as `application/merge-patch+json` or `application/json`: as PUT, but `metadata` is
    merged key by key, and null removes a key of it. Many writers may do so at once: none undoes what another merged.
    """
    return _update(id, body, merge=True)


@blueprint.route("/<id:id>", methods=["DELETE"])
@blueprint.answers(200)
@blueprint.fails("contact_not_found")
@blueprint.conditional("If-Match")
def delete_contact(id: str) -> Response:
    """Delete a contact

    Final and complete: its messages, chatbot sessions and tags go with it.
    """
    allowed_accounts = g.caller.allowed_accounts
    use_cases.delete_contact(id, allowed_accounts=allowed_accounts, expected=expected_versions(contact_version))
    return success(None)


@blueprint.route("/<id:id>/events", methods=["GET"])
@blueprint.query(EventsQuery)
@blueprint.answers(200, EventList)
@blueprint.fails("contact_not_found", "event_not_found")
def list_events(query: dict[str, Any], id: str) -> Response:
    """List who changed what

    Newest first. Recorded messages are no events, and neither are writes that change nothing; what a message teaches of
    its contact, such as another profile name, is one.
    """
    return success(events.list_events(id, allowed_accounts=g.caller.allowed_accounts, **query))


@blueprint.route("/<id:id>/assign", methods=["PUT"])
@blueprint.body(ContactAssign)
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found")
@blueprint.conditional("If-Match")
def assign_contact(body: dict[str, Any], id: str) -> Response:
    """Assign a contact

    Says which user looks after the contact from now on; null unassigns.
    """
    return _update(id, {"assigned_to": body["user_id"]})


@blueprint.route("/<id:id>/mark-read", methods=["POST"])
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found")
@blueprint.conditional("If-Match")
def mark_read(id: str) -> Response:
    """Mark a contact's messages as read

    Sets `unread_count` to 0. It takes no body.
    """
    return _update(id, {"unread_count": 0})


@blueprint.route("/<id:id>/tags/<text:tag>", methods=["PUT"], parameters=[TAG])
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found", "contact_merged")
@blueprint.conditional("If-Match")
def add_tag(id: str, tag: str) -> Response:  # noqa: ARG001 - Read from the path.
    """Add a tag

    Answers the contact also when it has the tag already. Many writers may do so at once: none undoes what another did.
    """
    return _tag(id, "add")


@blueprint.route("/<id:id>/tags/<text:tag>", methods=["DELETE"], parameters=[TAG])
@blueprint.answers(200, Contact)
@blueprint.fails("contact_not_found", "contact_merged")
@blueprint.conditional("If-Match")
def remove_tag(id: str, tag: str) -> Response:  # noqa: ARG001 - Read from the path.
    """Remove a tag

    Answers the contact also when it doesn't have the tag.
    """
    return _tag(id, "remove")


@blueprint.route("/bulk", methods=["POST"])
@blueprint.body(ContactBulk)
@blueprint.answers(200, BulkResult)
@blueprint.fails("total_changed")
def change_contacts(body: dict[str, Any]) -> Response:
    """Change many contacts

    Sets fields, adds and removes tags of all contacts that `filter` chooses: the list's parameters, with their texts as
    values, such as `"unread": "true"`; `{}` chooses all. If it doesn't choose `expected_total` contacts the answer is
    409 with their number in `errors.total`, and nothing is written. `matched` are the contacts that were chosen, and
    `changed` those that weren't so already. A word on marketing that is newer than `marketing_opt_out_at` stays.

    Which contacts is decided first, by up to 100,000. Then they are changed in batches, so that other writers get their
    turn; each batch is one transaction. After an error some are changed: send the request again. With an
    `Idempotency-Key` all is one transaction, for which other writers may have to wait, of at most 100,000 contacts.
    """
    result = bulk.change_contacts(
        body["filter"],
        allowed_accounts=g.caller.allowed_accounts,
        expected_total=body["expected_total"],
        changes=body.get("set", {}),
        add_tags=body.get("add_tags", []),
        remove_tags=body.get("remove_tags", []),
    )
    return success(result)


def _tag(contact_id: str, change: str) -> Response:
    contact = use_cases.tag_contact(
        contact_id,
        **{change: [read_path_text(request, "tag", tag_field())]},
        allowed_accounts=g.caller.allowed_accounts,
        expected=expected_versions(contact_version),
    )
    return success_with_etag(contact, contact_etag(contact))


def _update(contact_id: str, changes: dict[str, Any], *, merge: bool = False) -> Response:
    contact = use_cases.update_contact(
        contact_id,
        changes,
        allowed_accounts=g.caller.allowed_accounts,
        expected=expected_versions(contact_version),
        merge=merge,
    )
    return success_with_etag(contact, contact_etag(contact))
