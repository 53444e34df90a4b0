"""Search: the same rules on both databases, for every script."""

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.examples import ACCOUNT, OTHER_ACCOUNT, USER
from helpers.keys import make_key
from helpers.queries import count_queries
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from contacts_service.contacts import list_planning
from contacts_service.contacts.search_text import normalise, searchable
from contacts_service.db.database import database, reading
from schemas.constants import MAX_SEARCH_WORDS

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
    "+81355550101": ("葛\U000e0100城 \u2764\ufe0f", None),
    "+201001234567": ("فرع ٤٢", None),
}

RULES = [
    # The search text, and the phone numbers of the contacts that it finds.
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
    ("party 0055 11 98765-4321", ["+5511987654321"]),
    ("party, +55 11 98765-4321", ["+5511987654321"]),
    ("+55 11 98765 4321; party", ["+5511987654321"]),
    ("Smith, John", []),
    ("+55 11 / 98765 4321", ["+5511987654321"]),
    ("+49 151/123456-78", ["+4915112345678"]),
    ("/", []),
    ("234\u2212567\u2011890", ["+1234567890"]),
    ("+٥٥ ١١ ٩٨٧٦٥ ٤٣٢١", ["+5511987654321"]),
    ("۵۵۱۱", ["+5511987654321"]),
    ("فرع 42", ["+201001234567"]),
    ("فرع ٤٢", ["+201001234567"]),
    ("葛城", ["+81355550101"]),
    ("葛\U000e0101城", ["+81355550101"]),
    ("\u2764", ["+81355550101"]),
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
    (" ".join(chr(0x4E00 + n) for n in range(12)), []),
    (" ".join(f"{n:03}" for n in range(12)), []),
    ("", list(PEOPLE)),
    ("   ", list(PEOPLE)),
    ("\u200d", list(PEOPLE)),
]  # fmt: skip


@pytest.fixture
def people(caller: Caller) -> Caller:
    for phone_number, (name, profile_name) in PEOPLE.items():
        caller.create(phone_number, name=name, profile_name=profile_name)
    return caller


def test_search_rules(people: Caller) -> None:
    for query, expected in RULES:
        response = people.get("/api/contacts", search=query, limit=100).data
        found = [contact["phone_number"] for contact in response["items"]]
        if expected is None:
            assert found, query
        else:
            assert sorted(found) == sorted(expected), query
        assert response["total"] == len(found), query


def test_search_of_more_words_than_a_person_types_is_400(caller: Caller) -> None:
    words = ["anna", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]
    caller.create(name=" ".join(words))
    assert caller.get("/api/contacts", search=" ".join([*words, "Anna"])).data["total"] == 1, "each counts once"
    for search in (" ".join([*words, "m"]), " ".join([*words, "1", "2"]), "\ufdfa " * 3 + " ".join(words)):
        assert caller.get("/api/contacts", search=search).errors == {"search": ["More than 12 words."]}


def test_search_follows_every_change_of_a_contact(caller: Caller) -> None:
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


def test_username_is_searched(caller: Caller) -> None:
    contact = caller.create("+1234567890", name="John Doe", username="The.Doctor")
    assert caller.names(search="doctor john") == ["John Doe"]
    caller.put(f"/api/contacts/{contact['id']}", {"username": None})
    assert caller.names(search="doctor") == []


def test_term_never_matches_across_two_fields(caller: Caller) -> None:
    caller.create("+1234567890", name="ab", profile_name="cd")
    assert caller.names(search="abcd") == []
    assert caller.names(search="cd+1") == []


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12)


@settings(deadline=None)
@given(words)
def test_normalising_is_idempotent(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30))
def test_any_part_of_a_name_finds_its_contact(caller: Caller, data: st.DataObject, name: str) -> None:
    comparable = normalise(name)
    assume(len(set(comparable.split())) <= MAX_SEARCH_WORDS)
    start = data.draw(st.integers(0, len(comparable)))
    part = comparable[start : data.draw(st.integers(start, len(comparable)))]
    assume(normalise(part) == part)  # It doesn't start within a composed letter.
    contact = caller.create(name=name)
    try:
        assert caller.names(search=part) == [name]
        assert caller.names(search=name) == [name]
    finally:
        caller.delete(f"/api/contacts/{contact['id']}")


LETTERS = st.text("ab c\n\x01\x1c\t\u00a0\u2028'\\\"*é", max_size=40)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(LETTERS, min_size=1, max_size=4), words=st.lists(LETTERS, max_size=12), data=st.data())
def test_search_finds_exactly_the_contacts_with_every_word(
    caller: Caller, names: list[str], words: list[str], data: st.DataObject
) -> None:
    """Words of any length, alone and together, however the database's index splits them."""
    part = data.draw(st.sampled_from(names))
    words.append(part[data.draw(st.integers(0, len(part))) :])
    terms = normalise(" ".join(words)).split()
    assume(len(set(terms)) <= MAX_SEARCH_WORDS)
    ids = {}
    for number, name in enumerate(names):
        contact = caller.create(f"+99988877{number}", name=name)
        ids[contact["id"]] = searchable(name=name, profile_name=None, phone_number=None)
    try:
        expected = {contact_id for contact_id, text in ids.items() if all(term in text for term in terms)}
        found = caller.get("/api/contacts", search=" ".join(words), ids=",".join(ids)).data
        assert {item["id"] for item in found["items"]} == expected
        assert found["total"] == len(expected)
        assert caller.get("/api/contacts", search=" ".join(words)).data["total"] == len(expected), "unfiltered"
    finally:
        for contact_id in ids:
            caller.delete(f"/api/contacts/{contact_id}")


