"""Conditional requests: 304 for unchanged contacts, and writes that overwrite only the version they name."""

from datetime import UTC, datetime, timedelta

import pytest
from helpers.caller import Caller
from helpers.concurrency import run_concurrently
from helpers.examples import FLOW_ID, UNKNOWN_ID
from helpers.service import Service, call

from contacts_service.contacts.tables import Contact
from contacts_service.db.database import reading

FLOW = f"/api/flows/{FLOW_ID}"
PANEL = {"name": "Support", "panel_config": {"sections": []}}
WRITES = [
    ("PUT", "", {"name": "New"}),
    ("PATCH", "", {"metadata": {"a": 1}}),
    ("PATCH", "", {"phone_number": "+19998887777"}),
    ("PUT", "/assign", {"user_id": None}),
    ("POST", "/mark-read", None),
    ("DELETE", "", None),
]


def if_match(tag: str) -> dict[str, str]:
    return {"If-Match": tag}


@pytest.fixture
def contact(caller: Caller) -> str:
    return f"/api/contacts/{caller.create()['id']}"


def test_every_response_with_a_contact_has_its_etag(caller: Caller) -> None:
    created = caller.post("/api/contacts", {"phone_number": "+1234567890"})
    path = created.headers["Location"]
    responses = [
        created,
        caller.get(path),
        caller.put(path, {"name": "A"}),
        caller.patch(path, {"name": "B"}),
        caller.put(f"{path}/assign", {"user_id": None}),
        caller.request("POST", f"{path}/mark-read"),
        caller.post("/api/contacts/resolve", {"phone_number": "+1234567890"}),
    ]
    assert [response.headers["ETag"] for response in responses] == ['"1"', '"1"', '"2"', '"3"', '"4"', '"5"', '"5"']


def test_if_none_match_of_the_current_version_is_304(caller: Caller, contact: str) -> None:
    for tag in ('"1"', 'W/"1"', '"0", "1"', "*"):
        response = caller.request("GET", contact, headers={"If-None-Match": tag})
        assert (response.status, response.headers["ETag"]) == (304, '"1"'), tag
    for tag in ('"2"', '"x"', "2"):
        assert caller.request("GET", contact, headers={"If-None-Match": tag}).status == 200, tag


def test_etag_changes_when_the_service_window_closes(caller: Caller, contact: str) -> None:
    message = {"direction": "incoming", "type": "text", "content": {}}
    caller.post(f"{contact}/messages", message)
    opened = caller.get(contact)
    assert (opened.data["service_window_open"], opened.headers["ETag"]) == (True, '"2-open"')
    with reading():
        yesterday = datetime.now(UTC) - timedelta(hours=24)
        Contact.update(last_inbound_at=yesterday).execute()
    closed = caller.request("GET", contact, headers={"If-None-Match": '"2-open"'})
    assert (closed.status, closed.headers["ETag"]) == (200, '"2"')
    assert caller.put(contact, {"name": "A"}, if_match('"2-open"')).status == 200, "no one has written since"


@pytest.mark.parametrize(("method", "suffix", "body"), WRITES)
def test_if_match_of_the_current_version_succeeds(
    caller: Caller, contact: str, method: str, suffix: str, body: object
) -> None:
    assert caller.request(method, contact + suffix, json=body, headers=if_match('"7", "1"')).status == 200


@pytest.mark.parametrize("tag", ['"2"', '"0"', 'W/"1"', '"1-closed"', '"x"', '""', '"99999999999999999999"'])
@pytest.mark.parametrize("write", WRITES)
def test_if_match_of_another_version_is_412_with_the_current_contact(
    caller: Caller, contact: str, write: tuple[str, str, object], tag: str
) -> None:
    method, suffix, body = write
    before = caller.get(contact)
    response = caller.request(method, contact + suffix, json=body, headers=if_match(tag))
    assert (response.status, response.code) == (412, "version_mismatch")
    assert response.body["current"] == before.data
    assert response.headers["ETag"] == before.headers["ETag"] == '"1"'
    assert caller.get(contact).data == before.data


@pytest.mark.parametrize(("method", "suffix", "body"), WRITES)
def test_if_match_star_matches_any_existing_contact(
    caller: Caller, contact: str, method: str, suffix: str, body: object
) -> None:
    assert caller.request(method, contact + suffix, json=body, headers=if_match("*")).status == 200
    gone = f"/api/contacts/{UNKNOWN_ID}"
    for tag in ("*", '"1"'):
        assert caller.request(method, gone + suffix, json=body, headers=if_match(tag)).status == 404


@pytest.mark.parametrize(
    ("method", "body"),
    [("PUT", {"phone_number": None}), ("PATCH", {"metadata": {"a": 1}, "bsuid": None, "phone_number": None})],
)
def test_stale_version_is_reported_before_other_errors(caller: Caller, contact: str, method: str, body: object) -> None:
    assert caller.request(method, contact, json=body, headers=if_match('"99"')).status == 412
    assert caller.request(method, contact, json=body, headers=if_match('"1"')).code == "contact_unidentified"


