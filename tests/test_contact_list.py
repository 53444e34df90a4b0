"""Lists: order, pages, totals, filters, and their queries."""

from datetime import UTC, datetime, timedelta

from flask import Flask
from helpers.caller import Caller
from helpers.examples import ACCOUNT
from helpers.queries import count_queries

from contacts_service.contacts.tables import Contact
from contacts_service.db.database import database, reading

LAST = {"next_cursor": None}
START = datetime(2024, 1, 1, tzinfo=UTC)


def set_times(contact_id: str, *, created: int, last_message: int | None) -> None:
    """Set a contact's times to so many minutes after START, past the service."""
    with reading():
        Contact.update(
            created_at=START + timedelta(minutes=created),
            last_message_at=None if last_message is None else START + timedelta(minutes=last_message),
        ).where(Contact.id == contact_id).execute()


def test_list_is_ordered_by_newest_message_with_silent_contacts_last(caller: Caller) -> None:
    for position, (name, created, last_message) in enumerate(
        [
            ("silent, older", 1, None),
            ("old message", 9, 10),
            ("silent, newer", 8, None),
            ("new message", 0, 30),
            ("same message time, created later", 5, 20),
            ("same message time, created first", 4, 20),
        ]
    ):
        contact = caller.create(f"+123456789{position}", name=name, account_id=ACCOUNT)
        set_times(contact["id"], created=created, last_message=last_message)
    expected = [
        "new message",
        "same message time, created later",
        "same message time, created first",
        "old message",
        "silent, newer",
        "silent, older",
    ]
    assert caller.names() == expected
    assert caller.names(account_id=ACCOUNT) == expected
    assert caller.names(search="1234567") == expected


def test_equal_times_are_ordered_by_id(caller: Caller) -> None:
    contacts = [caller.create(f"+12345678{number}") for number in range(10, 16)]
    for contact in contacts:
        set_times(contact["id"], created=0, last_message=7)
    listed = [contact["id"] for contact in caller.get("/api/contacts").data["items"]]
    assert listed == sorted(contact["id"] for contact in contacts)


def test_all_pages_together_hold_every_contact_once(caller: Caller) -> None:
    for number in range(23):
        contact = caller.create(f"+12345678{number:02}", account_id=ACCOUNT if number % 2 else None)
        # Many times are equal, so that only the id orders these.
        set_times(contact["id"], created=number % 3, last_message=None if number % 4 else number % 5)
    whole = [contact["id"] for contact in caller.get("/api/contacts", limit=100).data["items"]]
    assert len(set(whole)) == 23
    for limit in (1, 2, 7, 22, 23, 24):
        walked, page = [], 1
        while items := (response := caller.get("/api/contacts", limit=limit, page=page).data)["items"]:
            assert (response["total"], response["page"], response["limit"]) == (23, page, limit)
            assert response["total_pages"] == -(-23 // limit)
            walked += [contact["id"] for contact in items]
            page += 1
        assert walked == whole, limit


def test_empty_list_has_no_pages(caller: Caller) -> None:
    empty = {"items": [], "total": 0, "page": 1, "limit": 20, "total_pages": 0, "next_cursor": None}
    assert caller.get("/api/contacts").data == empty


def test_page_past_the_end_is_empty(caller: Caller) -> None:
    caller.create()
    for page in (2, 10**12):
        response = caller.get("/api/contacts", page=page).data
        assert response == {"items": [], "total": 1, "page": page, "limit": 20, "total_pages": 1, **LAST}


def test_list_omits_metadata(caller: Caller) -> None:
    contact = caller.create(name="John", profile_name="J", avatar_url="https://example.com/j", metadata={"a": 1})
    del contact["metadata"]
    assert caller.get("/api/contacts").data["items"] == [contact]


def test_filter_by_account(caller: Caller) -> None:
    caller.create("+1234567891", name="mine", account_id=ACCOUNT)
    caller.create("+1234567892", name="unassigned")
    assert caller.names(account_id=ACCOUNT) == ["mine"]
    assert caller.names(account_id=ACCOUNT.upper()) == ["mine"]
    assert caller.names(account_id=ACCOUNT, search="unassigned") == []
    assert caller.get("/api/contacts", account_id=ACCOUNT).data["total"] == 1


def test_list_of_any_length_takes_one_query_and_a_search_two(caller: Caller) -> None:
    for number in range(30):
        caller.create(f"+12345678{number:02}", name="Smith", account_id=ACCOUNT)
    for query in ({}, {"account_id": ACCOUNT}, {"search": "smith"}, {"search": "+1 (234) 567", "page": 2}):
        with count_queries() as queries:
            assert caller.get("/api/contacts", limit=15, **query).data["items"]
        assert queries.count == (2 if "search" in query else 1), query


def test_page_is_read_from_an_index_without_sorting(app: Flask, caller: Caller, kind: str) -> None:
    """Neither database sorts: both scan an index in the list's order."""
    for number in range(90):
        caller.create(f"+12345678{number:02}", account_id=ACCOUNT if number % 3 == 0 else None)
    for query, index in (("", "contact_recent"), (f"?account_id={ACCOUNT}", "contact_account_recent")):
        with count_queries() as queries:
            app.test_client().get(f"/api/contacts{query}")
        [page] = [record.msg for record in queries.get_queries() if "ORDER BY" in record.msg[0]]
        with reading(), database.atomic():
            if kind == "postgresql":
                # PostgreSQL prefers a scan for so small a table; the test is whether an index can replace the sort.
                database.execute_sql("ANALYZE contact")
                database.execute_sql("SET LOCAL enable_seqscan = off")
                database.execute_sql("SET LOCAL enable_sort = off")
                plan = "\n".join(row[0] for row in database.execute_sql(f"EXPLAIN {page[0]}", page[1]))
                assert "Sort" not in plan
            else:
                plan = "\n".join(row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {page[0]}", page[1]))
                assert "TEMP B-TREE" not in plan
        assert index in plan, plan
