"""Every operation of the OpenAPI document with every kind of invalid or limited key."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller, Response, example_body
from helpers.examples import ACCOUNT, FLOW_ID, OTHER_ACCOUNT, UNKNOWN_ID
from helpers.keys import make_key

from contacts_service.contacts import list_planning
from contacts_service.db.database import reading
from contacts_service.keys.keyring import Keyring, revoke_key
from contacts_service.keys.tables import ApiKey
from contacts_service.web.auth import SCOPES

NUMBER = "+1234567890"
METHODS = ("get", "post", "put", "patch", "delete")
PUBLIC = {"GET /healthz", "GET /readyz"}
PANEL = {"sections": []}


def operations(app: Flask) -> dict[str, dict[str, Any]]:
    paths = Caller(app).openapi["paths"]
    return {f"{m.upper()} {path}": paths[path][m] for path in paths for m in METHODS if m in paths[path]}


def scope_of(operation: dict[str, Any]) -> str:
    """Return the documented scope."""
    scopes = set(re.findall("A key needs the scope `([a-z:]+)`", operation["description"]))
    assert len(scopes) == 1
    return scopes.pop()


def call(caller: Caller, name: str, entity_id: str = UNKNOWN_ID, source_id: str = UNKNOWN_ID) -> Response:
    """Call an operation with its documented example body; ``source_id`` is the second contact of a merge."""
    method, path = name.split()
    operation = caller.openapi["paths"][path][method.lower()]
    body = example_body(operation)
    if "source_id" in body.get("json", {}):
        body["json"] = {**body["json"], "source_id": source_id}
    for parameter, value in {"id": entity_id, "source_id": source_id, "tag": "vip"}.items():
        path = path.replace(f"{{{parameter}}}", value)
    return caller.request(method, path, **body)


def expired_key(app: Flask) -> str:
    key = make_key(app)
    with reading():
        past = datetime.now(UTC) - timedelta(seconds=1)
        ApiKey.update(expires_at=past).where(ApiKey.prefix == key.split("_")[1]).execute()
    return key


def revoked_key(app: Flask) -> str:
    key = make_key(app)
    revoke_key(key.split("_")[1])
    return key


def wrong_secret(app: Flask) -> str:
    key = make_key(app)
    return key[:-1] + ("A" if key[-1] != "A" else "B")


def test_every_operation_documents_its_scope(app: Flask) -> None:
    """A new operation without a scope fails here; public operations are listed by name."""
    found = operations(app)
    assert {name for name, operation in found.items() if not operation["security"]} == PUBLIC
    by_method = {"GET": SCOPES[0], "POST": SCOPES[1], "PUT": SCOPES[1], "PATCH": SCOPES[1], "DELETE": SCOPES[2]}
    for name in found.keys() - PUBLIC:
        assert scope_of(found[name]) == by_method[name.split()[0]], name
        assert set(found[name]["security"][0]) | set(found[name]["security"][1]) == {"ApiKey", "Bearer"}


@pytest.mark.parametrize(
    "key_of",
    [
        lambda _: None,
        lambda _: "contacts_000000000000_unknown",
        lambda _: "malformed",
        lambda _: "_",
        wrong_secret,
        revoked_key,
        expired_key,
    ],
    ids=["none", "unknown", "malformed", "underscore", "wrong secret", "revoked", "expired"],
)
def test_request_without_a_valid_key_is_401(app: Flask, key_of: Any) -> None:
    make_key(app)
    caller = Caller(app, key_of(app))
    app.extensions["keyring"] = Keyring()
    for name in operations(app).keys() - PUBLIC:
        response = call(caller, name)
        assert (response.status, response.code) == (401, "unauthenticated"), name
        assert response.headers["WWW-Authenticate"] == "Bearer"
    for name in PUBLIC:
        assert call(caller, name).status == 200


@pytest.mark.parametrize("missing", SCOPES)
def test_every_operation_requires_exactly_its_scope(app: Flask, missing: str) -> None:
    others = Caller(app, make_key(app, scopes=[scope for scope in SCOPES if scope != missing]))
    alone = Caller(app, make_key(app, scopes=[missing]))
    found = operations(app)
    for name in found.keys() - PUBLIC:
        needed = scope_of(found[name])
        response = call(others if needed == missing else alone, name)
        assert (response.status, response.code) == (403, "scope_missing"), name
        assert needed in response.body["message"]
        assert call(alone if needed == missing else others, name).status not in {401, 403}, name


@dataclass
class AccountData:
    """A contact and a message of an account, and a caller whose key is limited to it."""

    caller: Caller
    contact: str
    message: str


def create_account_data(app: Flask, account: str | None) -> AccountData:
    unlimited = Caller(app, make_key(app))
    fields = {"account_id": account, "name": f"Owned by {account}", "metadata": {"plan": "gold"}}
    contact = unlimited.create(NUMBER, **fields)["id"]
    message = {"wa_message_id": "wamid.1", "direction": "incoming", "type": "text", "content": {"body": "hello"}}
    recorded = unlimited.post(f"/api/contacts/{contact}/messages", message).data["id"]
    unlimited.put(f"/api/contacts/{contact}/session-data", {"flow_id": FLOW_ID, "session_data": {"secret": account}})
    unlimited.put(f"/api/flows/{FLOW_ID}", {"name": f"Flow of {account}", "panel_config": PANEL, "account_id": account})
    limited = Caller(app, make_key(app, accounts=[account or OTHER_ACCOUNT]))
    return AccountData(limited, contact, recorded)


def comparable(response: Response, *replaced: str) -> str:
    """Return the body without request ids, times and the given ids."""
    text = str({**response.body, "request_id": ""})
    for value in replaced:
        text = text.replace(value, "ID")
    return re.sub("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", "TIME", text)


def test_resource_of_another_account_is_404_as_if_it_did_not_exist(app: Flask) -> None:
    """No one learns that it exists, and it doesn't change."""
    own, other, without_account = (create_account_data(app, account) for account in (ACCOUNT, OTHER_ACCOUNT, None))
    unlimited = Caller(app, make_key(app))
    source = own.caller.create("+19998887777", account_id=ACCOUNT)["id"]
    by_id = sorted(name for name in operations(app) if "{id}" in name and "/flows/" not in name)
    assert len(by_id) == 20
    for name in by_id:
        for data in (other, without_account):
            entity_id = data.message if "/messages/{id}" in name else data.contact
            before = unlimited.get("/api/contacts", ids=data.contact).data["items"]
            refused, unknown = (call(own.caller, name, each, source) for each in (entity_id, UNKNOWN_ID))
            assert refused.status == 404, name
            assert comparable(refused, entity_id) == comparable(unknown, UNKNOWN_ID)
            assert unlimited.get("/api/contacts", ids=data.contact).data["items"] == before, name
        if not name.startswith("DELETE"):
            entity_id = own.message if "/messages/{id}" in name else own.contact
            assert call(own.caller, name, entity_id, source).status < 300, name
    assert call(own.caller, "DELETE /api/contacts/{id}/merges/{source_id}", own.contact, source).status == 200
    assert call(own.caller, "DELETE /api/contacts/{id}", own.contact).status == 200


