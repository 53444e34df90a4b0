"""Addresses of flows."""

from typing import Any

from flask import Response

from contacts_service.api.blueprint import Blueprint
from contacts_service.api.envelope import success
from contacts_service.api.keys import accounts
from contacts_service.api.versions import expected_flow, only_existing, only_new, versioned
from contacts_service.services import flows
from schemas.flows import Flow, FlowListQuery, FlowPage, FlowPut, FlowQuery

blueprint = Blueprint("flows", __name__, url_prefix="/api/flows", description="The chatbot's flows and their panels.")


@blueprint.route("", methods=["GET"])
@blueprint.query(FlowListQuery)
@blueprint.answers(200, FlowPage)
def list_flows(query: dict[str, Any]) -> Response:
    """List flows

    Newest first.
    """
    return success(flows.list_flows(accounts=accounts(), **query))


@blueprint.route("/<id:id>", methods=["PUT"])
@blueprint.body(FlowPut)
@blueprint.answers(200, Flow, "Replaced")
@blueprint.answers(201, Flow, "Created")
@blueprint.versioned("If-Match", "If-None-Match")
def put_flow(body: dict[str, Any], id: str) -> Response:
    """Create or replace a flow

    The caller chooses the id. A flow belongs to the account in `account_id`, whose sessions alone show it, or to none,
    and then sessions of all accounts do; the same id in two accounts is two flows. Section and field orders, columns
    and flags that are left out get their defaults.
    """
    flow, is_new = flows.put_flow(
        id,
        accounts=accounts(),
        expected=expected_flow(),
        only_new=only_new(),
        only_existing=only_existing(),
        **body,
    )
    return versioned(flow, 201 if is_new else 200)


@blueprint.route("/<id:id>", methods=["GET"])
@blueprint.query(FlowQuery)
@blueprint.answers(200, Flow)
@blueprint.fails("flow_not_found")
@blueprint.versioned("If-None-Match")
def get_flow(query: dict[str, Any], id: str) -> Response:
    """Get a flow

    That of an account has to be asked for with its `account_id`.
    """
    return versioned(flows.get_flow(id, accounts=accounts(), **query))


@blueprint.route("/<id:id>", methods=["DELETE"])
@blueprint.query(FlowQuery)
@blueprint.answers(200)
@blueprint.fails("flow_not_found")
@blueprint.versioned("If-Match")
def delete_flow(query: dict[str, Any], id: str) -> Response:
    """Delete a flow

    Its sessions stay; they then answer a null `flow_name` and no sections.
    """
    flows.delete_flow(id, accounts=accounts(), expected=expected_flow(), **query)
    return success(None)
