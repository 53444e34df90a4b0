"""Importing many contacts: what is understood, what becomes of each row, and that nothing is lost."""

import csv
import gzip
import io
import json
import random
import sqlite3
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from helpers.caller import Caller, Response
from helpers.examples import ACCOUNT, OTHER_ACCOUNT, USER
from helpers.identifiers import assert_identifiers_are_shown
from helpers.keys import make_key
from helpers.messages import message

from contacts_service.db.database import database, reading
from contacts_service.db.migrations import upgrade
from contacts_service.transfer import scratch
from contacts_service.transfer.batch import Row
from contacts_service.transfer.use_cases import import_contacts

NUMBER = "+1234567890"


def send(caller: Caller, body: str | bytes | io.BytesIO, content_type: str = "text/csv", **query: Any) -> Response:
    headers = query.pop("headers", None)
    return caller.request(
        "POST", "/api/contacts/import", data=body, content_type=content_type, query_string=query, headers=headers
    )


def counts(
    caller: Caller, body: str | bytes | io.BytesIO, content_type: str = "text/csv", **query: Any
) -> dict[str, int]:
    """What became of the rows, without what is zero."""
    data = send(caller, body, content_type, **query).data
    outcomes = {name: count for name, count in data.items() if name != "rejected" and count}
    assert outcomes.get("rows", 0) == sum(outcomes.values()) - outcomes.get("rows", 0)
    return {name: count for name, count in outcomes.items() if name != "rows"}


def errors(
    caller: Caller, body: str | bytes, content_type: str = "text/csv", **query: Any
) -> dict[int, dict[str, Any]]:
    return {each["row"]: each["errors"] for each in send(caller, body, content_type, **query).data["rejected"]}


def by_number(caller: Caller, number: str = NUMBER) -> dict[str, Any]:
    [found] = caller.get("/api/contacts", phone_number=number).data["items"]
    return caller.get(f"/api/contacts/{found['id']}").data


def events(caller: Caller, number: str = NUMBER) -> list[tuple[str, list[str]]]:
    items = caller.get(f"/api/contacts/{by_number(caller, number)['id']}/events").data["items"]
    return [(each["kind"], each["fields"]) for each in items]


def test_every_field_of_a_row_is_stored(caller: Caller) -> None:
    fields = {
        "phone_number": NUMBER,
        "bsuid": "US.1",
        "parent_bsuid": "US.ENT.1",
        "external_id": "CRM-1",
        "username": "john.doe",
        "name": "John",
        "profile_name": "J",
        "avatar_url": "https://example.com/j.jpg",
        "account_id": ACCOUNT,
        "assigned_to": USER,
        "tags": ["vip", "new"],
        "marketing_opt_out": True,
        "marketing_opt_out_at": "2024-01-01T00:00:00Z",
        "metadata": {"plan": "gold", "deep": {"a": [1]}, "nothing": None},
    }
    assert counts(caller, json.dumps(fields), "application/x-ndjson") == {"created": 1}
    contact = by_number(caller)
    assert {name: contact[name] for name in fields} == fields
    assert contact["marketing_opt_out_source"] == "import"
    assert contact["version"] == 1
    [(kind, named)] = events(caller)
    assert kind == "created"
    assert {*fields} <= {*named}
    for query in ({"search": "john"}, {"tags": "vip"}, {"metadata.plan": "gold"}, {"external_id": "CRM-1"}):
        assert caller.get("/api/contacts", **query).data["total"] == 1, query
    assert_identifiers_are_shown(database.connection())


