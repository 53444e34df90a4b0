"""Operations of a contact's chatbot sessions."""

from typing import Any

from flask import Response, g

from contacts_service.sessions import use_cases
from contacts_service.web.blueprint import Blueprint
from contacts_service.web.envelope import success
from schemas.sessions import SessionData, SessionList, SessionListQuery, SessionPatch, SessionPut

blueprint = Blueprint("sessions", __name__, url_prefix="/api/contacts", description="What the chatbot collected.")


@blueprint.route("/<id:id>/session-data", methods=["GET"])
@blueprint.answers(200, SessionData)
@blueprint.fails("contact_not_found")
def get_session_data(id: str) -> Response:
    """Get session data

    The variables of the contact's most recent active or completed session, and how the flow's panel shows them. A
    contact without one gets null ids, `{}` and `{"sections": []}`.
    """
    return success(use_cases.get_session_data(id, allowed_accounts=g.caller.allowed_accounts))


@blueprint.route("/<id:id>/session-data", methods=["PUT"])
@blueprint.body(SessionPut)
@blueprint.answers(200, SessionData, "Replaced")
@blueprint.answers(201, SessionData, "Started")
@blueprint.fails("contact_not_found")
def put_session_data(body: dict[str, Any], id: str) -> Response:
    """Start a session or replace its variables

    Starts a session, or replaces all variables of the contact's session that has `session_id`. A `status` or
    `flow_id` that is not sent stays as it is, and begins as `active` and null.
    """
    session, is_new = use_cases.put_session(id, allowed_accounts=g.caller.allowed_accounts, **body)
    return success(session, 201 if is_new else 200)


@blueprint.route("/<id:id>/session-data", methods=["PATCH"])
@blueprint.body(SessionPatch)
@blueprint.answers(200, SessionData, "Merged")
@blueprint.answers(201, SessionData, "Started")
@blueprint.fails("contact_not_found")
def patch_session_data(body: dict[str, Any], id: str) -> Response:
    """Merge variables into a session

    Merges `session_data` as a JSON Merge Patch (RFC 7396) into the given session, or into the one that GET answers;
    where there is none, it starts. Many writers may do so at once: none undoes what another merged.
    """
    session, is_new = use_cases.patch_session(id, allowed_accounts=g.caller.allowed_accounts, **body)
    return success(session, 201 if is_new else 200)


@blueprint.route("/<id:id>/sessions", methods=["GET"])
@blueprint.query(SessionListQuery)
@blueprint.answers(200, SessionList)
@blueprint.fails("contact_not_found", "session_not_found")
def list_sessions(query: dict[str, Any], id: str) -> Response:
    """List a contact's sessions

    Whatever their status, newest first. `before` the last session of a page leads to older ones. A page also ends
    after about 4 MiB; `has_more` tells whether there are more.
    """
    return success(use_cases.list_sessions(id, allowed_accounts=g.caller.allowed_accounts, **query))
