"""Filters of the list, and paging through it by cursor during writes."""

import base64
import hashlib
import itertools
import random
import re
from typing import Any

import orjson
import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.examples import ACCOUNT, UNKNOWN_ID, USER
from helpers.keys import make_key
from helpers.queries import count_queries

from contacts_service.contacts import list_planning
from contacts_service.db.database import database, reading


def follow(caller: Caller, between_pages: Any = None, **query: Any) -> list[str]:
    """Follow next_cursor to the end, calling ``between_pages`` between pages."""
    response = caller.get("/api/contacts", **query).data
    names = [contact["name"] for contact in response["items"]]
    while response["next_cursor"]:
        if between_pages:
            between_pages()
        response = caller.get("/api/contacts", **{**query, "cursor": response["next_cursor"]}).data
        assert response["items"]
        assert response["page"] is None
        assert len(names) < 1000, "the cursor repeats itself"
        names += [contact["name"] for contact in response["items"]]
    return names


@pytest.fixture
def crowd(caller: Caller) -> list[dict[str, Any]]:
    """25 contacts, some with account, user, tags and messages of equal times."""
    contacts = []
    for number in range(25):
        fields: dict[str, Any] = {"name": f"{number:02} Smith"}
        if number % 2:
            fields["account_id"] = ACCOUNT
        if number % 3 == 0:
            fields["tags"] = ["vip", f"mod{number % 5}"]
        contact = caller.create(f"+12345678{number:02}", **fields)
        path = f"/api/contacts/{contact['id']}"
        if number % 4 == 0:
            caller.put(f"{path}/assign", {"user_id": USER})
        if number % 5 < 3:
            moment = f"2024-01-0{number % 3 + 1}T00:00:00Z"
            body = {"direction": "outgoing", "type": "text", "content": {}, "timestamp": moment}
            caller.post(f"{path}/messages", body)
        contacts.append(contact)
    return contacts


FILTERS: list[dict[str, Any]] = [
    {},
    {"account_id": ACCOUNT},
    {"account_id": "none"},
    {"assigned_to": USER},
    {"assigned_to": "none"},
    {"tags": "vip"},
    {"tags": "mod0,mod1"},
    {"search": "smith"},
    {"search": "1"},
    {"search": "smith", "account_id": ACCOUNT, "assigned_to": "none"},
    {"search": "s", "account_id": ACCOUNT},
    {"search": "smith", "account_id": "none"},
    {"search": "smith", "assigned_to": USER},
    {"search": "smi", "tags": "vip"},
    {"tags": "vip", "account_id": ACCOUNT},
    {"tags": "vip", "assigned_to": "none"},
    {"assigned_to": USER, "account_id": "none"},
]


MANY = """
INSERT INTO contact (
    id, phone_number, tags, marketing_opt_out, metadata, search_text, unread_count, created_at, updated_at, version
)
SELECT gen_random_uuid(), '+' || 19990000000 + n, '[]', false, '{}', '', 0, moment, moment, 1
FROM generate_series(1, 1000) n, LATERAL (SELECT timestamptz '2023-01-01' + n * interval '1 minute' AS moment) m
"""


def expected_numbers(query: dict[str, Any]) -> set[int]:
    chosen = set(range(25))
    if query.get("account_id") == ACCOUNT:
        chosen &= set(range(1, 25, 2))
    if query.get("account_id") == "none":
        chosen &= set(range(0, 25, 2))
    if query.get("assigned_to") == USER:
        chosen &= set(range(0, 25, 4))
    if query.get("assigned_to") == "none":
        chosen -= set(range(0, 25, 4))
    if query.get("tags") == "vip":
        chosen &= set(range(0, 25, 3))
    if query.get("tags") == "mod0,mod1":
        chosen &= {number for number in range(0, 25, 3) if number % 5 in {0, 1}}
    return chosen


