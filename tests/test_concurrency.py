"""Concurrent requests to the running service, which has several processes of several threads."""

import contextlib
import itertools
import sqlite3
from typing import Any

import psycopg
from helpers.concurrency import CALLERS, run_concurrently
from helpers.databases import sqlite_file
from helpers.examples import ACCOUNT, FLOW_ID, OTHER_ACCOUNT, OTHER_USER, USER
from helpers.service import Service, call


def test_concurrent_creates_give_one_contact_and_its_id_to_the_others(service: Service) -> None:
    for account in (None, ACCOUNT):
        body = {"phone_number": "+1234567890", "account_id": account}
        responses = run_concurrently(lambda _, body=body: call(service, "POST", "/api/contacts", body))
        created = [response["data"]["id"] for status, response in responses if status == 201]
        refused = [response["errors"]["id"] for status, response in responses if status == 409]
        assert len(created) == 1, sorted(status for status, _ in responses)
        assert refused == [created] * (CALLERS - 1)
    assert call(service, "GET", "/api/contacts")[1]["data"]["total"] == 2


def test_totals_are_exact_after_concurrent_creates_and_deletes(service: Service) -> None:
    accounts = [None, ACCOUNT, OTHER_ACCOUNT]

    def create_some_and_delete_some(number: int) -> None:
        for each in range(6):
            body = {"phone_number": f"+1{number:04}{each:04}", "account_id": accounts[each % 3]}
            created = call(service, "POST", "/api/contacts", body)[1]["data"]["id"]
            if each >= 3:
                call(service, "DELETE", f"/api/contacts/{created}")

    run_concurrently(create_some_and_delete_some)
    assert call(service, "GET", "/api/contacts")[1]["data"]["total"] == 3 * CALLERS
    for account in accounts:
        listed = call(service, "GET", f"/api/contacts?account_id={account or 'none'}")[1]["data"]
        assert listed["total"] == CALLERS
    assert call(service, "GET", "/api/contacts?search=1")[1]["data"]["total"] == 3 * CALLERS, "by the index"


def test_totals_of_users_are_exact_after_concurrent_assignments(service: Service) -> None:
    users = [None, USER, OTHER_USER]
    accounts = [None, ACCOUNT]

    def create_and_assign(number: int) -> set[int]:
        body = {"phone_number": f"+1{number:07}", "account_id": accounts[number % 2]}
        path = f"/api/contacts/{call(service, 'POST', '/api/contacts', body)[1]['data']['id']}"
        turns = [users[(number + each) % 3] for each in range(7)]
        statuses = {call(service, "PUT", f"{path}/assign", {"user_id": user})[0] for user in turns}
        return statuses | {call(service, "DELETE", path)[0] for _ in range(number % 5 == 0)}

    assert set.union(*run_concurrently(create_and_assign)) == {200}
    for user, account in itertools.product(users, [*accounts, "all"]):
        query = f"assigned_to={user or 'none'}" + (f"&account_id={account or 'none'}" if account != "all" else "")
        listed = call(service, "GET", f"/api/contacts?{query}&limit=100")[1]["data"]
        assert listed["total"] == len(listed["items"]), query


def test_concurrent_creates_and_deletes_of_one_number_only_conflict(service: Service) -> None:
    def create_and_delete(_: int) -> list[int]:
        statuses = []
        for _ in range(5):
            status, response = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})
            contact_id = response["data"]["id"] if status == 201 else response["errors"]["id"][0]
            statuses += [status, call(service, "DELETE", f"/api/contacts/{contact_id}")[0]]
        return statuses

    seen = {status for statuses in run_concurrently(create_and_delete, 8) for status in statuses}
    assert seen <= {201, 409, 200, 404}
    assert call(service, "GET", "/api/contacts")[1]["data"]["total"] == 0


