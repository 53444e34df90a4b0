"""The OpenAPI document: complete, correct, and sufficient to generate a client."""

import gzip
import importlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest import mock

import jsonschema
import pytest
from flask import Flask
from helpers.caller import Caller, example_body
from helpers.examples import FLOW_ID
from helpers.service import Service

from contacts_service.errors import documented_errors
from schemas.examples import CONTACT_ID, OTHER_CONTACT_ID

MAY_CONFLICT = {
    "POST /api/contacts",
    "POST /api/contacts/bulk",
    "POST /api/contacts/resolve",
    "PUT /api/contacts/{id}",
    "PATCH /api/contacts/{id}",
    "POST /api/messages",
    "DELETE /api/contacts/{id}/merges/{source_id}",
}
_PARAMETER = re.compile("<(?:[a-z]+:)?([a-z_]+)>")
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    return deepcopy(Caller(app).openapi)


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, described in document["paths"].items()
        for method, operation in described.items()
        if method in METHODS
    ]


def test_exactly_the_routes_are_documented(app: Flask, document: dict[str, Any]) -> None:
    routes = {
        f"{method} {_PARAMETER.sub(lambda match: '{' + match[1] + '}', rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith(("/docs", "/openapi.json", "/metrics"))  # Not JSON in the envelope.
    }
    assert {name for name, _ in operations(document)} == routes


def test_every_schema_is_a_valid_json_schema(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object" or schema["enum"], name


def test_fields_that_may_be_null_are_valid_with_null(document: dict[str, Any]) -> None:
    nullable = [
        field
        for schema in document["components"]["schemas"].values()
        for field in schema.get("properties", {}).values()
        if "null" in field.get("type", ()) or {"type": "null"} in field.get("anyOf", ())
    ]
    assert len(nullable) > 30
    for field in nullable:
        jsonschema.Draft202012Validator({**field, "components": document["components"]}).validate(None)


def test_every_operation_has_a_summary_and_a_unique_id(document: dict[str, Any]) -> None:
    named = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(named)) == len(named)
    for name, operation in operations(document):
        assert operation["summary"], name


def test_every_parameter_and_body_has_an_example_valid_by_its_schema(document: dict[str, Any]) -> None:
    def check(schema: dict[str, Any], example: object) -> None:
        validator = jsonschema.Draft202012Validator(
            {**schema, "components": document["components"]}, format_checker=jsonschema.FormatChecker()
        )
        validator.validate(example)

    assert document["openapi"] == "3.1.0"
    for path, described in document["paths"].items():
        for name, operation in described.items():
            if name == "parameters":
                continue
            for parameter in [*described.get("parameters", []), *operation.get("parameters", [])]:
                assert parameter["description"], (path, name, parameter["name"])
                schema = parameter["schema"]
                if "$ref" not in schema:  # That is an enumeration.
                    check(schema, parameter["example"] if "example" in parameter else schema["examples"][0])
            contents = [response["content"] for status, response in operation["responses"].items() if status != "304"]
            if "requestBody" in operation:
                contents.append(operation["requestBody"]["content"])
            for content in contents:
                media = content.get("application/json", {"schema": {}, "example": ""})
                examples = (
                    [media["example"]] if "example" in media else [e["value"] for e in media["examples"].values()]
                )
                assert examples, (path, name)
                for example in examples:
                    check(media["schema"], example)


