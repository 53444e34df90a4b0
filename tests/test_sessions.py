"""Chatbot sessions: variables, their merging, and the panel that shows them."""

from typing import Any

import pytest
from helpers.caller import Caller
from helpers.queries import count_queries
from hypothesis import given
from hypothesis import strategies as st

from contacts_service.db.merge_patch import merge_patch
from schemas.examples import FLOW_ID, SESSION_ID
from schemas.flows import PANEL_CONFIG_EXAMPLE
from schemas.sessions import SESSION_DATA_EXAMPLE

FLOW = f"/api/flows/{FLOW_ID}"
OTHER_SESSION = "018f3c6e-7c11-7d2a-9a3e-2f6f1f0b5c34"


@pytest.fixture
def contact(caller: Caller) -> str:
    return f"/api/contacts/{caller.create()['id']}"


def test_session_data_matches_the_example_of_the_contract(caller: Caller, contact: str) -> None:
    caller.put(FLOW, {"name": "Customer Support Flow", "panel_config": PANEL_CONFIG_EXAMPLE})
    started = caller.put(
        f"{contact}/session-data",
        {"session_id": SESSION_ID, "flow_id": FLOW_ID, "session_data": SESSION_DATA_EXAMPLE},
    )
    assert started.status == 201
    assert started.data == {
        "session_id": SESSION_ID,
        "flow_id": FLOW_ID,
        "flow_name": "Customer Support Flow",
        "status": "active",
        "session_data": SESSION_DATA_EXAMPLE,
        "panel_config": PANEL_CONFIG_EXAMPLE,
        "created_at": started.data["created_at"],
        "updated_at": started.data["created_at"],
    }
    assert caller.get(f"{contact}/session-data").data == started.data


def test_contact_without_session_has_nulls_and_empty_objects(caller: Caller, contact: str) -> None:
    assert caller.get(f"{contact}/session-data").data == {
        "session_id": None,
        "flow_id": None,
        "flow_name": None,
        "status": None,
        "session_data": {},
        "panel_config": {"sections": []},
        "created_at": None,
        "updated_at": None,
    }
    assert caller.get(f"{contact}/sessions").data == {"items": [], "has_more": False}


def test_put_replaces_variables_and_keeps_other_fields(caller: Caller, contact: str) -> None:
    path = f"{contact}/session-data"
    caller.put(path, {"session_id": SESSION_ID, "flow_id": FLOW_ID, "status": "completed", "session_data": {"a": 1}})
    replaced = caller.put(path, {"session_id": SESSION_ID.upper(), "session_data": {"b": 2}})
    assert replaced.status == 200
    assert (replaced.data["session_data"], replaced.data["status"]) == ({"b": 2}, "completed")
    assert replaced.data["flow_id"] == FLOW_ID
    assert caller.put(path, {"session_id": SESSION_ID, "flow_id": None, "session_data": {}}).data["flow_id"] is None
    assert len(caller.get(f"{contact}/sessions").data["items"]) == 1


def test_put_without_an_id_starts_a_session_each_time(caller: Caller, contact: str) -> None:
    ids = [caller.put(f"{contact}/session-data", {"session_data": {"n": n}}).data["session_id"] for n in range(3)]
    listed = caller.get(f"{contact}/sessions").data["items"]
    assert [session["session_id"] for session in listed] == ids[::-1], "newest first"
    assert [session["session_data"] for session in listed] == [{"n": 2}, {"n": 1}, {"n": 0}]
    assert "panel_config" not in listed[0]
    assert caller.get(f"{contact}/session-data").data["session_id"] == ids[2]


def test_get_returns_the_newest_active_or_completed_session(caller: Caller, contact: str) -> None:
    for status in ("active", "completed", "cancelled", "timeout"):
        caller.put(f"{contact}/session-data", {"status": status, "session_data": {"was": status}})
    assert caller.get(f"{contact}/session-data").data["session_data"] == {"was": "completed"}
    assert [session["status"] for session in caller.get(f"{contact}/sessions").data["items"]] == [
        "timeout",
        "cancelled",
        "completed",
        "active",
    ]


def test_session_id_is_unique_within_a_contact(caller: Caller, contact: str) -> None:
    other = f"/api/contacts/{caller.create('+1234567899')['id']}"
    for path, value in ((contact, 1), (other, 2)):
        assert (
            caller.put(f"{path}/session-data", {"session_id": SESSION_ID, "session_data": {"v": value}}).status == 201
        )
    caller.patch(f"{contact}/session-data", {"session_id": SESSION_ID, "session_data": {"v": 3}})
    assert caller.get(f"{contact}/session-data").data["session_data"] == {"v": 3}
    assert caller.get(f"{other}/session-data").data["session_data"] == {"v": 2}


def test_patch_merges_into_the_session_that_get_returns(caller: Caller, contact: str) -> None:
    path = f"{contact}/session-data"
    caller.put(path, {"session_id": SESSION_ID, "session_data": {"keep": 1, "change": {"x": 1, "y": 2}, "drop": 3}})
    caller.put(path, {"session_id": OTHER_SESSION, "status": "timeout", "session_data": {}})
    patched = caller.patch(path, {"session_data": {"change": {"x": None, "z": [1, None]}, "drop": None, "new": 2**70}})
    expected = {"keep": 1, "change": {"y": 2, "z": [1, None]}, "new": 2**70}
    assert (patched.data["session_id"], patched.data["session_data"]) == (SESSION_ID, expected)
    assert caller.get(path).data == patched.data
    given = caller.patch(path, {"session_id": OTHER_SESSION, "session_data": {"late": True}, "status": "completed"})
    assert (given.data["session_data"], given.data["status"]) == ({"late": True}, "completed")
    assert caller.get(path).data == given.data
    assert caller.patch(path, {"status": "cancelled", "flow_id": FLOW_ID}).data["session_data"] == {"late": True}
    assert caller.get(path).data["session_id"] == SESSION_ID


