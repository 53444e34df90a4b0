"""Exporting contacts, and that what was exported can be imported and exported the same."""

import csv
import io
import json
import threading
from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller, Response
from helpers.examples import ACCOUNT, OTHER_ACCOUNT, USER
from helpers.keys import make_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contacts_service.contacts.tables import Contact
from contacts_service.contacts.use_cases import create_contact, update_contact
from contacts_service.db.database import reading
from contacts_service.transfer import export_queries, use_cases
from contacts_service.transfer.cells import protect, unprotect
from contacts_service.transfer.reading import CsvFile, NdjsonFile
from contacts_service.transfer.writing import as_csv, as_ndjson
from schemas import exact_json

# What only the service writes.
OWN = {"id", "created_at", "updated_at", "version", "marketing_opt_out_source"}
NAMES = ["Ann", "José", "Ελένη", "Иван", "علي", "שרה", "अनिता", "ศรี", "王芳", "さくら", "지훈", "👩‍👩‍👧 🏳️‍🌈"]
RISKY = ["=1+1", "+49 151", "-x", "@x", "\tx", "\nx", "\rx", "'", "''", "'=1", "'t Hooft", "+1234567890"]
TEXT = st.one_of(
    st.sampled_from(
        [*NAMES, *RISKY, "a\r\nb", "a\rb", "a\nb", 'say "hi"', " spaced ", "null", "true", "1.5", "\ufeffx"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
CONTACT = st.fixed_dictionaries(
    {},
    optional={
        "name": TEXT,
        "profile_name": TEXT,
        "username": TEXT,
        "external_id": TEXT.filter(lambda text: "E+" not in text.upper()),
        "avatar_url": st.sampled_from(["https://example.com/a,b.jpg", 'http://x/"']),
        "account_id": st.sampled_from([ACCOUNT, OTHER_ACCOUNT]),
        "assigned_to": st.just(USER),
        "tags": st.lists(TEXT.filter(lambda text: "," not in text), max_size=4, unique=True),
        "marketing_opt_out": st.booleans(),
        "metadata": st.dictionaries(TEXT, JSON, max_size=3),
    },
)


def export(caller: Caller, **query: Any) -> Response:
    return caller.get("/api/contacts/export", **query)


def lines(caller: Caller, **query: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export(caller, format="ndjson", **query).text.split("\n")[:-1]]


def rows(text: str) -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(text, newline=""), strict=True)]


def without_own(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in OWN} for row in rows]


def test_export_holds_every_contact_whole_in_the_order_of_creation(caller: Caller) -> None:
    ids = [
        caller.create(f"+1555010{number}", name=name, metadata={"n": number}, tags=["a", "b"])["id"]
        for number, name in enumerate(NAMES[:9])
    ]
    found = lines(caller)
    assert found == [caller.get(f"/api/contacts/{each}").data for each in ids]
    cells = rows(export(caller).text)
    assert [row["id"] for row in cells] == ids
    for row, contact in zip(cells, found, strict=True):
        assert [*row] == [*contact]
        assert (row["name"], row["tags"], json.loads(row["metadata"])) == (contact["name"], "a,b", contact["metadata"])
        assert (row["marketing_opt_out"], row["created_at"]) == ("false", contact["created_at"])


def test_formats_have_their_types_and_names(caller: Caller) -> None:
    for query, mimetype in (({}, "text/csv"), ({"format": "ndjson"}, "application/x-ndjson")):
        response = export(caller, **query)
        assert response.headers["Content-Type"] == f"{mimetype}; charset=utf-8"
        assert response.headers["Content-Disposition"].startswith("attachment; filename=contacts.")
    assert export(caller, format="xlsx").code == "invalid_request"
    assert export(caller, limit=1).code == "invalid_request"
    head = caller.client.head("/api/contacts/export")
    assert (head.status_code, head.data) == (200, b"")


@pytest.mark.parametrize(
    ("accept", "query", "answer"),
    [
        ("application/x-ndjson", {}, "application/x-ndjson"),
        ("application/x-ndjson, text/csv;q=0.5", {}, "application/x-ndjson"),
        ("text/csv, application/x-ndjson, application/json", {}, "text/csv"),
        ("text/*", {}, "text/csv"),
        ("*/*", {"format": "ndjson"}, "application/x-ndjson"),
        ("text/csv", {"format": "ndjson"}, None),
        ("application/json", {}, None),
    ],
)
def test_accept_chooses_the_format_or_is_406(
    caller: Caller, accept: str, query: dict[str, str], answer: str | None
) -> None:
    response = caller.request("GET", "/api/contacts/export", query_string=query, headers={"Accept": accept})
    if answer:
        assert response.headers["Content-Type"] == f"{answer}; charset=utf-8"
    else:
        assert (response.status, response.code) == (406, "not_acceptable")