def test_every_operation_documents_its_errors(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        documented = {int(status) for status in operation["responses"]}
        expected = {400, 406, 503} if name.endswith("z") else {400, 401, 403, 406, 503}
        if operation.get("requestBody"):
            expected |= {413, 415}
        if "{id}" in name and name != "PUT /api/flows/{id}":
            expected |= {404}
        if "/contacts/{id}" in name or name.endswith(("/dismiss", "/changes")):
            expected |= {410}
        parameters = operation.get("parameters", [])
        if any(parameter["in"] == "query" for parameter in parameters):
            expected |= {414}
        if any(parameter["name"] == "If-Match" for parameter in parameters):
            expected |= {412}
        if name.startswith("POST") and name != "POST /api/contacts/import":  # It needs no Idempotency-Key.
            expected |= {404, 409, 422}
        if name in MAY_CONFLICT:
            expected |= {409}
        assert {status for status in documented if status >= 400} == expected, name
        assert documented & {200, 201}, name
        for status in {status for status in documented if status >= 400}:
            codes = operation["responses"][str(status)]["content"]["application/json"]["examples"]
            assert codes.keys() <= {error.code for error in documented_errors(status)}, (name, status)


def test_enumerations_are_named_once(document: dict[str, Any]) -> None:
    """Client generators make a type of each that they find."""
    schemas = document["components"]["schemas"]
    named = [schema.pop("enum") for schema in schemas.values() if "enum" in schema]
    assert re.findall('"enum": .{8}', json.dumps(document)) == ['"enum": ["*"], "']  # Of If-None-Match, used once.
    assert len({json.dumps(words) for words in named}) == len(named) >= 9


def test_document_holds_nothing_that_client_generators_fail_on(document: dict[str, Any]) -> None:
    """`make clients` runs them; each of these broke at least one."""

    def check(value: Any, place: str) -> None:
        if isinstance(value, dict):
            assert value.get("type") != "null" or place.endswith("anyOf/1"), place
            assert "properties" not in value.get("not", {}), place
            assert "(?!" not in str(value.get("pattern", "")), place
            assert not any(item is None for item in value.get("enum", [])), place
            if "$ref" in value and "schema" in place:
                assert value.keys() <= {"$ref", "description"}, place
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(inner, dict | list) and key not in {"examples", "example", "if"}:
                check(inner, f"{place}/{key}")

    check(document, "")


Run = Callable[[str, str, dict[str, Any], dict[str, str]], dict[str, Any]]


def run_examples(run: Run, document: dict[str, Any]) -> None:
    """Run each operation once, in an order in which what it needs exists: ``run(method, path, operation, replaced)``.

    ``replaced`` are parts of the examples: the ids that the service makes up itself become those that it made.
    """
    order = ["post", "put", "patch", "get", "delete"]
    paths = document["paths"]
    another = run("post", "/api/contacts", paths["/api/contacts"]["post"], {"+1234567890": "+1987654321"})
    replaced = {OTHER_CONTACT_ID: another["data"]["id"]}
    ids: dict[str, str] = {}
    everything = [(method, path) for path, described in paths.items() for method in described if method in METHODS]

    def position(each: tuple[str, str]) -> tuple[int, bool, int]:
        # A merge ends a contact, and what is part of another goes before it.
        return order.index(each[0]), each[1].endswith("/merge"), -len(each[1]) if each[0] == "delete" else 0

    for method, path in sorted(everything, key=position):
        entity = path.split("/")[2] if "{id}" in path else ""
        filled = path.replace("{id}", ids.get(entity, FLOW_ID)).replace("{source_id}", replaced[OTHER_CONTACT_ID])
        filled = filled.replace("{tag}", "vip")
        result = run(method, filled, paths[path][method], replaced)
        if method == "post" and "id" in (result["data"] or {}):
            kind = "messages" if path.endswith("/messages") else "contacts"
            ids[kind] = result["data"]["id"]
            if kind == "contacts":
                replaced[CONTACT_ID] = ids[kind]


def replace(text: str, replaced: dict[str, str]) -> str:
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text


def test_every_operation_succeeds_as_the_page_fills_it_in(caller: Caller) -> None:
    """Swagger UI fills in the example of a parameter or of its schema, or else its default, and the body's example."""

    def run(method: str, path: str, operation: dict[str, Any], replaced: dict[str, str]) -> dict[str, Any]:
        filled: dict[str, dict[str, Any]] = {"query": {}, "header": {}}
        for parameter in operation.get("parameters", []):
            schema = parameter["schema"]
            value = parameter.get("example", schema.get("example", schema.get("default")))
            if value is not None and parameter["in"] != "path":
                filled[parameter["in"]][parameter["name"]] = value
        sent = json.loads(replace(json.dumps(example_body(operation)), replaced))
        response = caller.request(method.upper(), path, query_string=filled["query"], headers=filled["header"], **sent)
        assert response.status in {200, 201}, (method, path, response.body)
        return response.body

    run_examples(run, caller.openapi)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_every_curl_line_succeeds(service: Service) -> None:
    with urllib.request.urlopen(f"{service.url}/openapi.json") as response:
        document = json.load(response)

    def run(_: str, path: str, operation: dict[str, Any], replaced: dict[str, str]) -> dict[str, Any]:
        (sample,) = operation["x-codeSamples"]
        line = re.sub(r"http://127\.0\.0\.1:8000[^ ]*", service.url + path, replace(sample["source"], replaced))
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
        if "application/json" not in operation["responses"].get("200", {}).get("content", {"application/json": None}):
            assert done.stdout.startswith("id,phone_number,"), line
            return {"data": None}
        answer: dict[str, Any] = json.loads(done.stdout)
        assert answer["status"] == "success", (line, answer)
        return answer

    run_examples(run, document)


def test_document_is_built_once_and_sent_compressed(app: Flask) -> None:
    client = app.test_client()
    plain = client.get("/openapi.json")
    compressed = client.get("/openapi.json", headers={"Accept-Encoding": "gzip, br"})
    assert gzip.decompress(compressed.data) == plain.data
    assert len(compressed.data) * 5 < len(plain.data) < 250_000
    assert (plain.content_encoding, compressed.content_encoding) == (None, "gzip")
    assert plain.headers["ETag"] != compressed.headers["ETag"]
    for response in (plain, compressed):
        assert response.headers["Vary"] == "Accept-Encoding"
    with mock.patch("apispec.APISpec.to_dict", side_effect=AssertionError("built again")):
        again = client.get(
            "/openapi.json", headers={"Accept-Encoding": "gzip, br", "If-None-Match": compressed.headers["ETag"]}
        )
    assert (again.status_code, again.data) == (304, b"")


def test_docs_page_loads_nothing_from_elsewhere(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/docs")
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    sources = page.text + client.get("/docs/docs.js").text
    loaded = re.findall(r'(?:src|href|url:)[=\s]*["\']([^"\']+)["\']', sources)
    assert "/openapi.json" in loaded
    assert len(loaded) >= 4
    for address in loaded:
        assert address.startswith("/"), address
        assert client.get(address).status_code == 200, address


def test_missing_file_of_the_docs_page_is_404_in_the_envelope(caller: Caller) -> None:
    for path in ("/docs/nothing.js", "/docs/../setup.cfg", "/docs/%2e%2e/LICENSE.py"):
        response = caller.get(path)
        assert (response.status, response.code) == (404, "not_found")


def test_generated_client_performs_all_eight_operations(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """openapi-python-client generates it from the document of the running service."""
    config = tmp_path / "config.yml"
    config.write_text(
        "post_hooks: []\npackage_name_override: generated_contacts\n"
        # It knows no others than JSON, forms and bytes.
        "content_type_overrides: {text/csv: application/octet-stream, application/x-ndjson: application/octet-stream}\n"
    )
    for module in [name for name in sys.modules if name.startswith("generated_contacts")]:
        monkeypatch.delitem(sys.modules, module)
    generated = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning"]
        + ["--url", f"{service.url}/openapi.json"]
        + ["--config", str(config), "--output-path", str(tmp_path / "client")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert generated.returncode == 0, generated.stdout + generated.stderr
    monkeypatch.syspath_prepend(str(tmp_path / "client"))
    models = importlib.import_module("generated_contacts.models")
    client = importlib.import_module("generated_contacts").Client(base_url=service.url)

    def call(tag: str, operation: str, *args: object, **kwargs: object) -> Any:
        response = importlib.import_module(f"generated_contacts.api.{tag}.{operation}").sync(
            *args, client=client, **kwargs
        )
        assert not isinstance(response, models.ErrorAnswer), response
        return response.data

    metadata = models.ContactCreateMetadata.from_dict({"custom_field": "value"})
    created = call(
        "contacts",
        "create_contact",
        body=models.ContactCreate(phone_number="1 234 567 890", name="John Doe", metadata=metadata),
    )
    assert created.phone_number == "+1234567890"
    assert call("contacts", "list_contacts", search="john").items == [
        models.ContactSummary.from_dict({k: v for k, v in created.to_dict().items() if k != "metadata"})
    ]
    assert call("contacts", "get_contact", created.id) == created
    updated = call("contacts", "update_contact", created.id, body=models.ContactUpdate(name="John Smith"))
    assert (updated.name, updated.metadata["custom_field"]) == ("John Smith", "value")
    assigned = call("contacts", "assign_contact", created.id, body=models.ContactAssign(user_id=created.id))
    assert assigned.assigned_to == created.id
    variables = models.SessionPutSessionData.from_dict({"order_id": "ORD-12345"})
    call("sessions", "put_session_data", created.id, body=models.SessionPut(session_data=variables))
    assert call("sessions", "get_session_data", created.id).session_data["order_id"] == "ORD-12345"
    assert call("contacts", "delete_contact", created.id) is None
    gone = importlib.import_module("generated_contacts.api.contacts.get_contact").sync(created.id, client=client)
    assert gone.code == "contact_not_found"
