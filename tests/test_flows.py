"""Flows: what the chatbot's designer publishes and the agent desktop shows."""

import copy

import pytest
from helpers.caller import Caller

from schemas.examples import FLOW_ID
from schemas.flows import PANEL_CONFIG_EXAMPLE

PATH = f"/api/flows/{FLOW_ID}"


def test_put_creates_and_then_replaces(caller: Caller) -> None:
    created = caller.put(PATH, {"name": "Support", "panel_config": PANEL_CONFIG_EXAMPLE})
    assert created.status == 201
    assert created.data == {**created.data, "id": FLOW_ID, "name": "Support", "panel_config": PANEL_CONFIG_EXAMPLE}
    assert caller.get(PATH).data == created.data
    replaced = caller.put(
        PATH.upper().replace("/API/FLOWS", "/api/flows"), {"name": "B", "panel_config": {"sections": []}}
    )
    assert replaced.status == 200
    assert replaced.data["created_at"] == created.data["created_at"]
    assert replaced.data["updated_at"] > created.data["updated_at"]
    assert caller.get(PATH).data == replaced.data
    assert replaced.data["panel_config"] == {"sections": []}


def test_panel_fields_have_defaults(caller: Caller) -> None:
    sections = [{"id": "a", "label": "A", "fields": [{"key": "k", "label": "K"}]}]
    flow = caller.put(PATH, {"name": "F", "panel_config": {"sections": sections}}).data
    assert flow["panel_config"]["sections"] == [
        {
            "id": "a",
            "label": "A",
            "columns": 1,
            "collapsible": False,
            "default_collapsed": False,
            "order": 0,
            "fields": [{"key": "k", "label": "K", "order": 0}],
        }
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda body: body.pop("name"), "name"),
        (lambda body: body.update(name=""), "name"),
        (lambda body: body.update(name="a\x00"), "name"),
        (lambda body: body.pop("panel_config"), "panel_config"),
        (lambda body: body.update(panel_config=[]), "panel_config"),
        (lambda body: body["panel_config"].pop("sections"), "panel_config.sections"),
        (lambda body: body["panel_config"]["sections"][1].pop("id"), "panel_config.sections.1.id"),
        (lambda body: body["panel_config"]["sections"][0].update(columns=0), "panel_config.sections.0.columns"),
        (lambda body: body["panel_config"]["sections"][0].update(columns=True), "panel_config.sections.0.columns"),
        (lambda body: body["panel_config"]["sections"][0].update(order="1"), "panel_config.sections.0.order"),
        (
            lambda body: body["panel_config"]["sections"][0].update(collapsible="yes"),
            "panel_config.sections.0.collapsible",
        ),
        (
            lambda body: body["panel_config"]["sections"][1]["fields"][1].update(color="pink"),
            "panel_config.sections.1.fields.1.color",
        ),
        (lambda body: body["panel_config"]["sections"][0].update(title="x"), "panel_config.sections.0.title"),
    ],
)
def test_invalid_flow_is_400_and_changes_nothing(caller: Caller, change: object, field: str) -> None:
    body = {"name": "Support", "panel_config": copy.deepcopy(PANEL_CONFIG_EXAMPLE)}
    before = caller.put(PATH, body).data
    change(body)
    response = caller.put(PATH, body)
    assert (response.status, list(response.errors)) == (400, [field])
    assert caller.get(PATH).data == before


def test_list_is_ordered_by_newest_flow(caller: Caller) -> None:
    ids = [FLOW_ID[:-1] + digit for digit in "abcde"]
    flows = [
        caller.put(f"/api/flows/{flow_id}", {"name": flow_id, "panel_config": {"sections": []}}).data for flow_id in ids
    ]
    assert caller.get("/api/flows").data == {"items": flows[::-1], "total": 5, "page": 1, "limit": 20, "total_pages": 1}
    second = caller.get("/api/flows", page=2, limit=2).data
    assert (second["items"], second["total_pages"]) == (flows[2:0:-1], 3)


def test_deleted_flow_is_404(caller: Caller) -> None:
    caller.put(PATH, {"name": "F", "panel_config": {"sections": []}})
    assert caller.delete(PATH).data is None
    for response in (caller.get(PATH), caller.delete(PATH)):
        assert (response.status, response.code) == (404, "flow_not_found")