def test_name_that_grows_by_normalising_is_found_by_its_beginning(caller: Caller) -> None:
    """U+FDFA normalises to eighteen characters, so that 255 of it would be 4,590 in the index."""
    contact = caller.create(name="\ufdfa" * 255, profile_name="\ufdfa" * 255)
    assert caller.get("/api/contacts", search="\ufdfa" * 10).data["total"] == 1
    caller.put(f"/api/contacts/{contact['id']}", {"name": "Ann"})
    assert caller.names(search="ann \ufdfa") == ["Ann"]
    assert len(searchable(name="\ufdfa" * 255, profile_name=None, phone_number=None)) == 1003


@pytest.mark.parametrize("search", ["smith john", "smi", "sm", "+", "a name that is longer than a gram"])
def test_search_reads_an_index_and_not_the_table(app: Flask, caller: Caller, kind: str, search: str) -> None:
    for number in range(30):
        caller.create(f"+12345678{number}", name="John Smith")
    with count_queries() as queries:
        app.test_client().get("/api/contacts", query_string={"search": search})
    assert queries.count <= 2
    for record in queries.get_queries():
        sql, parameters = record.msg
        with reading(), database.atomic():
            if kind == "postgresql":
                # Of a few rows PostgreSQL may prefer a scan. Analysed here, or the plan would depend on autovacuum.
                database.execute_sql("ANALYZE contact, contact_search")
                database.execute_sql("SET LOCAL enable_seqscan = off")
                plan = "\n".join(row[0] for row in database.execute_sql(f"EXPLAIN {sql}", parameters))
                assert "Bitmap Index Scan on contact_search_grams" in plan, plan
                assert "contact_recent" not in plan, plan
            else:
                plan = "\n".join(row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters))
                assert "SCAN contact_search VIRTUAL TABLE INDEX 0:M1" in plan, plan


def test_limited_key_finds_and_counts_matches_of_its_accounts_only(app: Flask) -> None:
    caller = Caller(app, make_key(app))
    for account in (ACCOUNT, OTHER_ACCOUNT, None):
        caller.create("+99988877", name="Ann Smith", account_id=account)
        caller.create("+99988878", name="Ben Jones", account_id=account)
    of_one = Caller(app, make_key(app, accounts=[ACCOUNT]))
    of_both = Caller(app, make_key(app, accounts=[ACCOUNT, OTHER_ACCOUNT]))
    expected = {
        "smith": 1,
        "smi ann": 1,
        "s": 2,
        "an": 1,
        ACCOUNT: 0,
        f"\u00a0{ACCOUNT}": 0,
        "none": 0,
        "\u00a0none": 0,
    }
    for search, each in expected.items():
        for limited, accounts in ((of_one, 1), (of_both, 2), (caller, 3)):
            found = limited.get("/api/contacts", search=search).data
            assert found["total"] == len(found["items"]) == each * accounts, search
        assert caller.get("/api/contacts", search=search, account_id="none").data["total"] == each
        assert caller.get("/api/contacts", search=search, account_id=ACCOUNT).data["total"] == each


def test_search_with_another_filter_finds_their_intersection(caller: Caller) -> None:
    ids = [caller.create(f"+12345678{number:02}", name="Ann" if number < 20 else "Ben")["id"] for number in range(30)]
    for contact in ids[17:23]:
        caller.put(f"/api/contacts/{contact}/assign", {"user_id": USER})
    for search, expected in (("ann", ids[17:20]), ("ben", ids[20:23]), ("ann 1234567819", [ids[19]]), ("carl", [])):
        found = caller.get("/api/contacts", search=search, assigned_to=USER, sort="created").data
        assert ([item["id"] for item in found["items"]], found["total"]) == (expected, len(expected))
    assert caller.get("/api/contacts", search="ann", assigned_to="none").data["total"] == 17
    assert caller.names(search="ann", ids=",".join(ids[18:22])) == ["Ann", "Ann"]
    assert caller.names(search="ann", phone_number="+1234567820") == []
    assert caller.names(search="ben", phone_number="+1234567820") == ["Ben"]


@pytest.mark.parametrize("sort", ["recent", "created"])
def test_walking_the_order_gives_the_same_pages_as_sorting(
    caller: Caller, sort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By page and by cursor, with words in any order, formatted numbers, and matches at the end of the list."""
    for number in range(60):
        name = "Carl Carlson" if 10 <= number < 50 else "Ann Smith" if number % 3 else "Ben Jones"
        caller.create(f"+123456789{number:02}", name=name)

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

    searches = ("smith ann", "jones", "carl", "+1 (234) 567-89", "unknown")
    sorted_ = [pages(search) for search in searches]
    monkeypatch.setattr(list_planning, "_MIN_DENSE_MATCHES", 0)
    monkeypatch.setattr(list_planning, "_WALK_FACTOR", 1)
    with count_queries() as queries:
        assert [pages(search) for search in searches] == sorted_
    assert any('"near"' in record.msg[0] for record in queries.get_queries())
