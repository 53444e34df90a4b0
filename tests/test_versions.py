"""Conditional requests: readers that have it already, and writers that overwrite only what they have seen."""

from datetime import UTC, datetime, timedelta

import pytest
from caller import Caller
from conftest import Service
from test_races import at_once, call

from contacts_service.models.contacts import Contact
from contacts_service.models.database import database

FLOW = "/api/flows/5d1a3c77-9f0e-4a6b-8a55-0e1f4f6a2b90"
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


def test_every_answer_of_a_contact_carries_its_tag(caller: Caller) -> None:
    created = caller.post("/api/contacts", {"phone_number": "+1234567890"})
    path = created.headers["Location"]
    answers = [
        created,
        caller.get(path),
        caller.put(path, {"name": "A"}),
        caller.patch(path, {"name": "B"}),
        caller.put(f"{path}/assign", {"user_id": None}),
        caller.request("POST", f"{path}/mark-read"),
        caller.post("/api/contacts/resolve", {"phone_number": "+1234567890"}),
    ]
    assert [answer.headers["ETag"] for answer in answers] == ['"1"', '"1"', '"2"', '"3"', '"4"', '"5"', '"5"']


def test_a_reader_that_has_the_current_version_gets_304(caller: Caller, contact: str) -> None:
    for tag in ('"1"', 'W/"1"', '"0", "1"', "*"):
        answer = caller.request("GET", contact, headers={"If-None-Match": tag})
        assert (answer.status, answer.headers["ETag"]) == (304, '"1"'), tag
    for tag in ('"2"', '"x"', "2"):
        assert caller.request("GET", contact, headers={"If-None-Match": tag}).status == 200, tag


def test_the_tag_changes_when_the_service_window_closes_by_itself(caller: Caller, contact: str) -> None:
    message = {"direction": "incoming", "type": "text", "content": {}}
    caller.post(f"{contact}/messages", message)
    opened = caller.get(contact)
    assert (opened.data["service_window_open"], opened.headers["ETag"]) == (True, '"2-open"')
    with database.connection_context():
        yesterday = datetime.now(UTC) - timedelta(hours=24)
        Contact.update(last_inbound_at=yesterday).execute()
    closed = caller.request("GET", contact, headers={"If-None-Match": '"2-open"'})
    assert (closed.status, closed.headers["ETag"]) == (200, '"2"')
    assert caller.put(contact, {"name": "A"}, if_match('"2-open"')).status == 200, "nobody wrote meanwhile"


@pytest.mark.parametrize(("method", "suffix", "body"), WRITES)
def test_a_write_with_the_current_version_happens(
    caller: Caller, contact: str, method: str, suffix: str, body: object
) -> None:
    assert caller.request(method, contact + suffix, json=body, headers=if_match('"7", "1"')).status == 200


@pytest.mark.parametrize("tag", ['"2"', '"0"', 'W/"1"', '"1-closed"', '"x"', '""', '"99999999999999999999"'])
@pytest.mark.parametrize("write", WRITES)
def test_a_write_with_another_version_changes_nothing_and_answers_the_current_contact(
    caller: Caller, contact: str, write: tuple[str, str, object], tag: str
) -> None:
    method, suffix, body = write
    before = caller.get(contact)
    answer = caller.request(method, contact + suffix, json=body, headers=if_match(tag))
    assert (answer.status, answer.code) == (412, "version_mismatch")
    assert answer.body["current"] == before.data
    assert answer.headers["ETag"] == before.headers["ETag"] == '"1"'
    assert caller.get(contact).data == before.data


@pytest.mark.parametrize(("method", "suffix", "body"), WRITES)
def test_a_star_matches_any_contact_that_exists(
    caller: Caller, contact: str, method: str, suffix: str, body: object
) -> None:
    assert caller.request(method, contact + suffix, json=body, headers=if_match("*")).status == 200
    gone = "/api/contacts/01890a5d-ac96-774b-bcce-b302099a8099"
    for tag in ("*", '"1"'):
        assert caller.request(method, gone + suffix, json=body, headers=if_match(tag)).status == 404


