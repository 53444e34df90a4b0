"""Operations of flows."""

from typing import Any

from flask import Response, g, request

from contacts_service.flows import use_cases
from contacts_service.flows.use_cases import flow_etag, flow_version
from contacts_service.web.blueprint import Blueprint
from contacts_service.web.envelope import success, success_with_etag, success_with_page
from contacts_service.web.parser import expected_versions
from schemas.flows import Flow, FlowListQuery, FlowPage, FlowPut, FlowQuery

blueprint = Blueprint("flows", __name__, url_prefix="/api/flows", description="The chatbot's flows and their panels.")


@blueprint.route("", methods=["GET"])
@blueprint.query(FlowListQuery)
@blueprint.answers(200, FlowPage)
def list_flows(query: dict[str, Any]) -> Response:
    """List flows

    Newest first. A page also ends after about 4 MiB, so follow `next_cursor`, which is null on the last page, rather
    than count pages.
    """
    return success_with_page(query, *use_cases.list_flows(allowed_accounts=g.caller.allowed_accounts, **query))


@blueprint.route("/<id:id>", methods=["PUT"])
@blueprint.body(FlowPut)
@blueprint.answers(200, Flow, "Replaced")
@blueprint.answers(201, Flow, "Created")
@blueprint.conditional("If-Match", "If-None-Match")
def put_flow(body: dict[str, Any], id: str) -> Response:
    """Create or replace a flow

    The caller chooses the id. A flow belongs to the account in `account_id`, whose sessions alone show it, or to none,
    and then sessions of all accounts do; the same id in two accounts is two flows. Section and field orders, columns
    and flags that are left out get their defaults.
    """
    flow, is_new = use_cases.put_flow(
        id,
        allowed_accounts=g.caller.allowed_accounts,
        expected=expected_versions(flow_version),
        only_new=request.if_none_match.star_tag,
        only_existing=request.if_match.star_tag,
        **body,
    )
    return success_with_etag(flow, flow_etag(flow), 201 if is_new else 200)


@blueprint.route("/<id:id>", methods=["GET"])
@blueprint.query(FlowQuery)
@blueprint.answers(200, Flow)
@blueprint.fails("flow_not_found")
@blueprint.conditional("If-None-Match")
def get_flow(query: dict[str, Any], id: str) -> Response:
    """Get a flow

    That of an account has to be asked for with its `account_id`.
    """
    flow = use_cases.get_flow(id, allowed_accounts=g.caller.allowed_accounts, **query)
    return success_with_etag(flow, flow_etag(flow))


@blueprint.route("/<id:id>", methods=["DELETE"])
@blueprint.query(FlowQuery)
@blueprint.answers(200)
@blueprint.fails("flow_not_found")
@blueprint.conditional("If-Match")
def delete_flow(query: dict[str, Any], id: str) -> Response:
    """Delete a flow

    Its sessions stay; they then answer a null `flow_name` and no sections.
    """
    allowed_accounts = g.caller.allowed_accounts
    use_cases.delete_flow(id, allowed_accounts=allowed_accounts, expected=expected_versions(flow_version), **query)
    return success(None)
