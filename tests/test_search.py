"""Search: the same rules on both databases, for every script."""

import pytest
from caller import Caller
from flask import Flask
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from playhouse.test_utils import count_queries

from contacts_service.models import contact_list
from contacts_service.models.database import database
from contacts_service.services.search_text import normalise

PEOPLE = {
    "+1234567890": ("José García", None),
    "+1234567001": ("John Smith", "smithy"),
    "+4915112345678": ("Straße GmbH", None),
    "+905321234567": ("İbrahim Işık", None),
    "+8613800138000": ("王芳", None),
    "+966501234567": ("مُحَمَّد علي", None),
    "+5511987654321": ("Party 🎉 100%", None),
    "+353861234567": ("Conan O'Brien", 'The "Coco" show'),
    "+447700900123": ("under_score * star", "a-b"),
    "+48601234567": ("Łukasz Wójcik", None),
    "+81312345678": ("がぎ カタカナ", None),
    "+919812345678": ("राम", "रामू"),
    "+66812345678": ("ดี", "ดู"),
    "+84912345678": ("Nguyễn Thị Ánh", None),
    "+15550100": (None, None),
}

RULES = [
    # What is typed, and the phone numbers whose contacts it finds.
    ("josé", ["+1234567890"]),
    ("JOSE", ["+1234567890"]),
    ("jose\u0301", ["+1234567890"]),
    ("garcia jose", ["+1234567890"]),
    ("smith john", ["+1234567001"]),
    ("john smithy", ["+1234567001"]),
    ("mith ohn", ["+1234567001"]),
    ("john jose", []),
    ("  john\t smith \n", ["+1234567001"]),
    ("smith +1234", ["+1234567001"]),
    ("+1 (234) 567", [number for number in PEOPLE if "1234567" in number]),
    ("1234567", [number for number in PEOPLE if "1234567" in number]),
    ("+1 234 5670", ["+1234567001"]),
    ("234-567-890", ["+1234567890"]),
    ("+1\u2011234\u2013567\u2014890", ["+1234567890"]),
    ("garcia (234) 567", ["+1234567890"]),
    ("(234) 567 garcia", ["+1234567890"]),
    ("00", ["+5511987654321", *(number for number in PEOPLE if "00" in number)]),
    ("234.567.8.90", ["+1234567890"]),
    ("001 234 567 890", ["+1234567890"]),
    ("８６１３８", ["+8613800138000"]),
    ("%", ["+5511987654321"]),
    ("100%", ["+5511987654321"]),
    ("_", ["+447700900123"]),
    ("under_s", ["+447700900123"]),
    ("underXs", []),
    ("*", ["+447700900123"]),
    ("sco*", []),
    ("'", ["+353861234567"]),
    ("o'brien", ["+353861234567"]),
    ('"', ["+353861234567"]),
    ('"coco"', ["+353861234567"]),
    ('"coco', ["+353861234567"]),
    ("-", ["+447700900123"]),
    ("a-b", ["+447700900123"]),
    ("\\", []),
    ("NOT", []),
    ("john OR jose", []),
    ("smith AND john", []),
    ("search_text:john", []),
    ("^john", []),
    ("王芳", ["+8613800138000"]),
    ("王", ["+8613800138000"]),
    ("芳王", []),
    ("ß", ["+4915112345678"]),
    ("STRASSE", ["+4915112345678"]),
    ("İ", ["+1234567890", "+1234567001", "+905321234567", "+353861234567", "+48601234567", "+84912345678"]),
    ("İBRAHİM", ["+905321234567"]),
    ("ibrahim isik", ["+905321234567"]),
    ("IŞIK", ["+905321234567"]),
    ("محمد", ["+966501234567"]),
    ("مُحَمَّد", ["+966501234567"]),
    ("علي", ["+966501234567"]),
    ("🎉", ["+5511987654321"]),
    ("party 🎉", ["+5511987654321"]),
    ("lukasz wojcik", ["+48601234567"]),
    ("Łuk", ["+48601234567"]),
    ("が", ["+81312345678"]),
    ("か", []),
    ("ｶﾀｶﾅ", ["+81312345678"]),
    ("रामू", ["+919812345678"]),
    ("ดู", ["+66812345678"]),
    ("nguyen thi anh", ["+84912345678"]),
    ("NGUYỄN", ["+84912345678"]),
    ("jo", ["+1234567890", "+1234567001"]),
    ("jo sm", ["+1234567001"]),
    ("j s john", ["+1234567001"]),
    ("x" * 1000, []),
    ("a " * 500, None),
    (" ".join(chr(0x4E00 + n) for n in range(500)), []),
    (" ".join(f"{n:03}" for n in range(250)), []),
    ("", list(PEOPLE)),
    ("   ", list(PEOPLE)),
    ("\u200d", list(PEOPLE)),
]  # fmt: skip