def test_cells_of_csv_are_fields(caller: Caller) -> None:
    header = "phone_number,tags,marketing_opt_out,metadata,metadata.plan,metadata.my key,id,updated_at,name"
    row = """ +12 345-678 90 ,"vip,new",TRUE,"{""plan"": ""silver"", ""n"": 1}",gold,x,nonsense,nonsense,'=1+1"""
    assert counts(caller, f"{header}\n{row}\n") == {"created": 1}
    contact = by_number(caller)
    assert contact["metadata"] == {"plan": "gold", "n": 1, "my key": "x"}
    assert (contact["tags"], contact["marketing_opt_out"], contact["name"]) == (["vip", "new"], True, "=1+1")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_files_of_any_spreadsheet_are_understood(
    caller: Caller, separator: str, encoding: str, line_break: str
) -> None:
    lines = [f"phone_number{separator}name", f'{NUMBER}{separator}"王芳, the\n; ""first"""', ""]
    assert counts(caller, line_break.join(lines).encode(encoding)) == {"created": 1}
    assert by_number(caller)["name"] == '王芳, the\n; "first"'


def test_line_that_names_the_separator_is_heeded(caller: Caller) -> None:
    assert counts(caller, f"sep=|\r\nname|phone_number\r\na;b,c|{NUMBER}\r\n") == {"created": 1}
    assert by_number(caller)["name"] == "a;b,c"


@pytest.mark.parametrize(
    ("row", "field", "told"),
    [
        ("12,,,,", "phone_number", "international"),
        ("1.23E+11,,,,", "phone_number", "spreadsheet made 1.23E+11 of it"),
        ('"1,23E+11",,,,', "phone_number", "spreadsheet made 1,23E+11 of it"),
        ("1.23E11,,,,", "phone_number", "spreadsheet made 1.23E11 of it"),
        ("15552023.0,,,,", "phone_number", "spreadsheet made 15552023.0 of it"),
        ("+15550001,15552023.0,,,", "external_id", "spreadsheet made 15552023.0 of it"),
        ("+15550001,1.5E-05,,,", "external_id", "spreadsheet"),
        ("+15550001,1E+5,,,", "external_id", "spreadsheet"),
        (",,,,", None, None),
        (",,Ann,,", "phone_number", "Send a"),
        (",CRM-1,Ann,,", "row", "phone_number or a bsuid"),
        (f"+15550001,,{'x' * 256},,", "name", "255"),
        ("+15550001,,a\0b,,", "name", "U+0000"),
        ("+15550001,,Ann,{,", "metadata", "JSON"),
        ("+15550001,,Ann,[],", "metadata", "object"),
        ('+15550001,,Ann,{"a":' + "[" * 100_000 + ",", "metadata", "JSON"),
        ("+15550001,,Ann,,perhaps", "marketing_opt_out", "boolean"),
        ("+15550001,,Ann", "row", "3 cells"),
        ("+15550001,,Ann,,,x", "row", "6 cells"),
        ('+15550001,,"Ann,,', "row", "quote"),
        ('+15550001,,"Ann"x,,', "row", "expected after"),
        ("+15550001,,D\xfc,,", "row", "UTF-8"),
    ],
)
def test_bad_row_is_told_and_stops_no_other(caller: Caller, row: str, field: str | None, told: str | None) -> None:
    quoted = row.replace('{"a":', '"{""a"":').replace("[,", '[",')
    body = f"phone_number,external_id,name,metadata,marketing_opt_out\n+15550100,,A,,\n{quoted}\n+15550102,,C,,\n"
    result = send(caller, body.encode("latin-1")).data
    assert result["created"] == 2
    assert [each["row"] for each in result["rejected"]] == ([2] if field else [])
    for each in result["rejected"]:
        assert [*each["errors"]] == [field]
        assert str(told) in each["errors"][field][0]
    assert caller.get("/api/contacts").data["total"] == 2


def test_quote_that_is_not_closed_hides_no_row(caller: Caller) -> None:
    rows = ['+15550100,"Ann', "+15550101,Bob", '+15550102,"Carl"', '+15550103,"Dan', "+15550104,Eve"]
    assert [*errors(caller, "phone_number,name\n" + "\n".join(rows))] == [1, 4]
    assert sorted(caller.names()) == ["Bob", "Carl", "Eve"]


def test_quotes_that_are_never_closed_are_read_again_only_so_often(caller: Caller) -> None:
    body = "phone_number,name\n" + 'x","\n' * 60_000
    result = send(caller, body).data
    assert result["failed"] == result["rows"]
    assert "lines behind it are not read" in json.dumps(result["rejected"])


