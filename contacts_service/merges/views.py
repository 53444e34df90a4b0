"""Operations of merging contacts and of pairs that may be one person."""

from typing import Any

from flask import Response, g

from contacts_service.contacts.writes import contact_etag, contact_version
from contacts_service.merges import undo, use_cases
from contacts_service.web.blueprint import Blueprint
from contacts_service.web.envelope import success, success_with_etag
from contacts_service.web.parser import expected_versions
from schemas import merging as schemas
from schemas.contacts import Contact

blueprint = Blueprint("merges", __name__, url_prefix="/api/contacts", description="Two contacts that are one person.")


@blueprint.route("/<id:id>/merge", methods=["POST"])
@blueprint.body(schemas.ContactMergeRequest)
@blueprint.answers(200, schemas.MergedContact)
@blueprint.fails("contact_not_found", "account_mismatch")
@blueprint.conditional("If-Match")
def merge_contact(body: dict[str, Any], id: str) -> Response:
    """Merge another contact into this one

    This contact survives, the source ends: its messages, sessions and identifiers move here. Values of this contact
    win and the source fills the gaps, `metadata` key by key; `tags` are united, `unread_count` is added, and of
    `marketing_opt_out` the newest word of both counts, an opt-out where the other has none. Afterwards every operation
    on the source is 410 `contact_merged` with the survivor in `errors.id` and `Link`. It can be undone for 30 days.
    """
    contact = use_cases.merge(
        id, allowed_accounts=g.caller.allowed_accounts, expected=expected_versions(contact_version), **body
    )
    # The version that a dry run tells of doesn't exist yet.
    return success(contact) if body["dry_run"] else success_with_etag(contact, contact_etag(contact))


@blueprint.route("/<id:id>/merges", methods=["GET"])
@blueprint.answers(200, schemas.MergeList)
@blueprint.fails("contact_not_found")
def list_merges(id: str) -> Response:
    """List the contacts that were merged into this one

    The latest first, at most 1,000; those that were merged into one of them before stand among them.
    """
    return success({"items": use_cases.list_merges(id, allowed_accounts=g.caller.allowed_accounts)})


@blueprint.route("/<id:id>/merges/<id:source_id>", methods=["DELETE"])
@blueprint.answers(200, Contact)
@blueprint.fails(
    "contact_not_found", "merge_not_found", "merge_final", "contact_exists", "identity_conflict", "contact_unidentified"
)
@blueprint.conditional("If-Match")
def undo_merge(id: str, source_id: str) -> Response:
    """Undo a merge

    Within 30 days. The source is back under its id, with its fields, messages, sessions and identifiers, and is
    answered. What this contact took from it goes back unless it was changed since, `metadata` key by key. Messages that
    were recorded since stay where they are. An identifier that another contact has got meanwhile stays there; when the
    source would have none left, the answer is 409.
    """
    contact = undo.undo_merge(
        id, source_id, allowed_accounts=g.caller.allowed_accounts, expected=expected_versions(contact_version)
    )
    return success(contact)


@blueprint.route("/duplicates", methods=["GET"])
@blueprint.query(schemas.DuplicateListQuery)
@blueprint.answers(200, schemas.DuplicatePage)
def list_duplicates(query: dict[str, Any]) -> Response:
    """List pairs of contacts that may be one person

    In the order in which the contacts were created. A pair is gone when one of the two is merged or deleted.
    """
    items, next_cursor = use_cases.list_duplicates(allowed_accounts=g.caller.allowed_accounts, **query)
    return success({"items": items, "next_cursor": next_cursor})


@blueprint.route("/duplicates/dismiss", methods=["POST"])
@blueprint.body(schemas.DuplicateDismiss)
@blueprint.answers(200)
@blueprint.fails("contact_not_found", "account_mismatch")
def dismiss_duplicate(body: dict[str, Any]) -> Response:
    """Take a pair off the list for good

    The two contacts are two persons, whatever is noticed of them later.
    """
    use_cases.dismiss_duplicate(*body["ids"], allowed_accounts=g.caller.allowed_accounts)
    return success(None)
