"""Flows: what the chatbot's designer publishes and the agent desktop shows."""

import copy
from datetime import timedelta

import pytest
from helpers.caller import Caller

from contacts_service.db.database import reading
from contacts_service.flows.tables import ALL_COLUMNS, Flow
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
    counts = {"total": 5, "page": 1, "limit": 20, "total_pages": 1}
    assert caller.get("/api/flows").data == {"items": flows[::-1], **counts, "next_cursor": None}
    second = caller.get("/api/flows", page=2, limit=2).data
    assert (second["items"], second["total_pages"]) == (flows[2:0:-1], 3)


def test_deleted_flow_is_404(caller: Caller) -> None:
    caller.put(PATH, {"name": "F", "panel_config": {"sections": []}})
    assert caller.delete(PATH).data is None
    for response in (caller.get(PATH), caller.delete(PATH)):
        assert (response.status, response.code) == (404, "flow_not_found")


LARGE_SECTION = {"id": "a", "label": "A", "fields": [{"key": "k", "label": "x" * 255}] * 100}


def test_page_of_large_flows_ends_early_and_its_cursor_leads_on(caller: Caller) -> None:
    ids = [f"018f3c6e-7c11-7d2a-9a3e-2f6f1f0b5c{number:02}" for number in range(6)]
    panel = {"sections": [LARGE_SECTION] * 30}
    assert caller.put(f"/api/flows/{ids[0]}", {"name": "F", "panel_config": panel}).status == 201
    with reading():
        [large] = Flow.select(*ALL_COLUMNS).dicts()
        for flow_id in ids[1:]:
            large |= {"id": flow_id, "created_at": large["created_at"] + timedelta(seconds=1)}
            Flow.insert(large).execute()
    pages: list[list[str]] = []
    cursor: dict[str, str] | None = {}
    while cursor is not None:
        page = caller.get("/api/flows", limit=100, **cursor).data
        assert (page["total"], page["page"]) == (6, None if cursor else 1)
        pages.append([flow["id"] for flow in page["items"]])
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
    assert pages == [ids[:0:-1], ids[:1]], "five reach 4 MiB"


def test_cursor_of_flows_leads_on_beside_page_numbers(caller: Caller) -> None:
    ids = [f"018f3c6e-7c11-7d2a-9a3e-2f6f1f0b5c{number:02}" for number in range(5)]
    for flow_id in ids:
        caller.put(f"/api/flows/{flow_id}", {"name": flow_id, "panel_config": {"sections": []}})
    second = caller.get("/api/flows", limit=2, page=2).data
    assert [flow["id"] for flow in second["items"]] == [ids[2], ids[1]]
    assert "pk" not in second["items"][0]
    last = caller.get("/api/flows", limit=2, cursor=second["next_cursor"]).data
    assert ([flow["id"] for flow in last["items"]], last["next_cursor"]) == ([ids[0]], None)
    for bad in ("nonsense", "1-2-3", "-1-1", second["next_cursor"] + "0" * 20):
        assert caller.get("/api/flows", cursor=bad).errors == {"cursor": ["Not a cursor of this list."]}
    assert caller.get("/api/flows", cursor=second["next_cursor"], page=1).status == 400
