"""Invalid requests: each is a clear error that names the field, and nothing is written."""

import json

import pytest
from helpers.caller import Caller, in_path
from helpers.examples import ACCOUNT, UNKNOWN_ID

NUMBER = "+1234567890"


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("", "body"),
        ("{", "body"),
        ("not json", "body"),
        ("[]", "body"),
        ('"text"', "body"),
        ("null", "body"),
        (b'{"phone_number": "\xff"}', "body"),
        ('{"phone_number": NaN}', "body"),
        ("[" * 100_000, "body"),
        ("{}", "phone_number"),
        ('{"phone_number": "+1234567890", "metadata": {"a": NaN}}', "body"),
        ('{"phone_number": "+1234567890", "metadata": {"a": -Infinity}}', "body"),
        ('{"phone_number": "+1234567890", "metadata": {"a": 1e400}}', "body"),
        ('{"phone_number": "+1234567890", "metadata": {"a": ' + "9" * 5000 + "}}", "body"),
        ('{"phone_number": "+1234567890", "name": "\\u0000"}', "name"),
        ('{"phone_number": "+1234567890", "name": "\\ud800"}', "name"),
        ('{"phone_number": "+1234567890", "metadata": {"a": ["\\u0000"]}}', "metadata"),
        ('{"phone_number": "+1234567890", "metadata": {"\\u0000": 1}}', "metadata"),
        ('{"phone_number": "+1234567890", "metadata": {"a": {"\\udfff": 1}}}', "metadata"),
    ],
)
def test_unreadable_body_is_400(caller: Caller, body: str | bytes, field: str) -> None:
    response = caller.request("POST", "/api/contacts", data=body, content_type="application/json")
    assert (response.status, response.code, list(response.errors)) == (400, "invalid_request", [field])
    assert caller.get("/api/contacts").data["total"] == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"phone_number": None}, "phone_number"),
        ({"phone_number": 1234567890}, "phone_number"),
        ({"phone_number": ""}, "phone_number"),
        ({"phone_number": "+0123456789"}, "phone_number"),
        ({"phone_number": "0123456789"}, "phone_number"),
        ({"phone_number": "000123456789"}, "phone_number"),
        ({"phone_number": "12"}, "phone_number"),
        ({"phone_number": "+123456"}, "phone_number"),
        ({"phone_number": "+1234567890123456"}, "phone_number"),
        ({"phone_number": "+1 800 FLOWERS"}, "phone_number"),
        ({"phone_number": "１２３４５６７８９０"}, "phone_number"),
        ({"phone_number": "٠١٢٣٤٥٦٧٨٩"}, "phone_number"),
        ({"phone_number": "1234567890+"}, "phone_number"),
        ({"phone_number": "+44 (0)20 7946 0958"}, "phone_number"),
        ({"phone_number": "++1234567890"}, "phone_number"),
        ({"phone_number": "+1234567890\x00"}, "phone_number"),
        ({"phone_number": "+1234567890" + " " * 100}, "phone_number"),
        ({"name": 5}, "name"),
        ({"name": ["John"]}, "name"),
        ({"name": "x" * 10_000}, "name"),
        ({"account_id": "no-uuid"}, "account_id"),
        ({"account_id": ""}, "account_id"),
        ({"account_id": "{" + ACCOUNT + "}"}, "account_id"),
        ({"account_id": f"urn:uuid:{ACCOUNT}"}, "account_id"),
        ({"account_id": ACCOUNT.replace("-", "")}, "account_id"),
        ({"metadata": []}, "metadata"),
        ({"metadata": "text"}, "metadata"),
        ({"metadata": None}, "metadata"),
        ({"metadata": deep(33)}, "metadata"),
        ({"nmae": "John"}, "nmae"),
        ({"id": UNKNOWN_ID}, "id"),
    ],
)
def test_invalid_field_is_400_and_creates_nothing(caller: Caller, fields: dict[str, object], field: str) -> None:
    response = caller.post("/api/contacts", {"phone_number": NUMBER, **fields})
    assert (response.status, response.code, list(response.errors)) == (400, "invalid_request", [field])
    assert all(response.errors[field])
    assert caller.get("/api/contacts").data["total"] == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e2", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%EF%BC%91", "limit"),
        ("limit=+5", "limit"),
        ("limit=", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=5&limit=6", "limit"),
        ("page=0", "page"),
        ("page=1" + "0" * 30, "page"),
        ("page=1.0", "page"),
        ("page=x", "page"),
        ("search=%00", "search"),
        ("search=a%00b", "search"),
        ("search=" + "x" * 1001, "search"),
        ("account_id=no-uuid", "account_id"),
        ("account_id=", "account_id"),
        ("serach=john", "serach"),
        ("Limit=5", "Limit"),
    ],
)
def test_invalid_query_parameter_is_400(caller: Caller, query: str, field: str) -> None:
    response = caller.request("GET", f"/api/contacts?{query}")
    assert (response.status, response.code, list(response.errors)) == (400, "invalid_request", [field])


