"""Many callers at once, against the running service: several processes, several threads each."""

import contextlib
import http.client
import itertools
import json
import sqlite3
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import psycopg
from conftest import Service

CALLERS = 32


def call(
    service: Service, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(service.url).port, timeout=60)
    headers = {**({"Content-Type": "application/json"} if body is not None else {}), **(headers or {})}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def at_once(action: Callable[[int], Any], callers: int = CALLERS) -> list[Any]:
    """Run the action in so many threads, all let go at the same moment."""
    barrier, results = threading.Barrier(callers), [None] * callers

    def run(number: int) -> None:
        barrier.wait()
        results[number] = action(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_many_simultaneous_creates_one_wins_and_the_others_learn_its_id(service: Service) -> None:
    for account in (None, "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a10"):
        body = {"phone_number": "+1234567890", "account_id": account}
        answers = at_once(lambda _, body=body: call(service, "POST", "/api/contacts", body))
        created = [answer["data"]["id"] for status, answer in answers if status == 201]
        refused = [answer["errors"]["id"] for status, answer in answers if status == 409]
        assert len(created) == 1, sorted(status for status, _ in answers)
        assert refused == [created] * (CALLERS - 1)
    assert call(service, "GET", "/api/contacts")[1]["data"]["total"] == 2


def test_totals_are_exact_whoever_creates_and_deletes_at_once(service: Service) -> None:
    accounts = [None, "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a10", "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a11"]

    def create_some_and_delete_some(number: int) -> None:
        for each in range(6):
            body = {"phone_number": f"+1{number:04}{each:04}", "account_id": accounts[each % 3]}
            created = call(service, "POST", "/api/contacts", body)[1]["data"]["id"]
            if each >= 3:
                call(service, "DELETE", f"/api/contacts/{created}")

    at_once(create_some_and_delete_some)
    assert call(service, "GET", "/api/contacts")[1]["data"]["total"] == 3 * CALLERS
    for account in accounts:
        listed = call(service, "GET", f"/api/contacts?account_id={account or 'none'}")[1]["data"]
        assert listed["total"] == CALLERS
    assert call(service, "GET", "/api/contacts?search=1")[1]["data"]["total"] == 3 * CALLERS, "of the index"


def test_totals_of_users_are_exact_whoever_passes_contacts_to_and_fro(service: Service) -> None:
    users = [None, "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a10", "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a11"]
    accounts = [None, "8a2f2c1e-52c4-4b0c-9a53-7c3c0c6b6a10"]

    def create_and_assign(number: int) -> set[int]:
        body = {"phone_number": f"+1{number:07}", "account_id": accounts[number % 2]}
        path = f"/api/contacts/{call(service, 'POST', '/api/contacts', body)[1]['data']['id']}"
        turns = [users[(number + each) % 3] for each in range(7)]
        statuses = {call(service, "PUT", f"{path}/assign", {"user_id": user})[0] for user in turns}
        return statuses | {call(service, "DELETE", path)[0] for _ in range(number % 5 == 0)}

    assert set.union(*at_once(create_and_assign)) == {200}
    for user, account in itertools.product(users, [*accounts, "all"]):
        query = f"assigned_to={user or 'none'}" + (f"&account_id={account or 'none'}" if account != "all" else "")
        listed = call(service, "GET", f"/api/contacts?{query}&limit=100")[1]["data"]
        assert listed["total"] == len(listed["items"]), query


def test_creating_and_deleting_one_number_at_once_never_fails_otherwise(service: Service) -> None:
    def create_and_delete(_: int) -> list[int]:
        statuses = []
        for _ in range(5):
            status, answer = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})
            contact_id = answer["data"]["id"] if status == 201 else answer["errors"]["id"][0]
            statuses += [status, call(service, "DELETE", f"/api/contacts/{contact_id}")[0]]
        return statuses

    seen = {status for statuses in at_once(create_and_delete, 8) for status in statuses}
    assert seen <= {201, 409, 200, 404}
    assert call(service, "GET", "/api/contacts")[1]["data"]["total"] == 0