@pytest.mark.parametrize("account", [OTHER_ACCOUNT, None])
def test_naming_another_account_is_403(app: Flask, account: str | None) -> None:
    caller = create_account_data(app, ACCOUNT).caller
    create_account_data(app, account)
    message = {
        "wa_message_id": "wamid.1",
        "direction": "incoming",
        "type": "text",
        "content": {},
        "account_id": account,
    }
    status = {"wa_message_id": "wamid.1", "status": "read", "account_id": account}
    named = account or "none"
    refused = {
        "POST /api/contacts": caller.post("/api/contacts", {"phone_number": NUMBER, "account_id": account}),
        "POST /api/contacts/resolve": caller.post(
            "/api/contacts/resolve", {"phone_number": NUMBER, "account_id": account}
        ),
        "POST /api/messages": caller.post("/api/messages", {**message, "contact": {"phone_number": NUMBER}}),
        "PUT /api/messages/status": caller.put("/api/messages/status", status),
        "GET /api/contacts": caller.get("/api/contacts", account_id=named),
        "POST /api/contacts/bulk": caller.post(
            "/api/contacts/bulk", {"filter": {"account_id": named}, "expected_total": 1, "add_tags": ["new"]}
        ),
        "POST /api/contacts/import": caller.request(
            "POST", f"/api/contacts/import?account_id={named}", data="phone_number\n", content_type="text/csv"
        ),
        "GET /api/contacts/export": caller.get("/api/contacts/export", account_id=named),
        "GET /api/changes": caller.get("/api/changes", account_id=named),
        "GET /api/contacts/duplicates": caller.get("/api/contacts/duplicates", account_id=named),
        "GET /api/flows": caller.get("/api/flows", account_id=named),
        "GET /api/flows/{id}": caller.get(f"/api/flows/{FLOW_ID}", **({"account_id": account} if account else {})),
        "PUT /api/flows/{id}": caller.put(
            f"/api/flows/{FLOW_ID}", {"name": "mine", "panel_config": PANEL, "account_id": account}
        ),
        "DELETE /api/flows/{id}": caller.delete(
            f"/api/flows/{FLOW_ID}" + (f"?account_id={account}" if account else "")
        ),
    }
    for name, response in refused.items():
        assert (response.status, response.code) == (403, "account_forbidden"), name
    dismiss = "POST /api/contacts/duplicates/dismiss"  # It names contacts, which are 404: see the tests of merging.
    by_id = {name for name in operations(app) if "{id}" in name and "/flows/" not in name}
    covered = {dismiss} | by_id | refused.keys() | PUBLIC
    assert covered == operations(app).keys(), "every operation is covered by one of the two tests"