@pytest.mark.parametrize("search", ["%FF", "a%ED%A0%80b", "%C3"])
def test_query_that_is_not_utf8_is_400(caller: Caller, search: str) -> None:
    """A lone surrogate can't be encoded as UTF-8 either."""
    response = caller.request("GET", f"/api/contacts?search={search}")
    assert (response.status, list(response.errors)) == (400, ["search"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/contacts?dry_run=true"),
        ("DELETE", f"/api/contacts/{UNKNOWN_ID}?dry_run=true"),
        ("GET", f"/api/contacts/{UNKNOWN_ID}/sessions?dry_run=true"),
        ("GET", "/healthz?dry_run=true"),
    ],
)
def test_unexpected_query_parameter_is_400(caller: Caller, method: str, path: str) -> None:
    response = caller.request(method, path, json={"phone_number": NUMBER} if method == "POST" else None)
    assert (response.status, list(response.errors)) == (400, ["dry_run"])
    assert caller.get("/api/contacts").data["total"] == 0


@pytest.mark.parametrize("path", ["/api/contacts", f"/api/flows/{UNKNOWN_ID}"])
def test_field_name_that_is_not_unicode_is_400(caller: Caller, path: str) -> None:
    method = "POST" if path == "/api/contacts" else "PUT"
    body = '{"phone_number": "+1234567890", "name": "x", "panel_config": {"sections": []}, "\\ud800": 1}'
    response = caller.request(method, path, data=body, content_type="application/json")
    assert response.status == 400
    assert "\\ud800" in response.errors


def test_many_errors_get_a_short_response(caller: Caller) -> None:
    body = {"name": "x", "panel_config": {"sections": [{}] * 200_000}}
    response = caller.put(f"/api/flows/{UNKNOWN_ID}", body)
    assert response.errors == {"panel_config.sections": ["More than 50 items."]}
    response = caller.post("/api/contacts", {f"field {n}": 1 for n in range(10_000)})
    assert len(response.errors) == 100


def test_merged_document_is_limited_to_a_mebibyte(caller: Caller) -> None:
    path = f"/api/contacts/{caller.create()['id']}"
    for address, field in ((f"{path}/session-data", "session_data"), (path, "metadata")):
        assert caller.patch(address, {field: {"a": "x" * 600_000}}).status in {200, 201}
        before = caller.get(address).data
        response = caller.patch(address, {field: {"b": "x" * 600_000}})
        assert (response.status, response.code) == (413, "payload_too_large")
        assert caller.get(address).data == before


@pytest.mark.parametrize(
    "bad", ["not-a-uuid", "{" + UNKNOWN_ID + "}", UNKNOWN_ID[:-1], UNKNOWN_ID + "0", "1", "%00", " "]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/contacts/{}"),
        ("PUT", "/api/contacts/{}"),
        ("DELETE", "/api/contacts/{}"),
        ("PUT", "/api/contacts/{}/assign"),
        ("GET", "/api/contacts/{}/session-data"),
        ("GET", "/api/contacts/{}/sessions"),
        ("GET", "/api/flows/{}"),
    ],
)
def test_id_that_is_not_a_uuid_is_400(caller: Caller, bad: str, method: str, path: str) -> None:
    response = caller.request(method, path.format(bad if bad.startswith("%") else in_path(bad)), json={"name": "x"})
    assert (response.status, response.code, list(response.errors)) == (400, "invalid_request", ["id"])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "body"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"profile_name": 1}, "profile_name"),
        ({"avatar_url": "javascript:alert(1)"}, "avatar_url"),
        ({"avatar_url": "https://"}, "avatar_url"),
        ({"avatar_url": "https://example.com/" + "x" * 2048}, "avatar_url"),
        ({"metadata": None}, "metadata"),
        ({"account_id": ACCOUNT}, "account_id"),
        ({"assigned_to": ACCOUNT}, "assigned_to"),
        ({"created_at": "2024-01-01T00:00:00Z"}, "created_at"),
    ],
)
def test_invalid_update_is_400_and_changes_nothing(caller: Caller, fields: dict[str, object], field: str) -> None:
    contact = caller.create(name="John", metadata={"a": 1})
    response = caller.put(f"/api/contacts/{contact['id']}", fields)
    assert (response.status, response.code, list(response.errors)) == (400, "invalid_request", [field])
    assert caller.get(f"/api/contacts/{contact['id']}").data == contact