def test_patch_starts_a_missing_session(caller: Caller, contact: str) -> None:
    path = f"{contact}/session-data"
    started = caller.patch(path, {"session_data": {"a": 1, "b": None}, "flow_id": FLOW_ID})
    assert started.status == 201
    assert (started.data["session_data"], started.data["status"]) == ({"a": 1}, "active")
    assert started.data["flow_id"] == FLOW_ID
    assert caller.patch(path, {"session_data": {"c": 2}}).data["session_data"] == {"a": 1, "c": 2}
    other = caller.patch(path, {"session_id": SESSION_ID, "status": "completed"})
    assert (other.status, other.data["session_id"], other.data["session_data"]) == (201, SESSION_ID, {})
    assert len(caller.get(f"{contact}/sessions").data["items"]) == 2


@pytest.mark.parametrize(
    ("method", "body", "field"),
    [
        ("PUT", {}, "session_data"),
        ("PUT", {"session_data": None}, "session_data"),
        ("PUT", {"session_data": [1]}, "session_data"),
        ("PUT", {"session_data": {}, "session_id": "1"}, "session_id"),
        ("PUT", {"session_data": {}, "session_id": None}, "session_id"),
        ("PUT", {"session_data": {}, "flow_id": "x"}, "flow_id"),
        ("PUT", {"session_data": {}, "status": "done"}, "status"),
        ("PUT", {"session_data": {}, "status": None}, "status"),
        ("PUT", {"session_data": {}, "flow_name": "x"}, "flow_name"),
        ("PATCH", {}, "body"),
        ("PATCH", {"session_id": SESSION_ID}, "body"),
        ("PATCH", {"session_data": None}, "session_data"),
        ("PATCH", {"session_data": {"a": "\x00"}}, "session_data"),
    ],
)
def test_invalid_session_is_400_and_changes_nothing(
    caller: Caller, contact: str, method: str, body: dict[str, Any], field: str
) -> None:
    before = caller.put(f"{contact}/session-data", {"session_data": {"a": 1}}).data
    response = caller.request(method, f"{contact}/session-data", json=body)
    assert (response.status, list(response.errors)) == (400, [field])
    assert caller.get(f"{contact}/session-data").data == before


def test_session_outlives_its_flow(caller: Caller, contact: str) -> None:
    caller.put(FLOW, {"name": "F", "panel_config": PANEL_CONFIG_EXAMPLE})
    before = caller.put(f"{contact}/session-data", {"flow_id": FLOW_ID, "session_data": {"a": 1}}).data
    caller.delete(FLOW)
    after = caller.get(f"{contact}/session-data").data
    assert after == {**before, "flow_name": None, "panel_config": {"sections": []}}


def test_reading_a_session_takes_one_query(caller: Caller, contact: str) -> None:
    caller.put(FLOW, {"name": "F", "panel_config": PANEL_CONFIG_EXAMPLE})
    for _ in range(5):
        caller.put(f"{contact}/session-data", {"flow_id": FLOW_ID, "session_data": {"a": 1}})
    for path in ("session-data", "sessions"):
        with count_queries() as queries:
            caller.get(f"{contact}/{path}")
        assert queries.count == 1, path


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_matches_rfc_7396_appendix_a(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@given(json_values, json_values)
def test_merge_patch_is_idempotent(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


def pages_of(caller: Caller, path: str, **query: object) -> list[list[str]]:
    """Ids of the sessions on each page, following ``before`` to the end."""
    pages: list[list[str]] = []
    page: dict[str, Any] = {"has_more": True}
    while page["has_more"]:
        page = caller.get(path, **query, **({"before": pages[-1][-1]} if pages else {})).data
        pages.append([session["session_id"] for session in page["items"]])
    return pages


def test_pages_of_sessions_hold_each_once_newest_first(caller: Caller, contact: str) -> None:
    ids = [caller.put(f"{contact}/session-data", {"session_data": {}}).data["session_id"] for _ in range(25)][::-1]
    other = f"/api/contacts/{caller.create('+1234567899')['id']}"
    caller.put(f"{other}/session-data", {"session_data": {}})
    assert pages_of(caller, f"{contact}/sessions") == [ids[:20], ids[20:]], "20 unless told"
    assert pages_of(caller, f"{contact}/sessions", limit=5) == [ids[at : at + 5] for at in range(0, 25, 5)]
    assert pages_of(caller, f"{contact}/sessions", limit=100) == [ids]
    assert caller.get(f"{contact}/sessions", limit=101).status == 400
    assert caller.get(f"{contact}/sessions", before=ids[-1]).data == {"items": [], "has_more": False}
    unknown = caller.get(f"{other}/sessions", before=ids[3])
    assert (unknown.status, unknown.code) == (404, "session_not_found")


def test_page_of_large_sessions_ends_early_and_leads_on(caller: Caller, contact: str) -> None:
    large = {"text": "é" * 170_000}
    ids = [caller.put(f"{contact}/session-data", {"session_data": large}).data["session_id"] for _ in range(15)][::-1]
    assert pages_of(caller, f"{contact}/sessions", limit=100) == [ids[:13], ids[13:]], "thirteen of 340 kB reach 4 MiB"
