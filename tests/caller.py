"""A caller of the service that holds every answer against the envelope and the OpenAPI document."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

import jsonschema
from flask import Flask

UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: Any

    @property
    def data(self) -> Any:
        assert self.status in {200, 201}, self.body
        return self.body["data"]

    @property
    def code(self) -> str:
        return self.body["code"]

    @property
    def errors(self) -> dict[str, list[str]]:
        return self.body.get("errors", {})


class Caller:
    """Calls the application in process. Every answer has to be one that the OpenAPI document describes."""

    def __init__(self, app: Flask, key: str | None = None) -> None:
        self.client = app.test_client()
        self.key = key

    @cached_property
    def openapi(self) -> dict[str, Any]:
        return json.loads(self.client.get("/openapi.json").data)

    def get(self, path: str, **query: object) -> Answer:
        return self.request("GET", path, query_string=query)

    def post(self, path: str, body: object, headers: dict[str, str] | None = None) -> Answer:
        return self.request("POST", path, json=body, headers=headers)

    def put(self, path: str, body: object, headers: dict[str, str] | None = None) -> Answer:
        return self.request("PUT", path, json=body, headers=headers)

    def patch(self, path: str, body: object, headers: dict[str, str] | None = None) -> Answer:
        return self.request("PATCH", path, json=body, headers=headers)

    def delete(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self.request("DELETE", path, headers=headers)

    def request(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> Answer:
        headers = {**({"X-API-Key": self.key} if self.key else {}), **(headers or {})}
        response = self.client.open(path, method=method, headers=headers, **options)
        if response.status_code == 304:
            assert response.data == b""
            answer = Answer(304, {}, response.headers)
        else:
            assert response.content_type == "application/json", response.data
            answer = Answer(response.status_code, json.loads(response.data), response.headers)
        self._check(method, path, answer)
        return answer

    def create(self, phone_number: str = "+1234567890", **fields: object) -> dict[str, Any]:
        """Create a contact that has to be new."""
        return self.post("/api/contacts", {"phone_number": phone_number, **fields}).data

    def names(self, **query: object) -> list[str]:
        """The names on a page of the list of contacts, in its order."""
        return [contact["name"] for contact in self.get("/api/contacts", **query).data["items"]]

    def _check(self, method: str, path: str, answer: Answer) -> None:
        if answer.status == 304:
            pass
        elif answer.status < 400:
            assert set(answer.body) == {"status", "data"}
            assert answer.body["status"] == "success"
        else:
            assert answer.body["status"] == "error"
            assert answer.body["data"] is None
            assert answer.body["message"]
            is_replay = "Idempotent-Replayed" in answer.headers
            assert is_replay or answer.body["request_id"] == answer.headers["X-Request-ID"]
        operation = self._operation(method, path)
        if operation is None:
            return
        assert str(answer.status) in operation["responses"], f"{method} {path} does not document {answer.status}"
        if answer.status == 304:
            return
        schema = operation["responses"][str(answer.status)]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator(
            {**schema, "components": self.openapi["components"]}, format_checker=jsonschema.FormatChecker()
        ).validate(answer.body)

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        parts = path.partition("?")[0].split("/")
        for template, operations in self.openapi["paths"].items():
            expected = template.split("/")
            if len(expected) == len(parts) and all(
                a == b or a.startswith("{") for a, b in zip(expected, parts, strict=True)
            ):
                return operations.get(method.lower())
        return None


def in_path(text: str) -> str:
    return quote(text, safe="")