@pytest.fixture
def people(caller: Caller) -> Caller:
    for phone_number, (name, profile_name) in PEOPLE.items():
        caller.create(phone_number, name=name, profile_name=profile_name)
    return caller


def test_the_rules_of_search(people: Caller) -> None:
    for query, expected in RULES:
        answer = people.get("/api/contacts", search=query, limit=100).data
        found = [contact["phone_number"] for contact in answer["items"]]
        if expected is None:
            assert found, query
        else:
            assert sorted(found) == sorted(expected), query
        assert answer["total"] == len(found), query


def test_search_follows_every_change_of_what_it_looks_into(caller: Caller) -> None:
    contact = caller.create("+1234567890", name="Before")
    path = f"/api/contacts/{contact['id']}"
    caller.put(path, {"name": "After"})
    assert caller.names(search="before") == []
    assert caller.names(search="after 1234567890") == ["After"]
    caller.put(path, {"profile_name": "Profile"})
    assert caller.names(search="after profile") == ["After"]
    caller.put(path, {"metadata": {"note": "secret"}})
    assert caller.names(search="secret") == []
    assert caller.names(search="after profile") == ["After"]
    caller.delete(path)
    assert caller.names(search="after") == []


def test_a_term_never_matches_across_two_fields(caller: Caller) -> None:
    caller.create("+1234567890", name="ab", profile_name="cd")
    assert caller.names(search="abcd") == []
    assert caller.names(search="cd+1") == []


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12)


@given(words)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30))
def test_any_part_of_a_name_finds_it(caller: Caller, data: st.DataObject, name: str) -> None:
    comparable = normalise(name)
    start = data.draw(st.integers(0, len(comparable)))
    part = comparable[start : data.draw(st.integers(start, len(comparable)))]
    assume(normalise(part) == part)  # It doesn't begin with half a letter.
    contact = caller.create(name=name)
    try:
        assert caller.names(search=part) == [name]
        assert caller.names(search=name) == [name]
    finally:
        caller.delete(f"/api/contacts/{contact['id']}")


def test_search_reads_an_index_and_not_the_table(app: Flask, caller: Caller, kind: str) -> None:
    for number in range(30):
        caller.create(f"+12345678{number}", name="John Smith")
    with count_queries() as queries:
        app.test_client().get("/api/contacts?search=smith+john")
    for record in queries.get_queries():
        sql, parameters = record.msg
        with database.connection_context(), database.atomic():
            if kind == "postgresql":
                database.execute_sql("SET LOCAL enable_seqscan = off")  # A table this small isn't worth an index.
                database.execute_sql("SET LOCAL enable_indexscan = off")  # Nor is walking the list's order.
                plan = "\n".join(row[0] for row in database.execute_sql(f"EXPLAIN {sql}", parameters))
                assert "Bitmap Index Scan on contact_search_text" in plan, plan
            else:
                plan = "\n".join(row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters))
                assert "SCAN contact_search VIRTUAL TABLE INDEX 0:M1" in plan, plan


@pytest.mark.parametrize("sort", ["recent", "created"])
def test_walking_the_order_finds_what_sorting_the_matches_finds(
    caller: Caller, kind: str, sort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broad search on SQLite walks; page by page and by cursor, with words in any order and written numbers."""
    for number in range(60):
        caller.create(f"+123456789{number:02}", name="Ann Smith" if number % 3 else "Ben Jones")

    def pages(search: str) -> list[list[str]]:
        found, cursor = [], None
        for page in (1, 2, 3):
            listed = caller.get("/api/contacts", search=search, limit=7, page=page, sort=sort).data
            found.append([listed["total"], *[item["id"] for item in listed["items"]]])
        while cursor is not None or len(found) == 3:
            listed = caller.get(
                "/api/contacts", search=search, limit=7, sort=sort, **({"cursor": cursor} if cursor else {})
            ).data
            found.append([item["id"] for item in listed["items"]])
            cursor = listed["next_cursor"]
            if cursor is None:
                return found
        return found

    searches = ("smith ann", "jones", "+1 (234) 567-89", "nobody")
    sorted_ = [pages(search) for search in searches]
    monkeypatch.setattr(contact_list, "_SORTED_AT_ONCE", 0)
    with count_queries() as queries:
        assert [pages(search) for search in searches] == sorted_
    walked = [record.msg[0] for record in queries.get_queries() if "INSTR" in record.msg[0]]
    assert bool(walked) == (kind == "sqlite"), "PostgreSQL's planner decides by itself"