@pytest.mark.parametrize("fields", [{}, {"user_id": "bob"}, {"user_id": 5}, {"user_id": ""}])
def test_invalid_assignment_is_400_and_changes_nothing(caller: Caller, fields: dict[str, object]) -> None:
    contact = caller.create()
    response = caller.put(f"/api/contacts/{contact['id']}/assign", fields)
    assert (response.status, list(response.errors)) == (400, ["user_id"])
    assert caller.get(f"/api/contacts/{contact['id']}").data == contact


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_body_not_declared_as_json_is_415(caller: Caller, content_type: str) -> None:
    body = json.dumps({"phone_number": NUMBER})
    response = caller.request("POST", "/api/contacts", data=body, content_type=content_type)
    assert (response.status, response.code) == (415, "unsupported_media_type")
    assert caller.get("/api/contacts").data["total"] == 0


def test_body_larger_than_a_mebibyte_is_413(caller: Caller) -> None:
    response = caller.post("/api/contacts", {"phone_number": NUMBER, "metadata": {"a": "x" * 1024 * 1024}})
    assert (response.status, response.code) == (413, "payload_too_large")
    assert caller.get("/api/contacts").data["total"] == 0


def test_values_at_the_limits_are_stored_exactly(caller: Caller) -> None:
    fields = {
        "name": "\U0001f389" * 255,
        "metadata": {
            "deep": deep(31),
            "integer": 2**64 + 1,
            "huge": -(10**400),
            "tiny": 5e-324,
            "float": 1.0,
            "exponent": 1e22,
            "text": '\u0001\u007f\u2028\ufffe\U0010ffff"\\/',
            "": {"": []},
            "long": "x" * 500_000,
        },
    }
    body = json.dumps({"phone_number": NUMBER, **fields})
    contact = caller.request("POST", "/api/contacts", data=body, content_type="application/json").data
    stored = caller.get(f"/api/contacts/{contact['id']}").data
    for returned in (contact, stored):
        assert returned["name"] == fields["name"]
        # Compared as text too: 1.0 and 1, 1e22 and its 23 digits are equal to Python, but not the same JSON.
        assert json.dumps(returned["metadata"]) == json.dumps(fields["metadata"])


@pytest.mark.parametrize(
    "written",
    [
        "+1234567890",
        "1234567890",
        "001234567890",
        "+1 (234) 567-890",
        "+1.234.567.890",
        "[+1] 234 567 890",
        "00 1 234 567 890",
        " +1-234-567-890 ",
        "+1\u00a0234\u202f567\u2011890",
        "\u202a+1 234 567 890\u202c",
    ],
)
def test_phone_number_is_accepted_in_many_notations(caller: Caller, written: str) -> None:
    contact = caller.create(written)
    assert contact["phone_number"] == "+1234567890"
    again = caller.post("/api/contacts", {"phone_number": "+1234567890"})
    assert (again.status, again.errors) == (409, {"id": [contact["id"]]})


def test_repeated_key_in_json_takes_the_last_value(caller: Caller) -> None:
    body = '{"phone_number": "+1234567890", "name": "first", "name": "last"}'
    response = caller.request("POST", "/api/contacts", data=body, content_type="application/json")
    assert response.data["name"] == "last"


def test_query_of_raw_bytes_that_are_not_utf8_is_400(caller: Caller) -> None:
    for query in ("search=\xff", "\xff=1", "search=caf\xe9"):
        for path in ("/api/contacts", f"/api/contacts/{UNKNOWN_ID}"):
            response = caller.client.get(path, environ_overrides={"QUERY_STRING": query})
            assert response.status_code == 400
            assert response.json["code"] == "invalid_request"


@pytest.mark.parametrize("path", ["/api/contacts", f"/api/contacts/{UNKNOWN_ID}"])
@pytest.mark.parametrize("repeats", [1, 2], ids=["unknown", "repeated"])
def test_response_to_many_bad_parameters_is_bounded(caller: Caller, path: str, repeats: int) -> None:
    query = "&".join(f"q{number}=1" for number in range(300) for _ in range(repeats))
    response = caller.request("GET", path, query_string=query)
    assert (response.status, len(response.errors)) == (400, 100)