def test_unsupported_precondition_is_400(caller: Caller, contact: str) -> None:
    """A caller that sends a precondition relies on it."""
    message = {"direction": "incoming", "type": "text", "content": {}}
    session = {"session_data": {}}
    for response, name in (
        (caller.put(f"{contact}/session-data", session, if_match('"1"')), "If-Match"),
        (caller.patch(f"{contact}/session-data", session, if_match('"1"')), "If-Match"),
        (caller.post(f"{contact}/messages", message, if_match('"1"')), "If-Match"),
        (caller.post("/api/contacts", {"phone_number": "+19998887777"}, {"If-None-Match": "*"}), "If-None-Match"),
        (caller.put(contact, {"name": "A"}, {"If-None-Match": "*"}), "If-None-Match"),
        (caller.put(FLOW, PANEL, {"If-None-Match": '"1"'}), "If-None-Match"),
        (caller.put(FLOW, PANEL, {"If-None-Match": 'no"tag'}), "If-None-Match"),
    ):
        assert (response.status, list(response.errors)) == (400, [name])


def test_flows_have_versions_too(caller: Caller) -> None:
    assert caller.put(FLOW, PANEL, if_match("*")).status == 412, "no flow exists to match"
    first = caller.put(FLOW, PANEL, {"If-None-Match": "*"})
    assert (first.status, first.data["version"]) == (201, 1)
    tag = first.headers["ETag"]
    assert caller.request("GET", FLOW, headers={"If-None-Match": tag}).status == 304
    assert caller.put(FLOW, PANEL, {"If-None-Match": "*"}).body["current"] == first.data
    second = caller.put(FLOW, {**PANEL, "name": "Sales"}, if_match(tag))
    assert (second.status, second.data["version"]) == (200, 2)
    stale = caller.put(FLOW, {**PANEL, "name": "Late"}, if_match(tag))
    assert (stale.status, stale.body["current"]) == (412, second.data)
    assert caller.delete(FLOW, if_match(tag)).status == 412
    assert caller.put(FLOW, PANEL, if_match("*")).status == 200
    assert caller.delete(FLOW, if_match(caller.get(FLOW).headers["ETag"])).status == 200
    assert caller.delete(FLOW, if_match(tag)).status == 404
    missing = caller.put(FLOW, PANEL, if_match(tag))
    assert (missing.status, missing.body["current"]) == (412, None)


def test_recreated_flow_has_another_etag(caller: Caller) -> None:
    tag = caller.put(FLOW, PANEL).headers["ETag"]
    caller.delete(FLOW)
    again = caller.put(FLOW, PANEL)
    assert again.data["version"] == 1
    assert caller.put(FLOW, PANEL, if_match(tag)).status == 412
    assert caller.request("GET", FLOW, headers={"If-None-Match": tag}).status == 200


@pytest.mark.parametrize("write", [write for write in WRITES if write[0] != "DELETE"])
def test_one_of_many_writers_with_the_same_version_succeeds(service: Service, write: tuple[str, str, object]) -> None:
    method, suffix, body = write
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    path = f"/api/contacts/{contact}"
    statuses = [
        status for status, _ in run_concurrently(lambda _: call(service, method, path + suffix, body, if_match('"1"')))
    ]
    assert (statuses.count(200), statuses.count(412)) == (1, len(statuses) - 1)
    assert call(service, "GET", path)[1]["data"]["version"] == 2


def test_one_of_deletes_and_writes_with_the_same_version_succeeds(service: Service) -> None:
    for _ in range(5):
        contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
        path = f"/api/contacts/{contact}"

        def write(number: int, path: str = path) -> int:
            method, body = ("DELETE", None) if number % 2 else ("PUT", {"name": "A"})
            return call(service, method, path, body, if_match('"1"'))[0]

        statuses = run_concurrently(write, 8)
        assert statuses.count(200) == 1, statuses
        assert set(statuses) <= {200, 404, 412}
        call(service, "DELETE", path)


def test_one_of_many_writers_of_a_flow_with_the_same_version_succeeds(service: Service) -> None:
    made = run_concurrently(lambda _: call(service, "PUT", FLOW, PANEL, {"If-None-Match": "*"})[0], 8)
    assert sorted(made) == [201] + [412] * 7
    created_at = datetime.fromisoformat(call(service, "GET", FLOW)[1]["data"]["created_at"])
    microseconds = (created_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    written = run_concurrently(lambda _: call(service, "PUT", FLOW, PANEL, if_match(f'"{microseconds}-1"'))[0], 8)
    assert sorted(written) == [200] + [412] * 7