@pytest.mark.parametrize("walks", [False, True])
@pytest.mark.usefixtures("crowd")
def test_every_filter_gives_the_same_list_by_page_and_by_cursor(
    caller: Caller, walks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both when a search sorts its matches and when it walks the list's order."""
    if walks:
        monkeypatch.setattr(list_planning, "_MIN_DENSE_MATCHES", 0)
    for query in FILTERS:
        names = {f"{number:02} Smith" for number in expected_numbers(query)}
        for sort in ("recent", "created"):
            whole = caller.names(limit=100, sort=sort, **query)
            assert set(whole) == names, query
            assert len(whole) == len(names), query
            for limit in (1, 24):
                assert follow(caller, limit=limit, sort=sort, **query) == whole, (query, sort, limit)
            for limit in (4, 24):
                behind_the_end = len(names) // limit + 3
                pages = [caller.names(limit=limit, sort=sort, page=page, **query) for page in range(1, behind_the_end)]
                assert list(itertools.chain(*pages)) == whole, (query, sort, limit)
        assert caller.get("/api/contacts", limit=1, **query).data["total"] == len(names), query
        created = caller.names(limit=100, sort="created", **query)
        assert created == sorted(created), "oldest first"
        assert caller.names(limit=100, **query) == caller.names(limit=100, sort="recent", **query), query


def test_filters_by_phone_number_bsuid_and_ids(caller: Caller, crowd: list[dict[str, Any]]) -> None:
    assert caller.names(phone_number="00 1 (234) 567-803") == ["03 Smith"]
    assert caller.names(phone_number="+1999999999") == []
    hidden = caller.post("/api/contacts", {"bsuid": "US.1A2b3C", "name": "hidden"}).data
    assert caller.names(bsuid="US.1A2b3C") == ["hidden"]
    ids = ",".join([crowd[4]["id"].upper(), hidden["id"], UNKNOWN_ID])
    assert sorted(caller.names(ids=ids)) == ["04 Smith", "hidden"]
    assert caller.names(ids=crowd[4]["id"], account_id=ACCOUNT) == []
    for query in ({"phone_number": "+1234567803"}, {"bsuid": "US.1A2b3C"}, {"ids": ids, "search": "smith"}):
        assert caller.get("/api/contacts", **query).data["total"] == 1
    assert caller.get("/api/contacts", ids=ids).data["total"] == 2


def test_cursor_by_creation_visits_every_lasting_contact_once_during_writes(
    caller: Caller, crowd: list[dict[str, Any]]
) -> None:
    """Between pages, contacts before and after the cursor are created, deleted, renamed and written to."""
    chance = random.Random(3)
    staying = set(chance.sample(range(25), 15))
    leaving = [contact for number, contact in enumerate(crowd) if number not in staying]
    fresh = iter(range(100, 1000))
    visited: list[list[str]] = [[] for _ in FILTERS]
    cursors: dict[int, dict[str, str]] = {number: {} for number in range(len(FILTERS))}
    while cursors:
        for number, cursor in [*cursors.items()]:
            page = caller.get("/api/contacts", limit=3, sort="created", **FILTERS[number], **cursor).data
            visited[number] += [contact["name"] for contact in page["items"]]
            cursors[number] = {"cursor": page["next_cursor"]}
            if not page["next_cursor"]:
                del cursors[number]
        for _ in range(2):
            caller.create(f"+1999000{next(fresh)}", name="fresh", account_id=chance.choice([None, ACCOUNT]))
        if leaving:
            caller.delete(f"/api/contacts/{leaving.pop(chance.randrange(len(leaving)))['id']}")
        path = f"/api/contacts/{crowd[chance.choice(sorted(staying))]['id']}"
        caller.post(f"{path}/messages", {"direction": "incoming", "type": "text", "content": {}})
        caller.put(path, {"profile_name": "renamed"})
    for query, names in zip(FILTERS, visited, strict=True):
        throughout = [f"{number:02} Smith" for number in sorted(staying & expected_numbers(query))]
        assert [name for name in names if name in set(throughout)] == throughout, query


def test_cursor_by_recency_visits_every_unmoved_contact_once_during_writes(
    caller: Caller, crowd: list[dict[str, Any]]
) -> None:
    chance = random.Random(7)
    moving = set(chance.sample(range(25), 10))
    before = [name for name in caller.names(limit=100) if int(name[:2]) not in moving]

    def between_pages() -> None:
        path = f"/api/contacts/{crowd[chance.choice(sorted(moving))]['id']}"
        caller.post(f"{path}/messages", {"direction": "incoming", "type": "text", "content": {}})

    visited = follow(caller, between_pages, limit=3)
    assert [name for name in visited if int(name[:2]) not in moving] == before


def test_forged_or_foreign_cursor_is_400(caller: Caller, crowd: list[dict[str, Any]]) -> None:
    assert crowd
    cursor = caller.get("/api/contacts", limit=5, account_id=ACCOUNT).data["next_cursor"]
    assert caller.get("/api/contacts", limit=3, account_id=ACCOUNT.upper(), cursor=cursor).status == 200
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    forged = [
        base64.urlsafe_b64encode(raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]).decode().rstrip("=")
        for position in range(len(raw))
    ]
    for wrong in [*forged, cursor[:-4], "x", "é", "=", "null", base64.urlsafe_b64encode(b"[]").decode()]:
        response = caller.get("/api/contacts", account_id=ACCOUNT, cursor=wrong)
        assert (response.status, list(response.errors)) == (400, ["cursor"]), wrong
    old = b"[0," + raw[6:].partition(b",")[2]
    filters = orjson.dumps(["recent", {"account_id": ACCOUNT}])
    signed = base64.urlsafe_b64encode(hashlib.blake2b(old + filters, digest_size=6).digest() + old).decode().rstrip("=")
    response = caller.get("/api/contacts", account_id=ACCOUNT, cursor=signed)
    assert (response.status, list(response.errors)) == (400, ["cursor"]), "a cursor of an older version of the service"
    for place in (
        b"5",
        b'[1,5,"2024-01-01T00:00:00Z","01890a5d-ac96-774b-bcce-b302099a8057"]',
        b'[1,"x","2024-01-01T00:00:00Z","01890a5d-ac96-774b-bcce-b302099a8057"]',
        b'[1,null,null,"01890a5d-ac96-774b-bcce-b302099a8057"]',
        b'[1,null,"2024-01-01T00:00:00","01890a5d-ac96-774b-bcce-b302099a8057"]',
        b'[1,"0001-01-01T00:00:00+23:00","2024-01-01T00:00:00Z","01890a5d-ac96-774b-bcce-b302099a8057"]',
        b'[1,null,"2024-01-01T00:00:00Z","zzz"]',
        b'[1,null,"2024-01-01T00:00:00Z",[1]]',
        b'[true,null,"2024-01-01T00:00:00Z","01890a5d-ac96-774b-bcce-b302099a8057"]',
    ):
        made_up = base64.urlsafe_b64encode(hashlib.blake2b(place + filters, digest_size=6).digest() + place).decode()
        response = caller.get("/api/contacts", account_id=ACCOUNT, cursor=made_up)
        assert (response.status, list(response.errors)) == (400, ["cursor"]), place
    for foreign in ({}, {"account_id": "none"}, {"account_id": ACCOUNT, "sort": "created"}, {"search": "smith"}):
        response = caller.get("/api/contacts", cursor=cursor, **foreign)
        assert (response.status, list(response.errors)) == (400, ["cursor"]), foreign
    both = caller.get("/api/contacts", account_id=ACCOUNT, cursor=cursor, page=2)
    assert (both.status, list(both.errors)) == (400, ["cursor"])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"sort": "name"}, "sort"),
        ({"assigned_to": "not-a-uuid"}, "assigned_to"),
        ({"account_id": "None"}, "account_id"),
        ({"tags": ""}, "tags"),
        ({"tags": "a,,b"}, "tags"),
        ({"tags": ",".join("a" * 51)}, "tags"),
        ({"phone_number": "12"}, "phone_number"),
        ({"bsuid": "12"}, "bsuid"),
        ({"ids": "1,2"}, "ids"),
        ({"ids": ",".join([USER] * 101)}, "ids"),
    ],
)
def test_invalid_filter_is_400(caller: Caller, query: dict[str, str], field: str) -> None:
    response = caller.get("/api/contacts", **query)
    assert (response.status, list(response.errors)) == (400, [field])