def test_row_that_is_too_long_is_an_error(caller: Caller) -> None:
    body = f"phone_number,name\n{NUMBER},{'x' * 2_000_000}\n+15550100,Bob\n"
    assert errors(caller, body) == {1: {"row": ["Longer than 1,048,576 characters."]}}
    body = json.dumps({"phone_number": NUMBER, "name": "x" * 2_000_000}) + '\n{"phone_number": "+15550101"}'
    assert errors(caller, body, "application/x-ndjson") == {1: {"row": ["Longer than 1,048,576 characters."]}}
    assert caller.get("/api/contacts").data["total"] == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("", "header"),
        ("name\nAnn\n", "header"),
        ("phone_number,nmae\n", "nmae"),
        ("phone_number,phone_number\n", "phone_number"),
        ("phone_number,metadata.\0\n", "metadata.\0"),
        ("phone_number,\xfc\n", "�"),
        ('phone_number,"name\n', "header"),
        ("phone_number" + "x" * 2_000_000, "header"),
    ],
)
def test_header_that_is_not_understood_is_400_and_writes_nothing(caller: Caller, body: str, field: str) -> None:
    response = send(caller, body.encode("latin-1"))
    assert (response.status, response.code) == (400, "invalid_request")
    assert len(response.errors) == 1
    assert field in response.errors or field == "�"
    assert send(caller, "phone_number\n").data["rows"] == 0
    assert caller.get("/api/contacts").data["total"] == 0


def test_bad_lines_of_json_are_errors_of_their_rows(caller: Caller) -> None:
    lines = [
        f'{{"phone_number": "{NUMBER}", "name": null, "id": 1}}',
        '{"phone_number": "+15550101", "nmae": "A"}',
        "[]",
        "nonsense",
        '{"phone_number": 1}',
        "[" * 100_000,
        '{"phone_number": "+15550101", "metadata": {"a": NaN}}',
        '{"phone_number": "+15550101", "name": "\\ud800"}',
        "",
        '{"phone_number": "+15550102"}',
    ]
    told = errors(caller, "\n".join(lines), "application/x-ndjson")
    assert {row: [*each] for row, each in told.items()} == {
        2: ["nmae"],
        **{row: ["row"] for row in (3, 4, 6)},
        5: ["phone_number"],
        7: ["metadata"],
        8: ["name"],
    }
    assert caller.get("/api/contacts").data["total"] == 2


def test_rejected_rows_come_back_as_csv_and_can_be_mended(caller: Caller) -> None:
    body = '\ufeffphone_number;name;metadata.a\r\n12;"a;""b""";\'=x\r\n+15550100;Bob;\r\n13;;y\r\n'
    response = send(caller, body, headers={"Accept": "text/csv"})
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    header, *rows = response.text.split("\r\n")
    assert header == "\ufeffphone_number;name;metadata.a;error"
    assert rows[0].startswith('12;"a;""b""";\'=x;phone_number: ')
    assert rows[1].startswith("13;;y;phone_number: ")
    mended = response.text.replace("\n12;", "\n+15550112;").replace("\n13;", "\n+15550113;")
    assert counts(caller, mended) == {"created": 2}
    assert by_number(caller, "+15550112")["metadata"] == {"a": "=x"}


REJECTED = {"Accept": "text/csv"}


