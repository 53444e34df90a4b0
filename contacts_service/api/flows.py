"""Addresses of flows."""

from typing import Any

from flask import Response

from contacts_service.api.blueprint import Blueprint
from contacts_service.api.envelope import success
from contacts_service.services import flows
from schemas.flows import Flow, FlowListQuery, FlowPage, FlowPut

blueprint = Blueprint("flows", __name__, url_prefix="/api/flows", description="The chatbot's flows and their panels.")


@blueprint.route("", methods=["GET"])
@blueprint.query(FlowListQuery)
@blueprint.answers(200, FlowPage)
def list_flows(query: dict[str, Any]) -> Response:
    """List flows

    Newest first.
    """
    return success(flows.list_flows(**query))


@blueprint.route("/<id:id>", methods=["PUT"])
@blueprint.body(FlowPut)
@blueprint.answers(200, Flow, "Replaced")
@blueprint.answers(201, Flow, "Created")
@blueprint.fails("invalid_request")
def put_flow(body: dict[str, Any], id: str) -> Response:
    """Create or replace a flow

    The caller chooses the id. Section and field orders, columns and flags that are left out get their defaults.
    """
    flow, is_new = flows.put_flow(id, **body)
    return success(flow, 201 if is_new else 200)


@blueprint.route("/<id:id>", methods=["GET"])
@blueprint.answers(200, Flow)
@blueprint.fails("flow_not_found")
def get_flow(id: str) -> Response:
    """Get a flow"""
    return success(flows.get_flow(id))


@blueprint.route("/<id:id>", methods=["DELETE"])
@blueprint.answers(200)
@blueprint.fails("flow_not_found")
def delete_flow(id: str) -> Response:
    """Delete a flow

    Its sessions stay; they then answer a null `flow_name` and no sections.
    """
    flows.delete_flow(id)
    return success(None)