def test_page_after_a_cursor_starts_within_an_index(
    app: Flask, caller: Caller, crowd: list[dict[str, Any]], kind: str
) -> None:
    """It costs as much as a first page: neither database sorts or scans from the beginning."""
    assert crowd
    if kind == "postgresql":
        with reading():  # Of 25 contacts every index costs the same.
            database.execute_sql(MANY)
    for query, index in (
        ({}, "contact_recent"),
        ({"account_id": ACCOUNT}, "contact_account_recent"),
        ({"assigned_to": USER}, "contact_assigned_recent"),
        ({"sort": "created"}, "contact_created"),
        ({"sort": "created", "account_id": ACCOUNT}, "contact_account_created"),
    ):
        cursor = caller.get("/api/contacts", limit=3, **query).data["next_cursor"]
        with count_queries() as queries:
            app.test_client().get("/api/contacts", query_string={"limit": 3, "cursor": cursor, **query})
        assert queries.count == (2 if "assigned_to" in query else 1)
        [page] = [record.msg for record in queries.get_queries() if "ORDER BY" in record.msg[0]]
        with reading(), database.atomic():
            if kind == "postgresql":
                database.execute_sql("ANALYZE contact")  # So that the plan doesn't depend on when autovacuum did.
                for setting in ("enable_seqscan", "enable_sort", "enable_bitmapscan"):
                    database.execute_sql(f"SET LOCAL {setting} = off")
                plan = "\n".join(row[0] for row in database.execute_sql(f"EXPLAIN {page[0]}", page[1]))
                range_of_index = plan.partition("Index Cond:")[2].partition("Filter:")[0]
                assert "ROW(" in range_of_index, plan
            else:
                plan = "\n".join(row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {page[0]}", page[1]))
                assert "TEMP B-TREE" not in plan
                assert re.search(r"[<>]\(\?,\?\)", plan), plan
        assert f"{index} " in plan, plan


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("crowd")
def test_postgresql_caches_only_plans_that_fit_all_values(caller: Caller) -> None:
    """A plan made for a user with thousands of contacts is slow for one with three."""
    kept, planned = {"assigned_to": USER}, {"assigned_to": USER, "account_id": ACCOUNT}
    for query in (kept, planned, {"tags": "vip"}, {"search": "smith"}):
        for _ in range(8):
            caller.get("/api/contacts", **query)
    with reading():
        statements = database.execute_sql("SELECT statement FROM pg_prepared_statements").fetchall()
    pages = [statement for (statement,) in statements if "ORDER BY" in statement and '"contact"' in statement]
    assert pages
    assert any(" LIMIT 21" in page for page in pages)
    assert not any('"account_id" =' in page and '"assigned_to" =' in page for page in pages)
    assert not any("contact_tag" in page for page in pages)


def test_list_in_a_query_is_bounded_by_its_text_before_its_items(caller: Caller) -> None:
    """A pattern without bounds would otherwise let a text of any length through."""
    response = caller.get("/api/contacts", tags=",".join(["a" * 50] * 51))
    assert (response.status, response.errors) == (400, {"tags": ["Longer than maximum length 2550."]})


def test_each_identifier_and_the_username_is_a_filter(app: Flask, caller: Caller) -> None:
    person = {
        "bsuid": "US.1",
        "parent_bsuid": "US.ENT.1",
        "external_id": "crm 1",
        "username": "john.doe",
        "phone_number": "+1234567890",
    }
    ids = [caller.create(**person, account_id=account)["id"] for account in (None, ACCOUNT)]
    caller.create("+1234567891", bsuid="US.2", external_id="crm 2", username="john.doe2")
    for name, value in person.items():
        found = caller.get("/api/contacts", **{name: value}).data
        assert ({contact["id"] for contact in found["items"]}, found["total"]) == ({*ids}, 2), name
        for account, contact_id in zip(("none", ACCOUNT), ids, strict=True):
            assert caller.get("/api/contacts", account_id=account, **{name: value}).data["items"][0]["id"] == contact_id
        assert caller.get("/api/contacts", **{name: value}, search="nobody").data["total"] == 0
    caller.put(f"/api/contacts/{ids[0]}", {"bsuid": "US.3"})
    assert caller.get("/api/contacts", bsuid="US.1").data["total"] == 1, "a former one is no longer the contact's"
    limited = Caller(app, make_key(app, accounts=[ACCOUNT]))
    for name, value in person.items():
        assert [contact["id"] for contact in limited.get("/api/contacts", **{name: value}).data["items"]] == [ids[1]]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)  # PostgreSQL plans by statistics.
@pytest.mark.usefixtures("crowd")
def test_filter_by_an_identifier_or_username_reads_an_index(app: Flask) -> None:
    for query in ({"phone_number": "+1234567801"}, {"bsuid": "US.1"}, {"external_id": "1"}, {"username": "john"}):
        for account in ({}, {"account_id": ACCOUNT}):
            with count_queries() as queries:
                Caller(app).get("/api/contacts", **query, **account)
            counted = next(record.msg for record in queries.get_queries() if "COUNT(*)" in record.msg[0])
            with reading():
                plan = [row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {counted[0]}", counted[1])]
            scanned = {step for step in plan if step.startswith("SCAN") and not re.search("t2|t3|near", step)}
            assert not scanned, plan