@pytest.mark.parametrize(
    ("body", "rejected"),
    [
        (b"sep=|\r\nphone_number|name\r\n1|A\r\n", b"sep=|\r\nphone_number|name|error\r\n1|A|phone_number"),
        (b"phone_number,name\n1,D\xfcrer\n", b"phone_number,name,error\r\n1,D\xfcrer,row"),
        (
            b"phone_number,name\n1,A,b,,c\n",
            b'phone_number,name,error\r\n1,A,"row: It has 5 cells, and the header has 2.",b',
        ),
        (b"phone_number,name\n1\n", b'phone_number,name,error\r\n1,,"row'),
        (b'phone_number,name\n1,"A\n', b'phone_number,name,error\r\n1,"""A",row'),
        (b'phone_number,name\n1,"A"b\n', b'phone_number,name,error\r\n1,"""A""b","row'),
        (b"error,phone_number,name\nold,1,A\n", b'phone_number,name,error\r\n1,A,"phone_number'),
    ],
)
def test_rejected_rows_hold_all_that_came(caller: Caller, body: bytes, rejected: bytes) -> None:
    response = send(caller, body, headers=REJECTED)
    assert response.text.encode(errors="surrogateescape").startswith(rejected)
    again = send(caller, response.text.encode(errors="surrogateescape"), headers=REJECTED)
    assert again.text.count("error") == 1, "the column for errors is there already"


def test_error_of_a_rejected_row_is_no_formula(caller: Caller) -> None:
    lines = '{"=cmd()": 1}\n{"\\ud800": 2}'
    rows = send(caller, lines, "application/x-ndjson", headers=REJECTED).text.splitlines()
    assert rows[0] == "line,error"
    assert next(csv.reader([rows[1]]))[1].startswith("'=cmd(): Unknown field.")
    assert len(rows) == 3


def test_only_the_first_thousand_rejected_rows_are_told(caller: Caller) -> None:
    result = send(caller, "phone_number\n" + "1\n" * 1234).data
    assert (result["failed"], len(result["rejected"])) == (1234, 1000)


def test_existing_contact_is_changed_only_by_what_the_row_holds(caller: Caller) -> None:
    caller.create(NUMBER, name="Ann", tags=["a"], metadata={"x": 1, "y": 2}, external_id="E", avatar_url="https://a.b")
    body = 'phone_number,name,tags,metadata.y,avatar_url\n001234567890,,"b,a",3,\n'
    assert counts(caller, body, dry_run="true") == {"updated": 1}
    assert by_number(caller)["version"] == 1
    assert counts(caller, body) == {"updated": 1}
    contact = by_number(caller)
    assert (contact["name"], contact["tags"], contact["avatar_url"]) == ("Ann", ["a", "b"], "https://a.b")
    assert contact["metadata"] == {"x": 1, "y": "3"}
    assert events(caller)[0] == ("updated", ["tags", "metadata"])
    assert counts(caller, body) == {"unchanged": 1}
    assert by_number(caller) == contact
    assert len(events(caller)) == 2


def test_on_match_says_what_becomes_of_existing_contacts(caller: Caller) -> None:
    existing = caller.create(NUMBER, name="Ann")["id"]
    body = f"phone_number,name\n{NUMBER},Bob\n+15550100,Carl\n"
    assert counts(caller, body, on_match="skip", dry_run="true") == {"created": 1, "skipped": 1}
    assert errors(caller, body, on_match="error") == {1: {"phone_number": [f"Belongs to the contact {existing}."]}}
    assert counts(caller, body, on_match="skip") == {"skipped": 2}
    assert sorted(caller.names()) == ["Ann", "Carl"]


def test_row_finds_its_contact_as_resolve_does(caller: Caller) -> None:
    caller.post("/api/contacts/resolve", {"phone_number": "+5511987654321", "bsuid": "BR.1"})
    resolved = caller.post("/api/contacts/resolve", {"previous_bsuid": "BR.1", "bsuid": "BR.2"}).data["id"]
    assert counts(caller, "bsuid,name\nBR.1,former\n") == {"updated": 1}
    assert counts(caller, "phone_number,external_id\n+551187654321,E-1\n") == {"updated": 1}
    assert counts(caller, "external_id,phone_number,name\nE-1,,by key\n") == {"updated": 1}
    contact = caller.get(f"/api/contacts/{resolved}").data
    assert (contact["phone_number"], contact["bsuid"]) == ("+5511987654321", "BR.2")
    assert (contact["external_id"], contact["name"]) == ("E-1", "by key")
    assert counts(caller, "external_id,phone_number,bsuid\nE-1,+15550100,BR.3\n") == {"updated": 1}
    contact = caller.get(f"/api/contacts/{resolved}").data
    assert (contact["phone_number"], contact["bsuid"]) == ("+15550100", "BR.3")
    with reading():
        assert_identifiers_are_shown(database.connection())