def test_lists_hold_nothing_of_another_account(app: Flask) -> None:
    own, other = create_account_data(app, ACCOUNT), create_account_data(app, OTHER_ACCOUNT)
    create_account_data(app, None)
    unlimited = Caller(app, make_key(app))
    for query in (
        {},
        {"search": "owned"},
        {"search": "12345"},
        {"phone_number": NUMBER},
        {"ids": f"{own.contact},{other.contact}"},
        {"sort": "created"},
        {"sort": "-created", "created_after": "2024-01-01T00:00:00Z"},
        {"unread": "true", "last_inbound_after": "2024-01-01T00:00:00Z"},
        {"marketing_opt_out": "false", "last_message_before": "9000-01-01T00:00:00Z"},
        {"metadata.plan": "gold"},
    ):
        assert unlimited.get("/api/contacts", **query).data["total"] > 1, query
        found = own.caller.get("/api/contacts", **query).data
        assert ([item["id"] for item in found["items"]], found["total"]) == ([own.contact], 1), query
        assert found["next_cursor"] is None
        cursor = unlimited.get("/api/contacts", limit=1, **query).data["next_cursor"]
        seen = own.caller.get("/api/contacts", cursor=cursor, limit=1, **query).data
        assert {item["account_id"] for item in seen["items"]} <= {ACCOUNT}, "a cursor widens no permissions"
    flows = own.caller.get("/api/flows").data
    assert ([flow["name"] for flow in flows["items"]], flows["total"]) == ([f"Flow of {ACCOUNT}"], 1)
    assert unlimited.get("/api/flows").data["total"] == 3
    assert own.caller.get(f"/api/contacts/{own.contact}/session-data").data["flow_name"] == f"Flow of {ACCOUNT}"


def test_key_for_two_accounts_lists_both_in_one_order(app: Flask) -> None:
    own, other = create_account_data(app, ACCOUNT), create_account_data(app, OTHER_ACCOUNT)
    create_account_data(app, None)
    both = Caller(app, make_key(app, accounts=[ACCOUNT, OTHER_ACCOUNT]))
    page = both.get("/api/contacts", limit=1).data
    assert page["total"] == 2
    rest = both.get("/api/contacts", limit=1, cursor=page["next_cursor"]).data
    assert [page["items"][0]["id"], rest["items"][0]["id"]] == [other.contact, own.contact]


