"""The list of pairs of contacts that may be one person."""

from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.examples import ACCOUNT, OTHER_ACCOUNT, UNKNOWN_ID
from helpers.keys import make_key
from test_merging import BSUID, NUMBER, OTHER_NUMBER, merge

NUMBERS = ["+5215512345678", "+525512345678"]
"""Two ways to write one Mexican number."""


def pairs(caller: Caller, **query: Any) -> list[tuple[list[str], list[str]]]:
    items = caller.get("/api/contacts/duplicates", **query).data["items"]
    return [([contact["id"] for contact in item["contacts"]], item["reasons"]) for item in items]


def conflict(caller: Caller, number: int = 0, **account: Any) -> list[str]:
    """Two contacts that WhatsApp says are one person."""
    identity = {"phone_number": f"+123456789{number}"}, {"bsuid": f"US.{number}"}
    contacts = [caller.post("/api/contacts", {**each, **account}).data["id"] for each in identity]
    said = caller.post("/api/contacts/resolve", {**identity[0], **identity[1], **account}).data
    assert (said["id"], said["conflict_with"]) == (contacts[1], [contacts[0]])
    return contacts


def test_identifiers_of_two_contacts_make_a_pair(caller: Caller) -> None:
    contacts = conflict(caller)
    conflict_again = {"phone_number": "+1234567890", "bsuid": "US.0"}
    first = caller.get("/api/contacts/duplicates").data
    assert caller.post("/api/contacts/resolve", conflict_again).status == 200
    assert caller.get("/api/contacts/duplicates").data == first, "it is seen once"
    assert pairs(caller) == [(contacts, ["identity_conflict"])]
    [item] = first["items"]
    assert item["contacts"] == [caller.get("/api/contacts", ids=contact).data["items"][0] for contact in contacts]


@pytest.mark.parametrize("how", ["POST", "PUT"])
def test_two_ways_to_write_a_number_make_a_pair(caller: Caller, how: str) -> None:
    first = caller.create(NUMBERS[0])["id"]
    caller.create(NUMBERS[0], account_id=ACCOUNT)
    if how == "POST":
        second = caller.create(NUMBERS[1])["id"]
    else:
        second = caller.create(NUMBER)["id"]
        assert pairs(caller) == []
        caller.put(f"/api/contacts/{second}", {"phone_number": NUMBERS[1]})
    assert pairs(caller) == [([first, second], ["phone_variant"])]


def test_pair_may_have_both_reasons(caller: Caller) -> None:
    first, second = caller.create(NUMBERS[0])["id"], caller.create(NUMBERS[1], bsuid=BSUID)["id"]
    caller.post("/api/contacts/resolve", {"phone_number": NUMBERS[0], "bsuid": BSUID})
    assert pairs(caller, limit=1) == [([first, second], ["identity_conflict", "phone_variant"])]


@pytest.mark.parametrize("how", ["merge", "delete", "merge with a third"])
def test_pair_is_gone_when_one_of_the_two_is(caller: Caller, how: str) -> None:
    first, second = conflict(caller)
    if how == "merge":
        merge(caller, first, second)
    elif how == "delete":
        caller.delete(f"/api/contacts/{second}")
    else:
        merge(caller, caller.create(OTHER_NUMBER)["id"], first)
    assert pairs(caller) == []


def test_dismissed_pair_stays_off_the_list_whatever_is_noticed_later(caller: Caller) -> None:
    first, second = caller.create(NUMBERS[0])["id"], caller.create(NUMBERS[1], bsuid=BSUID)["id"]
    body = {"ids": [second, first.upper()]}
    assert caller.post("/api/contacts/duplicates/dismiss", body).data is None
    caller.post("/api/contacts/resolve", {"phone_number": NUMBERS[0], "bsuid": BSUID})
    assert pairs(caller) == []
    assert caller.post("/api/contacts/duplicates/dismiss", body).status == 200, "again changes nothing"


def test_dismissing_what_is_no_pair_is_refused(app: Flask) -> None:
    caller = Caller(app, make_key(app))
    first = caller.create(NUMBER, account_id=ACCOUNT)["id"]
    foreign = caller.create(NUMBER, account_id=OTHER_ACCOUNT)["id"]
    limited = Caller(app, make_key(app, accounts=[ACCOUNT]))

    def dismiss(*ids: object, by: Caller = caller) -> tuple[int, str]:
        response = by.post("/api/contacts/duplicates/dismiss", {"ids": ids})
        return response.status, response.code

    for ids in ([], [first], [first, first], [first, foreign, UNKNOWN_ID], [first, "x"], [first, None]):
        assert dismiss(*ids) == (400, "invalid_request"), ids
    assert dismiss(first, UNKNOWN_ID) == (404, "contact_not_found")
    assert dismiss(first, foreign) == (409, "account_mismatch")
    assert dismiss(first, foreign, by=limited) == (404, "contact_not_found")


def test_pairs_are_paged_and_limited_to_accounts(app: Flask) -> None:
    caller = Caller(app, make_key(app))
    expected = [conflict(caller, number, account_id=ACCOUNT) for number in range(5)]
    other, without = conflict(caller, account_id=OTHER_ACCOUNT), conflict(caller)
    found: list[list[str]] = []
    query: dict[str, Any] = {}
    while query.get("cursor", "") is not None:
        page = caller.get("/api/contacts/duplicates", account_id=ACCOUNT, limit=2, **query).data
        found += [[contact["id"] for contact in item["contacts"]] for item in page["items"]]
        query = {"cursor": page["next_cursor"]}
    assert found == expected
    assert [ids for ids, _ in pairs(caller, account_id="none")] == [without]
    assert [ids for ids, _ in pairs(caller)] == [*expected, other, without]
    limited = Caller(app, make_key(app, accounts=[OTHER_ACCOUNT]))
    assert [ids for ids, _ in pairs(limited)] == [other]
    refused = limited.get("/api/contacts/duplicates", account_id=ACCOUNT)
    assert (refused.status, refused.code) == (403, "account_forbidden")
    for cursor in ("", "1", "-1-2", "1-9999999999999999999", "1-2-3"):
        assert caller.get("/api/contacts/duplicates", cursor=cursor).status == 400, cursor