def test_identifiers_of_two_contacts_are_an_error_of_the_row(caller: Caller) -> None:
    first = caller.create("+15550100", external_id="A")["id"]
    second = caller.create("+15550101", bsuid="US.1")["id"]
    told = errors(caller, "phone_number,external_id,bsuid,name\n+15550101,A,,x\n+15550100,,US.1,x\n+15550100,B,,x\n")
    assert told[1] == {
        "external_id": [f"Belongs to the contact {first}."],
        "phone_number": [f"Belongs to the contact {second}."],
    }
    assert {*told[2]} == {"phone_number", "bsuid"}
    assert told[3] == {"external_id": [f"The contact {first} has another one, A."]}
    assert caller.names() == [None, None]


def test_rows_of_one_file_find_what_earlier_ones_made(caller: Caller) -> None:
    rows = ["+15550100,A,,first", ",A,US.1,second", "+15550101,,US.1,third", "+15550100,B,,another", "+15550101,,,last"]
    body = "phone_number,external_id,bsuid,name\n" + "\n".join(rows)
    expected = {"created": 2, "updated": 3}
    assert counts(caller, body, dry_run="true") == expected
    assert caller.get("/api/contacts").data["total"] == 0
    assert counts(caller, body) == expected
    first = by_number(caller, "+15550101")
    assert (first["external_id"], first["bsuid"], first["name"]) == ("A", "US.1", "last")
    assert by_number(caller, "+15550100")["name"] == "another"


def test_dry_run_counts_across_batches_as_an_import_does(caller: Caller) -> None:
    numbers = [f"+1555{number % 700:07}" for number in range(1300)]
    body = "phone_number,name,tags\n" + "".join(f"{n},{n if i % 7 else i},t{i % 3}\n" for i, n in enumerate(numbers))
    expected = counts(caller, body, dry_run="true")
    assert expected["created"] == 700
    assert caller.get("/api/contacts").data["total"] == 0
    assert counts(caller, body) == expected


def test_import_never_takes_back_an_opt_out(caller: Caller) -> None:
    contact = caller.create(NUMBER, marketing_opt_out=True)["id"]
    body = f"phone_number,marketing_opt_out,name\n{NUMBER},false,Ann\n"
    assert counts(caller, body) == {"updated": 1}
    assert caller.get(f"/api/contacts/{contact}").data["marketing_opt_out"] is True
    assert counts(caller, "phone_number,marketing_opt_out\n+15550100,false\n+15550101,true\n") == {"created": 2}
    assert by_number(caller, "+15550100")["marketing_opt_out_at"] is None
    assert by_number(caller, "+15550101")["marketing_opt_out_source"] == "import"


@pytest.mark.parametrize("dry_run", ["false", "true"])
def test_contacts_with_much_metadata_are_read_few_at_a_time(caller: Caller, dry_run: str) -> None:
    """Small rows may be about large contacts, those of a dry run too, which has made them itself."""
    numbers = [f"+1555{number:07}" for number in range(64)]
    metadata = json.dumps({"text": "x" * 1_000_000})
    large = [f'{{"phone_number": "{number}", "metadata": {metadata}}}\n' for number in numbers]
    small = [f'{{"phone_number": "{number}", "name": "Ann"}}\n' for number in numbers]
    if dry_run == "false":
        counts(caller, "".join(large), "application/x-ndjson")
        large = []
    sent = io.BytesIO("".join([*large, *small]).encode())
    tracemalloc.start()
    try:
        outcomes = counts(caller, sent, "application/x-ndjson", dry_run=dry_run)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcomes == ({"updated": 64} if dry_run == "false" else {"created": 64, "updated": 64})
    assert most < 40_000_000