@pytest.mark.parametrize(
    ("method", "body"),
    [("PUT", {"phone_number": None}), ("PATCH", {"metadata": {"a": 1}, "bsuid": None, "phone_number": None})],
)
def test_a_stale_version_comes_before_what_is_wrong_with_the_change(
    caller: Caller, contact: str, method: str, body: object
) -> None:
    assert caller.request(method, contact, json=body, headers=if_match('"99"')).status == 412
    assert caller.request(method, contact, json=body, headers=if_match('"1"')).code == "contact_unidentified"


def test_a_condition_that_would_be_ignored_is_refused(caller: Caller, contact: str) -> None:
    """A caller that sends one relies on it."""
    message = {"direction": "incoming", "type": "text", "content": {}}
    session = {"session_data": {}}
    for answer, name in (
        (caller.put(f"{contact}/session-data", session, if_match('"1"')), "If-Match"),
        (caller.patch(f"{contact}/session-data", session, if_match('"1"')), "If-Match"),
        (caller.post(f"{contact}/messages", message, if_match('"1"')), "If-Match"),
        (caller.post("/api/contacts", {"phone_number": "+19998887777"}, {"If-None-Match": "*"}), "If-None-Match"),
        (caller.put(contact, {"name": "A"}, {"If-None-Match": "*"}), "If-None-Match"),
        (caller.put(FLOW, PANEL, {"If-None-Match": '"1"'}), "If-None-Match"),
        (caller.put(FLOW, PANEL, {"If-None-Match": 'no"tag'}), "If-None-Match"),
    ):
        assert (answer.status, list(answer.errors)) == (400, [name])


def test_flows_have_versions_too(caller: Caller) -> None:
    assert caller.put(FLOW, PANEL, if_match("*")).status == 412, "there is none to match"
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


def test_a_flow_that_was_put_anew_is_not_the_one_that_was_deleted(caller: Caller) -> None:
    tag = caller.put(FLOW, PANEL).headers["ETag"]
    caller.delete(FLOW)
    again = caller.put(FLOW, PANEL)
    assert again.data["version"] == 1
    assert caller.put(FLOW, PANEL, if_match(tag)).status == 412
    assert caller.request("GET", FLOW, headers={"If-None-Match": tag}).status == 200


@pytest.mark.parametrize("write", [write for write in WRITES if write[0] != "DELETE"])
def test_of_many_writers_with_the_same_version_exactly_one_wins(
    service: Service, write: tuple[str, str, object]
) -> None:
    method, suffix, body = write
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    path = f"/api/contacts/{contact}"
    statuses = [status for status, _ in at_once(lambda _: call(service, method, path + suffix, body, if_match('"1"')))]
    assert (statuses.count(200), statuses.count(412)) == (1, len(statuses) - 1)
    assert call(service, "GET", path)[1]["data"]["version"] == 2


def test_of_a_delete_and_writes_with_the_same_version_exactly_one_wins(service: Service) -> None:
    for _ in range(5):
        contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
        path = f"/api/contacts/{contact}"

        def write(number: int, path: str = path) -> int:
            method, body = ("DELETE", None) if number % 2 else ("PUT", {"name": "A"})
            return call(service, method, path, body, if_match('"1"'))[0]

        statuses = at_once(write, 8)
        assert statuses.count(200) == 1, statuses
        assert set(statuses) <= {200, 404, 412}
        call(service, "DELETE", path)


def test_of_many_writers_of_a_flow_with_the_same_version_exactly_one_wins(service: Service) -> None:
    made = at_once(lambda _: call(service, "PUT", FLOW, PANEL, {"If-None-Match": "*"})[0], 8)
    assert sorted(made) == [201] + [412] * 7
    created_at = datetime.fromisoformat(call(service, "GET", FLOW)[1]["data"]["created_at"])
    microseconds = (created_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    written = at_once(lambda _: call(service, "PUT", FLOW, PANEL, if_match(f'"{microseconds}-1"'))[0], 8)
    assert sorted(written) == [200] + [412] * 7