def test_variables_merged_by_many_writers_are_all_there(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    path = f"/api/contacts/{contact}/session-data"
    call(service, "PUT", path, {"session_data": {"before": True}})
    answers = at_once(lambda n: call(service, "PATCH", path, {"session_data": {f"key {n}": n}}))
    assert {status for status, _ in answers} == {200}
    merged = call(service, "GET", path)[1]["data"]["session_data"]
    assert merged == {"before": True, **{f"key {n}": n for n in range(CALLERS)}}


def test_variables_merged_by_many_writers_start_one_session(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    path = f"/api/contacts/{contact}/session-data"
    answers = at_once(lambda n: call(service, "PATCH", path, {"session_data": {f"key {n}": n}}))
    assert sorted(status for status, _ in answers) == [200] * (CALLERS - 1) + [201]
    assert call(service, "GET", path)[1]["data"]["session_data"] == {f"key {n}": n for n in range(CALLERS)}


def test_one_session_put_by_many_is_started_once(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    body = {"session_id": "018f3c6e-7c11-7d2a-9a3e-2f6f1f0b5c33", "session_data": {"a": 1}}
    answers = at_once(lambda _: call(service, "PUT", f"/api/contacts/{contact}/session-data", body))
    assert sorted(status for status, _ in answers) == [200] * (CALLERS - 1) + [201]
    assert len(call(service, "GET", f"/api/contacts/{contact}/sessions")[1]["data"]["items"]) == 1


def test_one_flow_put_by_many_is_created_once(service: Service) -> None:
    path = "/api/flows/5d1a3c77-9f0e-4a6b-8a55-0e1f4f6a2b90"
    body = {"name": "F", "panel_config": {"sections": []}}
    answers = at_once(lambda _: call(service, "PUT", path, body))
    assert sorted(status for status, _ in answers) == [200] * (CALLERS - 1) + [201]


def test_search_knows_both_names_however_two_writers_meet(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]

    def rename(number: int) -> int:
        field = "name" if number % 2 else "profile_name"
        return call(service, "PUT", f"/api/contacts/{contact}", {field: f"{field} {number}"})[0]

    assert set(at_once(rename)) == {200}
    final = call(service, "GET", f"/api/contacts/{contact}")[1]["data"]
    for field in ("name", "profile_name"):
        query = final[field].replace(" ", "%20")
        assert call(service, "GET", f"/api/contacts?search={query}")[1]["data"]["total"] == 1, final


def test_sessions_started_while_their_contact_is_deleted_leave_nothing(service: Service) -> None:
    for attempt in range(5):
        contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
        path = f"/api/contacts/{contact}"

        def act(number: int, path: str = path, victim: int = attempt) -> tuple[int, int]:
            if number == victim:
                return number, call(service, "DELETE", path)[0]
            return number, call(service, "PUT", f"{path}/session-data", {"session_data": {"n": number}})[0]

        for number, status in at_once(act, 8):
            assert status in ({200} if number == attempt else {201, 404})
        assert call(service, "GET", f"{path}/sessions")[0] == 404


def webhook(number: int, **who: str) -> dict[str, Any]:
    return {
        "contact": who,
        "wa_message_id": f"wamid.{number}",
        "direction": "incoming",
        "type": "text",
        "content": {"body": f"text {number}"},
        "timestamp": "2024-01-01T12:00:00Z",
    }


def test_webhooks_at_once_for_a_person_nobody_knew_make_one_contact_and_lose_no_message(service: Service) -> None:
    """They name the person in every way that WhatsApp has, and every second message comes twice."""
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

        statuses = at_once(deliver)
        assert sorted(statuses) == [200] * (CALLERS // 2) + [201] * (CALLERS // 2)
        [contact] = call(service, "GET", f"/api/contacts?account_id={account}")[1]["data"]["items"]
        assert contact["unread_count"] == CALLERS // 2
        history = call(service, "GET", f"/api/contacts/{contact['id']}/messages?limit=100")[1]["data"]["items"]
        assert {item["wa_message_id"] for item in history} == {f"wamid.{n}" for n in range(CALLERS // 2)}


def test_by_bsuid_alone_webhooks_at_once_make_one_contact(service: Service) -> None:
    answers = at_once(lambda n: call(service, "POST", "/api/messages", webhook(n, bsuid="US.1A2b3C")))
    assert {status for status, _ in answers} == {201}
    assert len({answer["data"]["contact_id"] for _, answer in answers}) == 1
    assert call(service, "GET", "/api/contacts")[1]["data"]["items"][0]["unread_count"] == CALLERS


def test_metadata_patched_by_many_writers_is_all_there(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    path = f"/api/contacts/{contact}"
    answers = at_once(lambda n: call(service, "PATCH", path, {"metadata": {f"key {n}": n}}))
    assert {status for status, _ in answers} == {200}
    after = call(service, "GET", path)[1]["data"]
    assert after["metadata"] == {f"key {n}": n for n in range(CALLERS)}
    assert after["version"] == 1 + CALLERS


def test_time_never_goes_back_however_writers_meet(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
    path = f"/api/contacts/{contact}"
    answers = at_once(lambda n: call(service, "PUT", path, {"metadata": {"n": n}}))
    answered = sorted((answer["data"]["version"], answer["data"]["updated_at"]) for _, answer in answers)
    assert [version for version, _ in answered] == list(range(2, CALLERS + 2))
    assert [moment for _, moment in answered] == sorted(moment for _, moment in answered)


def test_a_status_and_its_message_at_once_end_with_the_status(service: Service) -> None:
    contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]

    def act(number: int, attempt: int) -> int:
        wa_message_id = f"wamid.{attempt}.{number // 2}"
        if number % 2:
            body = {"wa_message_id": wa_message_id, "status": "delivered"}
            return call(service, "PUT", "/api/messages/status", body)[0]
        body = {"wa_message_id": wa_message_id, "direction": "outgoing", "type": "text", "content": {}}
        return call(service, "POST", f"/api/contacts/{contact}/messages", body)[0]

    for attempt in range(6):
        assert set(at_once(lambda number, attempt=attempt: act(number, attempt))) <= {200, 201, 202}
    history = call(service, "GET", f"/api/contacts/{contact}/messages?limit=100")[1]["data"]["items"]
    assert [item["status"] for item in history] == ["delivered"] * (6 * CALLERS // 2)


def test_messages_that_arrive_while_their_contact_is_deleted_leave_nothing(service: Service) -> None:
    for attempt in range(5):
        contact = call(service, "POST", "/api/contacts", {"phone_number": "+1234567890"})[1]["data"]["id"]
        path = f"/api/contacts/{contact}"

        def act(number: int, path: str = path, victim: int = attempt) -> tuple[int, int]:
            if number == victim:
                return number, call(service, "DELETE", path)[0]
            body = {"direction": "incoming", "type": "text", "content": {}, "wa_message_id": f"wamid.{number}"}
            return number, call(service, "POST", f"{path}/messages", body)[0]

        for number, status in at_once(act, 8):
            assert status in ({200} if number == attempt else {201, 404})
        assert call(service, "GET", f"{path}/messages")[0] == 404
    with contextlib.closing(connect_to(service.database_url)) as connection:
        for table in ("contact", "message", "session", "contact_tag", "former_bsuid", "early_status"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0, table


def connect_to(url: str) -> Any:
    return sqlite3.connect(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else psycopg.connect(url)


def test_one_message_at_once_under_different_names_leaves_one_contact(service: Service) -> None:
    for attempt in range(5):
        account = f"7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a1{attempt}"

        def deliver(number: int, account: str = account) -> int:
            body = webhook(1, phone_number=f"+123456789{number}")
            return call(service, "POST", "/api/messages", {"account_id": account, **body})[0]

        assert sorted(at_once(deliver, 8)) == [200] * 7 + [201]
        assert call(service, "GET", f"/api/contacts?account_id={account}")[1]["data"]["total"] == 1


def test_an_identifier_whose_owner_is_deleted_meanwhile_is_no_conflict(service: Service) -> None:
    mine = call(service, "POST", "/api/contacts", {"bsuid": "US.mine"})[1]["data"]["id"]
    number = {"phone_number": "+1234567890"}

    def act(worker: int) -> list[tuple[int, Any]]:
        answers = []
        for _ in range(15):
            if worker % 2:
                answers.append(call(service, "PUT", f"/api/contacts/{mine}", {**number, "name": f"{worker}"}))
                call(service, "PUT", f"/api/contacts/{mine}", {"phone_number": None})
            else:
                status, answer = call(service, "POST", "/api/contacts", number)
                if status == 201:
                    call(service, "DELETE", f"/api/contacts/{answer['data']['id']}")
        return answers

    for status, answer in itertools.chain(*at_once(act, 8)):
        assert status in {200, 409}, answer
        assert status == 200 or answer["errors"]["id"], answer