def test_too_many_tags_are_an_error_of_the_row(caller: Caller) -> None:
    caller.create(NUMBER, tags=[f"a{number}" for number in range(40)])
    tags = ",".join(f"b{number}" for number in range(11))
    told = errors(caller, f'phone_number,tags\n{NUMBER},"{tags}"\n+15550100,"{tags}"\n')
    assert told == {1: {"tags": ["A contact has at most 50 tags."]}}


def test_rows_belong_to_the_account_that_they_or_the_query_name(app: Flask) -> None:
    caller = Caller(app)
    body = f"phone_number,account_id\n{NUMBER},\n{NUMBER},{OTHER_ACCOUNT}\n"
    assert counts(caller, body) == {"created": 2}
    assert counts(caller, body, account_id=ACCOUNT) == {"created": 1, "unchanged": 1}
    assert counts(caller, body, account_id="none") == {"unchanged": 2}
    limited = Caller(app, make_key(app, accounts=[ACCOUNT]))
    told = errors(limited, body)
    assert told == {row: {"account_id": ["Not one of the accounts that the key is limited to."]} for row in (1, 2)}
    assert [*errors(limited, body, account_id=ACCOUNT)] == [2]
    assert send(limited, body, account_id=OTHER_ACCOUNT).code == "account_forbidden"


def test_contacts_are_created_in_the_order_of_the_file(caller: Caller) -> None:
    names = [f"name {number * 7919 % 1201}" for number in range(1201)]
    body = "phone_number,name,account_id\n"
    body += "".join(f"+1555{number:07},{name},{ACCOUNT if number % 3 else ''}\n" for number, name in enumerate(names))
    assert counts(caller, body) == {"created": 1201}
    listed, cursor = [], None
    while cursor or not listed:
        page = caller.get("/api/contacts", sort="created", limit=100, **({"cursor": cursor} if cursor else {})).data
        listed += [contact["name"] for contact in page["items"]]
        cursor = page["next_cursor"]
    assert listed == names


def test_searches_have_little_to_read_through_after_an_import(caller: Caller) -> None:
    """PostgreSQL merges what was imported into the search index, of which searches read the rest row by row."""
    rows = "".join(f"+1555{number:07},Annabella Featherstonehaugh {number}\n" for number in range(1000))
    assert counts(caller, f"phone_number,name\n{rows}") == {"created": 1000}
    assert caller.get("/api/contacts", search="stoneha 77").data["total"] == 19
    if database.kind == "postgresql":
        with reading():
            [(pages,)] = database.execute_sql("SELECT gin_clean_pending_list('contact_search_grams')")
        assert pages <= 64 // 8


def test_body_of_another_type_is_415_and_accept_is_heeded(caller: Caller) -> None:
    assert send(caller, "{}", "application/json").code == "unsupported_media_type"
    assert send(caller, "phone_number\n", headers={"Accept": "text/html"}).code == "not_acceptable"
    packed = gzip.compress(f"phone_number\n{NUMBER}\n".encode())
    assert send(caller, packed, headers={"Content-Encoding": "gzip"}).code == "unsupported_media_type"
    assert send(caller, "phone_number\n", headers={"Accept": "text/*"}).text == "phone_number,error\r\n"


def test_body_beyond_the_limit_is_413(app: Flask, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "IMPORT_LIMIT", 1000)
    response = send(caller, "phone_number\n" + "+15550100\n" * 100)
    assert (response.status, response.body["message"]) == (413, "The body is larger than 1,000 bytes.")
    assert send(caller, "phone_number\n" + "+15550100\n" * 90).status == 200


