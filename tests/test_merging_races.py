"""Merges that race with one another, with messages, undoing and deletes, in several processes of several threads."""

import random
from typing import Any

import pytest
from helpers.concurrency import run_concurrently
from helpers.examples import ACCOUNT, USER
from helpers.messages import message
from helpers.recomputation import contradictions
from helpers.service import Service, call

PEOPLE, RACERS, TURNS = 8, 64, 3
# Others were faster: the contact has ended or was deleted, or the merge was undone already or has to wait for another.
EXPECTED = {200, 201, 404, 409, 410}


def persistently(service: Service, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """Send a request again as long as the answer is to try again, as it may be for long on a busy machine."""
    for _ in range(50):
        status, response = call(service, method, path, body)
        if status != 503:
            break
    return status, response


def living(service: Service, contact: str) -> str:
    """The contact, or the one that it was merged into."""
    status, response = persistently(service, "GET", f"/api/contacts/{contact}")
    return response["errors"]["id"][0] if status == 410 else contact


def act(service: Service, number: int, contacts: list[str], *, deletes: bool) -> list[tuple[str, int, Any]]:
    """Do a few things to random contacts. Returns what, the status and the response of each."""
    chance = random.Random(number)
    done = []
    for turn in range(TURNS):
        who = chance.randrange(PEOPLE)
        other = (who + chance.randrange(1, PEOPLE)) % PEOPLE
        first, second = living(service, contacts[who]), living(service, contacts[other])
        recorded = message(number * TURNS + turn)
        received = {**recorded, "account_id": ACCOUNT, "contact": {"bsuid": f"US.{who}"}}
        conflicting = {"contact": {"bsuid": f"US.{who}", "phone_number": f"+123456789{other}"}, "on_conflict": "merge"}
        merges = persistently(service, "GET", f"/api/contacts/{first}/merges")[1]["data"] or {}
        source = next((merge["source_id"] for merge in merges.get("items", [])), second)
        requests: dict[str, tuple[str, str, Any]] = {
            "merge": ("POST", f"/api/contacts/{first}/merge", {"source_id": second}),
            "undo": ("DELETE", f"/api/contacts/{first}/merges/{source}", None),
            "receive": ("POST", "/api/messages", received),
            "conflict": ("POST", "/api/messages", {**received, **conflicting}),
            "record": ("POST", f"/api/contacts/{first}/messages", recorded),
            "delete": ("DELETE", f"/api/contacts/{first}", None),
        }
        what = chance.choice(["merge", "merge", "undo", "undo", "receive", "conflict", "record"] + ["delete"] * deletes)
        if what != "merge" or first != second:
            done.append((what, *persistently(service, *requests[what])))
    return done


def create_people(service: Service) -> list[str]:
    contacts = []
    for number in range(PEOPLE):
        identifiers = {"phone_number": f"+123456789{number}", "bsuid": f"US.{number}", "account_id": ACCOUNT}
        values = {"name": f"Name {number}", "tags": [f"{number}"], "metadata": {f"{number}": number}}
        contacts.append(call(service, "POST", "/api/contacts", {**identifiers, **values})[1]["data"]["id"])
        if number % 2:
            call(service, "PUT", f"/api/contacts/{contacts[-1]}/assign", {"user_id": USER})
    return contacts


def all_messages(service: Service, contact: str) -> set[str]:
    found, query = set(), ""
    while True:
        page = call(service, "GET", f"/api/contacts/{contact}/messages?limit=100{query}")[1]["data"]
        found |= {item["id"] for item in page["items"]}
        if not page["has_more"]:
            return found
        query = f"&before={page['items'][0]['id']}"


@pytest.mark.parametrize("deletes", [False, True], ids=["without deletes", "with deletes"])
def test_racing_merges_lose_no_message_and_make_no_circle(service: Service, *, deletes: bool) -> None:
    contacts = create_people(service)
    results = run_concurrently(lambda number: act(service, number, contacts, deletes=deletes), RACERS)
    done = [each for result in results for each in result]
    assert [each for each in done if each[1] not in EXPECTED] == []
    assert contradictions(service.database_url) == {}
    left = [item["id"] for item in call(service, "GET", "/api/contacts?limit=100")[1]["data"]["items"]]
    for contact in contacts:
        status, response = call(service, "GET", f"/api/contacts/{contact}")
        leads_on = status == 410 and response["errors"]["id"][0] in left
        assert contact in left or leads_on or (deletes and status == 404), response
    recorded = {response["data"]["id"] for _, status, response in done if status == 201}
    found = set.union(*[all_messages(service, contact) for contact in left]) if left else set()
    assert found <= recorded if deletes else found == recorded
    succeeded = {what for what, status, _ in done if status < 300}
    # A delete may take every merge away before it is undone.
    assert succeeded >= {"merge", "receive", "conflict", "record", "delete" if deletes else "undo"}