@pytest.mark.parametrize("at_once", [1, 1000])
def test_every_filter_chooses_what_the_list_shows(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Also where many match, so that ranges of keys are compared, and pages are small."""
    monkeypatch.setattr(export_queries, "_MAX_LOOKED_UP", 0 if at_once == 1 else 1000)
    monkeypatch.setattr(export_queries, "PAGE", at_once)
    monkeypatch.setattr(export_queries, "_RANGE", at_once + 1)
    made = [
        caller.create(
            f"+1555010{number}",
            name=f"{'Ann' if number % 2 else 'Bob'} {number}",
            tags=["odd" if number % 2 else "even", "all"],
            marketing_opt_out=number > 3,
            metadata={"n": number % 3},
            account_id=ACCOUNT if number % 2 else None,
        )
        for number in range(7)
    ]
    caller.put(f"/api/contacts/{made[2]['id']}/assign", {"user_id": USER})
    for query in (
        {},
        {"search": "ann"},
        {"tags": "odd"},
        {"tags": "odd,even", "search": "bob"},
        {"marketing_opt_out": "false"},
        {"marketing_opt_out": "true", "metadata.n": "1"},
        {"account_id": ACCOUNT},
        {"account_id": "none", "tags": "all"},
        {"assigned_to": USER},
        {"phone_number": "+15550103"},
        {"ids": f"{made[1]['id']},{made[5]['id']}"},
        {"created_after": made[3]["created_at"]},
        {"last_inbound_before": "2030-01-01T00:00:00Z"},
        {"unread": "true"},
    ):
        listed = caller.get("/api/contacts", sort="created", limit=100, **query).data["items"]
        assert [row["id"] for row in lines(caller, **query)] == [contact["id"] for contact in listed], query


def test_export_holds_only_the_accounts_of_the_key(app: Flask) -> None:
    caller = Caller(app)
    for number, account in enumerate([ACCOUNT, OTHER_ACCOUNT, None]):
        caller.create(f"+1555010{number}", account_id=account)
    limited = Caller(app, make_key(app, accounts=[ACCOUNT]))
    assert [row["account_id"] for row in lines(limited)] == [ACCOUNT]


def test_page_ends_by_its_bytes(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_queries, "PAGE_BYTES", 1000)
    for number in range(5):
        caller.create(f"+1555010{number}", metadata={"x": "é" * 300})
    with reading():
        total, pages = use_cases.export_contacts(None)
    assert (total, [len(page) for page in pages]) == (5, [2, 2, 1])


@pytest.mark.parametrize("text", RISKY)
def test_no_cell_is_a_formula(text: str) -> None:
    assert unprotect(protect(text)) == text
    assert protect(text)[0] not in "=@\t\r\n"
    assert protect(text)[0] not in "+-" or text == "+1234567890"


@pytest.mark.parametrize("file_format", ["csv", "ndjson"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contacts=st.lists(CONTACT, min_size=1, max_size=6))
def test_what_was_exported_is_imported_and_exported_the_same(
    app: Flask, file_format: str, contacts: list[dict[str, Any]]
) -> None:
    assert app
    write, file_type = (as_csv, CsvFile) if file_format == "csv" else (as_ndjson, NdjsonFile)

    def exported() -> bytes:
        return b"".join(write(use_cases.export_contacts(None)[1]))

    def comparable(text: bytes) -> list[dict[str, Any]]:
        if file_format == "csv":
            return without_own(rows(text.decode()))
        return without_own([json.loads(line) for line in text.decode().split("\n")[:-1]])

    with reading():
        Contact.delete().execute()
    taken = set()
    for number, drawn in enumerate(contacts):
        key = drawn.get("external_id"), drawn.get("account_id")
        fields = {name: value for name, value in drawn.items() if name != "external_id" or key not in taken}
        fields["metadata"] = exact_json.loads(json.dumps(fields.get("metadata", {})))  # As a request is read.
        taken.add(key)
        assigned = fields.pop("assigned_to", None)
        contact = create_contact(allowed_accounts=None, phone_number=f"+1555010{number}", **fields)
        if assigned:
            update_contact(contact["id"], {"assigned_to": assigned}, allowed_accounts=None)
    first = exported()
    rejected: list[Any] = []

    def reject(*row: Any) -> None:
        rejected.append(row)

    again = use_cases.import_contacts(
        file_type(io.BytesIO(first)), lambda *each: rejected.append(each), allowed_accounts=None
    )
    assert (again["unchanged"], rejected) == (len(contacts), []), "an import of what is there changes nothing"
    with reading():
        Contact.delete().execute()
    use_cases.import_contacts(file_type(io.BytesIO(first)), reject, allowed_accounts=None)
    assert not rejected
    second = exported()
    assert comparable(second) == comparable(first)
    if file_format == "csv":
        assert second.count(b"\r\n") == first.count(b"\r\n")


def test_fault_in_the_middle_is_no_whole_answer(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_queries, "PAGE", 1)
    for number in range(3):
        caller.create(f"+1555010{number}")
    response = caller.client.get("/api/contacts/export")
    chunks = iter(response.response)
    assert next(chunks).startswith(b"id,")
    assert b"+15550100" in next(chunks)
    monkeypatch.setattr(export_queries, "_list", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(chunks)
    response.close()


def test_slots_are_given_back(app: Flask, caller: Caller) -> None:
    app.extensions["stream_slots"] = threading.Semaphore(1)
    held = caller.client.get("/api/contacts/export")
    refused = export(caller)
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "too_many_streams", "10")
    assert caller.request("POST", "/api/contacts/import", data="", content_type="text/csv").code == "too_many_streams"
    held.close()
    for _ in range(3):
        assert export(caller).status == 200
        caller.client.head("/api/contacts/export").close()
        assert caller.request("POST", "/api/contacts/import", data="", content_type="text/csv").status == 400