def test_rejected_rows_without_a_folder_for_them_are_503(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a container whose file system is read-only."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    body = "phone_number,name\n" + f"bad,{'x' * 5000}\n" * 300
    refused = send(caller, body, headers={"Accept": "text/csv"})
    assert (refused.status, refused.code) == (503, "unavailable")
    assert refused.headers["Retry-After"]


def test_dry_run_without_room_for_its_file_is_503(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect_small(*given: Any, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.Connection(*given, **options)
        connection.execute("PRAGMA max_page_count = 20")
        return connection

    monkeypatch.setattr(scratch.sqlite3, "connect", connect_small)
    body = "phone_number,name\n" + "".join(f"+1555{number:07},{'x' * 200}\n" for number in range(1000))
    refused = send(caller, body, dry_run="true")
    assert (refused.status, refused.code) == (503, "unavailable")
    assert caller.get("/api/contacts").data["total"] == 0


def test_idempotency_key_is_ignored(caller: Caller) -> None:
    headers = {"Idempotency-Key": "x"}
    assert counts(caller, f"phone_number\n{NUMBER}\n", headers=headers) == {"created": 1}
    assert counts(caller, f"phone_number\n{NUMBER}\n", headers=headers) == {"unchanged": 1}


def test_imports_and_writers_at_once_lose_nothing(app: Flask) -> None:
    """Files that name the same contacts in different orders, while others write to them."""
    numbers = [f"+5511{900_000_000 + number}" for number in range(600)]
    problems: list[Any] = []
    app.extensions["stream_slots"] = threading.Semaphore(50)

    def run(work: Any) -> None:
        try:
            work(Caller(app))
        except Exception as error:  # noqa: BLE001 - It is told below.
            problems.append(error)

    def importing(tag: str, ordered: list[str]) -> Any:
        return lambda caller: counts(caller, "phone_number,tags\n" + "".join(f"{n},{tag}\n" for n in ordered))

    def writing(caller: Caller) -> None:
        for number in numbers[::25]:
            contact = caller.post("/api/contacts/resolve", {"phone_number": number, "profile_name": "P"}).data["id"]
            caller.request("PUT", f"/api/contacts/{contact}/tags/written")

    works = [
        importing("a", numbers),
        importing("b", numbers[::-1]),
        importing("c", numbers[300:] + numbers[:300]),
        writing,
    ]
    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    caller = Caller(app)
    assert caller.get("/api/contacts").data["total"] == 600
    for tag in "abc":
        assert caller.get("/api/contacts", tags=tag).data["total"] == 600, tag
    assert caller.get("/api/contacts", tags="written").data["total"] == 24
    with reading():
        assert_identifiers_are_shown(database.connection())


def test_next_rows_are_read_while_postgresql_works(kind: str, empty_database: str) -> None:
    upgrade()
    is_read = threading.Event()
    outcomes: dict[str, int] = {}

    def rows() -> Iterator[Row]:
        for number in range(3000):
            if number == 1200:
                is_read.set()
            yield Row(number, [], {"phone_number": f"+1555{number:07}"}, {})

    importing = threading.Thread(
        target=lambda: outcomes.update(import_contacts(rows(), lambda *_: None, allowed_accounts=None))
    )
    with ExitStack() as blocked:
        if kind == "postgresql":
            # The last of what a batch writes, as contacts are found before.
            blocked.enter_context(psycopg.connect(empty_database)).execute("LOCK TABLE contact_event")
        importing.start()
        assert is_read.wait(30)
    importing.join()
    assert outcomes["created"] == 3000


def test_import_gets_through_while_people_who_are_in_the_file_write(app: Flask) -> None:
    """Whoever is recorded between two queries of a batch is a key that the batch can't insert."""
    numbers = [f"+1555{number:07}" for number in range(2000)]
    recorded: list[Any] = []
    imported = threading.Event()

    def record_messages() -> None:
        caller = Caller(app)
        for number in random.Random(1).sample(numbers, len(numbers)):
            if not imported.is_set():
                recorded.append(
                    caller.post("/api/messages", {**message(len(recorded)), "contact": {"phone_number": number}})
                )

    webhook = threading.Thread(target=record_messages)
    webhook.start()
    try:
        outcomes = counts(Caller(app), "phone_number\n" + "\n".join(numbers))
    finally:
        imported.set()
        webhook.join()
    assert sum(outcomes.values()) == outcomes.get("created", 0) + outcomes.get("unchanged", 0) == len(numbers)
    assert {each.status for each in recorded} == {201}
    assert Caller(app).get("/api/contacts").data["total"] == len(numbers)
    with reading():
        assert_identifiers_are_shown(database.connection())