def test_concurrently_merged_variables_are_all_kept(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    path = f"/api/contacts/{contact}/session-data"
    call(service, "PUT", path, {"session_data": {"before": True}})
    responses = run_concurrently(lambda n: call(service, "PATCH", path, {"session_data": {f"key {n}": n}}))
    assert {status for status, _ in responses} == {200}
    merged = call(service, "GET", path)[1]["data"]["session_data"]
    assert merged == {"before": True, **{f"key {n}": n for n in range(CALLERS)}}


def test_concurrently_merged_variables_start_one_session(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    path = f"/api/contacts/{contact}/session-data"
    responses = run_concurrently(lambda n: call(service, "PATCH", path, {"session_data": {f"key {n}": n}}))
    assert sorted(status for status, _ in responses) == [200] * (CALLERS - 1) + [201]
    assert call(service, "GET", path)[1]["data"]["session_data"] == {f"key {n}": n for n in range(CALLERS)}


def test_session_put_concurrently_is_started_once(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    body = {"session_id": "018f3c6e-7c11-7d2a-9a3e-2f6f1f0b5c33", "session_data": {"a": 1}}
    responses = run_concurrently(lambda _: call(service, "PUT", f"/api/contacts/{contact}/session-data", body))
    assert sorted(status for status, _ in responses) == [200] * (CALLERS - 1) + [201]
    assert len(call(service, "GET", f"/api/contacts/{contact}/sessions")[1]["data"]["items"]) == 1


def test_flow_put_concurrently_is_created_once(service: Service) -> None:
    path = f"/api/flows/{FLOW_ID}"
    body = {"name": "F", "panel_config": {"sections": []}}
    responses = run_concurrently(lambda _: call(service, "PUT", path, body))
    assert sorted(status for status, _ in responses) == [200] * (CALLERS - 1) + [201]


def test_search_finds_both_names_after_concurrent_updates(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]

    def rename(number: int) -> int:
        field = "name" if number % 2 else "profile_name"
        return call(service, "PUT", f"/api/contacts/{contact}", {field: f"{field} {number}"})[0]

    assert set(run_concurrently(rename)) == {200}
    final = call(service, "GET", f"/api/contacts/{contact}")[1]["data"]
    for field in ("name", "profile_name"):
        query = final[field].replace(" ", "%20")
        assert call(service, "GET", f"/api/contacts?search={query}")[1]["data"]["total"] == 1, final


def test_sessions_started_during_a_delete_leave_nothing(service: Service) -> None:
    for attempt in range(5):
        contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
        path = f"/api/contacts/{contact}"

        def act(number: int, path: str = path, victim: int = attempt) -> tuple[int, int]:
            if number == victim:
                return number, call(service, "DELETE", path)[0]
            return number, call(service, "PUT", f"{path}/session-data", {"session_data": {"n": number}})[0]

        for number, status in run_concurrently(act, 8):
            assert status in ({200} if number == attempt else {201, 404})
        assert call(service, "GET", f"{path}/sessions")[0] == 404


def webhook(number: int, **identity: str) -> dict[str, Any]:
    return {
        "contact": identity,
        "wa_message_id": f"wamid.{number}",
        "direction": "incoming",
        "type": "text",
        "content": {"body": f"text {number}"},
        "timestamp": "2024-01-01T12:00:00Z",
    }


def test_concurrent_webhooks_for_an_unknown_person_create_one_contact_and_lose_no_message(service: Service) -> None:
    """They identify the person in every way that WhatsApp does, and each message arrives twice."""
    ways = [
        {"phone_number": "5511987654321"},
        {"phone_number": "551187654321"},
        {"phone_number": "5511987654321", "bsuid": "BR.1A2b3C"},
        {"phone_number": "551187654321", "bsuid": "BR.1A2b3C"},
    ]
    for attempt in range(3):
        account = f"7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a1{attempt}"

        def deliver(number: int, account: str = account) -> int:
            body = webhook(number // 2, **ways[number % len(ways)])
            return call(service, "POST", "/api/messages", {"account_id": account, **body})[0]

        statuses = run_concurrently(deliver)
        assert sorted(statuses) == [200] * (CALLERS // 2) + [201] * (CALLERS // 2)
        [contact] = call(service, "GET", f"/api/contacts?account_id={account}")[1]["data"]["items"]
        assert contact["unread_count"] == CALLERS // 2
        history = call(service, "GET", f"/api/contacts/{contact['id']}/messages?limit=100")[1]["data"]["items"]
        assert {item["wa_message_id"] for item in history} == {f"wamid.{n}" for n in range(CALLERS // 2)}


def test_concurrent_webhooks_with_a_bsuid_alone_create_one_contact(service: Service) -> None:
    responses = run_concurrently(lambda n: call(service, "POST", "/api/messages", webhook(n, bsuid="US.1A2b3C")))
    assert {status for status, _ in responses} == {201}
    assert len({response["data"]["contact_id"] for _, response in responses}) == 1
    assert call(service, "GET", "/api/contacts")[1]["data"]["items"][0]["unread_count"] == CALLERS


def test_concurrently_patched_metadata_is_all_kept(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    path = f"/api/contacts/{contact}"
    responses = run_concurrently(lambda n: call(service, "PATCH", path, {"metadata": {f"key {n}": n}}))
    assert {status for status, _ in responses} == {200}
    after = call(service, "GET", path)[1]["data"]
    assert after["metadata"] == {f"key {n}": n for n in range(CALLERS)}
    assert after["version"] == 1 + CALLERS


def test_updated_at_never_decreases_between_concurrent_writers(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    path = f"/api/contacts/{contact}"
    responses = run_concurrently(lambda n: call(service, "PUT", path, {"metadata": {"n": n}}))
    versions = sorted((response["data"]["version"], response["data"]["updated_at"]) for _, response in responses)
    assert [version for version, _ in versions] == list(range(2, CALLERS + 2))
    assert [moment for _, moment in versions] == sorted(moment for _, moment in versions)


def test_status_and_message_recorded_concurrently_end_with_the_status(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]

    def act(number: int, attempt: int) -> int:
        wa_message_id = f"wamid.{attempt}.{number // 2}"
        if number % 2:
            body = {"wa_message_id": wa_message_id, "status": "delivered"}
            return call(service, "PUT", "/api/messages/status", body)[0]
        body = {"wa_message_id": wa_message_id, "direction": "outgoing", "type": "text", "content": {}}
        return call(service, "POST", f"/api/contacts/{contact}/messages", body)[0]

    for attempt in range(6):
        assert set(run_concurrently(lambda number, attempt=attempt: act(number, attempt))) <= {200, 201, 202}
    history = call(service, "GET", f"/api/contacts/{contact}/messages?limit=100")[1]["data"]["items"]
    assert [item["status"] for item in history] == ["delivered"] * (6 * CALLERS // 2)


def test_messages_recorded_during_a_delete_leave_nothing(service: Service) -> None:
    for attempt in range(5):
        contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
        path = f"/api/contacts/{contact}"

        def act(number: int, path: str = path, victim: int = attempt) -> tuple[int, int]:
            if number == victim:
                return number, call(service, "DELETE", path)[0]
            body = {"direction": "incoming", "type": "text", "content": {}, "wa_message_id": f"wamid.{number}"}
            return number, call(service, "POST", f"{path}/messages", body)[0]

        for number, status in run_concurrently(act, 8):
            assert status in ({200} if number == attempt else {201, 404})
        assert call(service, "GET", f"{path}/messages")[0] == 404
    with contextlib.closing(connect_to(service.database_url)) as connection:
        for table in ("contact", "message", "session", "contact_tag", "contact_identifier", "early_status"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0, table


def connect_to(url: str) -> Any:
    return sqlite3.connect(sqlite_file(url)) if url.startswith("sqlite") else psycopg.connect(url)


def test_message_delivered_concurrently_under_several_numbers_creates_one_contact(service: Service) -> None:
    for attempt in range(5):
        account = f"7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a1{attempt}"

        def deliver(number: int, account: str = account) -> int:
            body = webhook(1, phone_number=f"+123456789{number}")
            return call(service, "POST", "/api/messages", {"account_id": account, **body})[0]

        assert sorted(run_concurrently(deliver, 8)) == [200] * 7 + [201]
        assert call(service, "GET", f"/api/contacts?account_id={account}")[1]["data"]["total"] == 1


def test_identifier_of_a_contact_being_deleted_is_taken_or_reported_with_an_id(service: Service) -> None:
    mine = call(service, "POST", "/api/contacts", {"bsuid": "US.mine"})[1]["data"]["id"]
    number = {"phone_number": "+1234567890"}

    def act(worker: int) -> list[tuple[int, Any]]:
        responses = []
        for _ in range(15):
            if worker % 2:
                responses.append(call(service, "PUT", f"/api/contacts/{mine}", {**number, "name": f"{worker}"}))
                call(service, "PUT", f"/api/contacts/{mine}", {"phone_number": None})
            else:
                status, response = call(service, "POST", "/api/contacts", number)
                if status == 201:
                    call(service, "DELETE", f"/api/contacts/{response['data']['id']}")
        return responses

    for status, response in itertools.chain(*run_concurrently(act, 8)):
        assert status in {200, 409}, response
        assert status == 200 or response["errors"]["id"], response