def test_key_for_several_accounts_pages_through_them_in_one_order(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_planning, "_MIN_DENSE_MATCHES", 0)
    unlimited = Caller(app, make_key(app))
    accounts = [ACCOUNT, OTHER_ACCOUNT, None, UNKNOWN_ID]
    for number in range(40):
        body = {"phone_number": f"+1234567{number:03}", "name": "Smith", "account_id": accounts[number * 7 % 11 % 4]}
        contact = unlimited.post("/api/contacts", body).data["id"]
        if number % 3 == 0:
            unlimited.put(f"/api/contacts/{contact}/assign", {"user_id": UNKNOWN_ID})
        if number % 4 == 0:
            at = f"2026-01-01T00:00:{number // 8:02}Z"  # Some times are equal.
            message = {"direction": "incoming", "type": "text", "content": {"body": "Hi"}, "timestamp": at}
            unlimited.post(f"/api/contacts/{contact}/messages", message)
    several = Caller(app, make_key(app, accounts=[UNKNOWN_ID, OTHER_ACCOUNT, ACCOUNT]))
    queries = [{}, {"assigned_to": UNKNOWN_ID}, {"search": "smith"}, {"search": "s 1"}]
    for query in [{**query, "sort": sort} for query in queries for sort in ("recent", "created")]:
        items = unlimited.get("/api/contacts", limit=100, **query).data["items"]
        expected = [item["id"] for item in items if item["account_id"] in {ACCOUNT, OTHER_ACCOUNT, UNKNOWN_ID}]
        by_page: list[str] = []
        by_cursor: list[str] = []
        cursor: dict[str, str] = {}
        for page in range(1, 1 - -len(expected) // 4):
            found = several.get("/api/contacts", limit=4, page=page, **query).data
            assert found["total"] == len(expected), query
            by_page += [item["id"] for item in found["items"]]
            found = several.get("/api/contacts", limit=4, **query, **cursor).data
            by_cursor += [item["id"] for item in found["items"]]
            cursor = {"cursor": found["next_cursor"]}
        assert cursor == {"cursor": None}, query
        assert by_page == by_cursor == expected, query


def test_conflicts_are_reported_within_the_own_account_only(app: Flask) -> None:
    own = create_account_data(app, ACCOUNT)
    create_account_data(app, OTHER_ACCOUNT)
    mine = own.caller.post("/api/contacts", {"phone_number": NUMBER, "account_id": ACCOUNT})
    assert (mine.status, mine.errors) == (409, {"id": [own.contact]})
    free = own.caller.post("/api/contacts", {"phone_number": "+19998887777", "account_id": ACCOUNT})
    assert free.status == 201
    taken = own.caller.put(f"/api/contacts/{free.data['id']}", {"phone_number": NUMBER})
    assert (taken.status, taken.errors) == (409, {"id": [own.contact]})
    own.caller.delete(f"/api/contacts/{own.contact}")
    again = own.caller.post("/api/contacts", {"phone_number": NUMBER, "account_id": ACCOUNT})
    assert again.status == 201, "the other account's contact of this number doesn't conflict"


def test_flow_id_is_unique_within_an_account(app: Flask) -> None:
    own, other = create_account_data(app, ACCOUNT), create_account_data(app, OTHER_ACCOUNT)
    mine = {"name": "Mine", "panel_config": PANEL, "account_id": ACCOUNT}
    assert own.caller.put(f"/api/flows/{FLOW_ID}", mine).status == 200
    assert (
        other.caller.get(f"/api/flows/{FLOW_ID}", account_id=OTHER_ACCOUNT).data["name"] == f"Flow of {OTHER_ACCOUNT}"
    )
    assert (
        other.caller.get(f"/api/contacts/{other.contact}/session-data").data["flow_name"] == f"Flow of {OTHER_ACCOUNT}"
    )
    assert own.caller.delete(f"/api/flows/{FLOW_ID}?account_id={ACCOUNT}").status == 200
    assert own.caller.get(f"/api/contacts/{own.contact}/session-data").data["flow_name"] is None
    shared = Caller(app, make_key(app))
    shared.put(f"/api/flows/{FLOW_ID}", {"name": "For all", "panel_config": PANEL})
    assert own.caller.get(f"/api/contacts/{own.contact}/session-data").data["flow_name"] == "For all"
    assert (
        other.caller.get(f"/api/contacts/{other.contact}/session-data").data["flow_name"] == f"Flow of {OTHER_ACCOUNT}"
    )
