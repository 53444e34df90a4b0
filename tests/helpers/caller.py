"""Calls the application in process and checks every response against the envelope and the OpenAPI document."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

import jsonschema_rs
from flask import Flask

_documented: list[Flask] = []
"""The first application of this process: all of them have the same document."""
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Response:
    status: int
    body: dict[str, Any]
    headers: Any
    text: str | None = None
    """The body of a response that is no JSON."""

    @property
    def data(self) -> Any:
        """What a successful response holds."""
        assert self.status in {200, 201}, self.body
        return self.body["data"]

    @property
    def code(self) -> str:
        return self.body["code"]

    @property
    def errors(self) -> dict[str, list[str]]:
        return self.body.get("errors", {})


@cache
def openapi() -> dict[str, Any]:
    """Return the OpenAPI document, with the shared error responses in their places.

    Addresses without parameters come first: /api/contacts/duplicates is no contact.
    """
    document = json.loads(_documented[0].test_client().get("/openapi.json").data)
    document["paths"] = dict(sorted(document["paths"].items(), key=lambda path: "{" in path[0]))
    for described in document["paths"].values():
        for operation in described.values():
            if isinstance(operation, dict):
                for status, response in operation["responses"].items():
                    name = response.get("$ref", "").removeprefix("#/components/responses/")
                    operation["responses"][status] = document["components"]["responses"].get(name, response)
    return document


@cache
def validator_of(documented_path: str, method: str, status: int) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of a response's body; it is expensive to make."""
    document = openapi()
    content = document["paths"][documented_path][method]["responses"][str(status)]["content"]
    schema = {**content["application/json"]["schema"], "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


class Caller:
    """A client of the application. Every response has to be one that the OpenAPI document describes."""

    def __init__(self, app: Flask, key: str | None = None) -> None:
        if not _documented:
            _documented.append(app)
        self.app = app
        self.client = app.test_client()
        self.key = key

    @property
    def openapi(self) -> dict[str, Any]:
        return openapi()

    def get(self, path: str, **query: object) -> Response:
        return self.request("GET", path, query_string=query)

    def post(self, path: str, body: object, headers: dict[str, str] | None = None) -> Response:
        return self.request("POST", path, json=body, headers=headers)

    def put(self, path: str, body: object, headers: dict[str, str] | None = None) -> Response:
        return self.request("PUT", path, json=body, headers=headers)

    def patch(self, path: str, body: object, headers: dict[str, str] | None = None) -> Response:
        return self.request("PATCH", path, json=body, headers=headers)

    def delete(self, path: str, headers: dict[str, str] | None = None) -> Response:
        return self.request("DELETE", path, headers=headers)

    def request(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> Response:
        headers = {**({"X-API-Key": self.key} if self.key else {}), **(headers or {})}
        received = self.client.open(path, method=method, headers=headers, **options)
        if received.status_code == 304:
            assert received.data == b""
            response = Response(304, {}, received.headers)
        elif received.mimetype in {"text/csv", "application/x-ndjson"}:
            response = Response(
                received.status_code, {}, received.headers, received.get_data().decode(errors="surrogateescape")
            )
        else:
            assert received.content_type == "application/json", received.data
            response = Response(received.status_code, json.loads(received.data), received.headers)
        self._check(method, path, response)
        return response

    def create(self, phone_number: str = "+1234567890", **fields: object) -> dict[str, Any]:
        """Create a contact; fails if its phone number is taken."""
        return self.post("/api/contacts", {"phone_number": phone_number, **fields}).data

    def names(self, **query: object) -> list[str]:
        """Return the names on a page of the list of contacts, in its order."""
        return [contact["name"] for contact in self.get("/api/contacts", **query).data["items"]]

    def _check(self, method: str, path: str, response: Response) -> None:
        if response.status == 304 or not response.body:
            pass
        elif response.status < 400:
            assert set(response.body) == {"status", "data"}
            assert response.body["status"] == "success"
        else:
            assert response.body["status"] == "error"
            assert response.body["data"] is None
            assert response.body["message"]
            is_replay = "Idempotent-Replayed" in response.headers
            assert is_replay or response.body["request_id"] == response.headers["X-Request-ID"]
        documented_path = self._documented_path(method.lower(), path)
        if documented_path is None:
            return
        documented = self.openapi["paths"][documented_path][method.lower()]["responses"]
        assert str(response.status) in documented, f"{method} {path} does not document {response.status}"
        if response.text is not None:
            assert response.headers["Content-Type"].partition(";")[0] in documented[str(response.status)]["content"]
        elif response.status != 304:
            validator_of(documented_path, method.lower(), response.status).validate(response.body)

    def _documented_path(self, method: str, path: str) -> str | None:
        parts = path.partition("?")[0].split("/")
        for documented, operations in self.openapi["paths"].items():
            expected = documented.split("/")
            if (
                method in operations
                and len(expected) == len(parts)
                and all(a == b or a.startswith("{") for a, b in zip(expected, parts, strict=True))
            ):
                return documented
        return None


def example_body(operation: dict[str, Any]) -> dict[str, Any]:
    """The documented example of an operation's body, as options of ``Caller.request``."""
    for content_type, content in operation.get("requestBody", {}).get("content", {}).items():
        is_json = content_type == "application/json"
        return {"json": content["example"]} if is_json else {"data": content["example"], "content_type": content_type}
    return {}


def in_path(text: str) -> str:
    return quote(text, safe="")
