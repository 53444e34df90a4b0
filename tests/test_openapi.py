"""The OpenAPI document: complete, correct, and sufficient to generate a client."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.service import Service

from contacts_service.errors import documented_errors

MAY_CONFLICT = {
    "POST /api/contacts",
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
    return Caller(app).openapi


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
        assert schema["type"] == "object", name


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
                check(parameter["schema"], parameter.get("example", parameter["schema"].get("example")))
            contents = [response["content"] for status, response in operation["responses"].items() if status != "304"]
            if "requestBody" in operation:
                contents.append(operation["requestBody"]["content"])
            for content in contents:
                media = content["application/json"]
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
        if "/contacts/{id}" in name or name.endswith("/dismiss"):
            expected |= {410}
        parameters = operation.get("parameters", [])
        if any(parameter["in"] == "query" for parameter in parameters):
            expected |= {414}
        if any(parameter["name"] == "If-Match" for parameter in parameters):
            expected |= {412}
        if name.startswith("POST"):
            expected |= {404, 409, 422}
        if name in MAY_CONFLICT:
            expected |= {409}
        assert {status for status in documented if status >= 400} == expected, name
        assert documented & {200, 201}, name
        for status in {status for status in documented if status >= 400}:
            codes = operation["responses"][str(status)]["content"]["application/json"]["examples"]
            assert codes.keys() <= {error.code for error in documented_errors(status)}, (name, status)


def test_docs_page_loads_nothing_from_elsewhere(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/docs")
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    loaded = re.findall(r'(?:src|href|url:)[=\s]*["\']([^"\']+)["\']', page.text)
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
    config.write_text("post_hooks: []\npackage_name_override: generated_contacts\n")
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
        assert not isinstance(response, models.Error), response
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
