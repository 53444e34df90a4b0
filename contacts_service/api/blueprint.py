"""The project's Blueprint: its decorators document the envelope, the errors and the examples by themselves."""

from collections.abc import Callable
from functools import cache
from typing import Any

import flask_smorest
from flask import request
from marshmallow import Schema, fields, validate
from werkzeug.exceptions import NotAcceptable

from contacts_service.api.errors import CODES, RETRY_AFTER_SECONDS, InvalidRequest
from contacts_service.api.parsing import StrictParser
from schemas.envelope import Answer, Error


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose views return ``success(…)`` and whose operations are named after their functions."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, name: str, import_name: str, **kwargs: Any) -> None:
        super().__init__(name, import_name, **kwargs)
        self._prepare_doc_cbks += [_document_errors, _document_merge_patch]
        self._without_query: set[str] = set()
        self.before_request(_accepts_json)
        self.before_request(self._takes_query)

    def route(self, rule: str, **options: Any) -> Callable[..., Any]:
        """Register a view; ``<id:id>`` in the rule is documented as a UUID."""
        if "<id:id>" in rule:
            address = f"{self.url_prefix}{rule}"
            noun = next(noun for noun in ("flow", "contact", "message") if f"/{noun}s/<id:id>" in address)
            options["parameters"] = [
                {
                    "name": "id",
                    "in": "path",
                    "required": True,
                    "description": f"The id of the {noun}; in capitals it is the same.",
                    "schema": {"type": "string", "format": "uuid"},
                    "example": "01890a5d-ac96-774b-bcce-b302099a8057",
                }
            ]
        register = super().route(rule, **options)

        def decorate(view: Any) -> Any:
            parameters = getattr(view, "_apidoc", {}).get("arguments", {}).get("parameters", [])
            if not any(parameter["in"] == "query" for parameter in parameters):
                self._without_query.add(f"{self.name}.{view.__name__}")
            return register(self.doc(operationId=view.__name__)(view))

        return decorate

    def _takes_query(self) -> None:
        """Refuse query parameters where none are known, as the others are where some are."""
        if request.query_string and request.endpoint in self._without_query:
            raise InvalidRequest({name: ["Unknown field."] for name in request.args} or ["It takes no query."])

    def body(self, schema: type[Schema]) -> Callable[..., Any]:
        """Validate a JSON body and pass it to the view; the schema's EXAMPLE documents it."""
        return self.arguments(schema, example=schema.EXAMPLE)  # type: ignore[attr-defined]

    def query(self, schema: type[Schema]) -> Callable[..., Any]:
        """Validate the query parameters and pass them to the view."""
        return self.arguments(schema, location="query")

    def answers(
        self, status: int, schema: type[Schema] | None = None, description: str = "", **kwargs: Any
    ) -> Callable[..., Any]:
        """Document a success: the envelope around a schema and its EXAMPLE, or around null."""
        example = {"status": "success", "data": getattr(schema, "EXAMPLE", None)}
        return self.alt_response(
            status, schema=_enveloped(schema), description=description or None, example=example, success=True, **kwargs
        )

    def fails(self, *codes: str) -> Callable[..., Any]:
        """Document the errors of the domain; those that every operation may have are documented without it."""
        return self.doc(**{"x-codes": codes})


def _accepts_json() -> None:
    """Refuse to answer whoever takes no JSON; of the ranges that match the most specific counts (RFC 9110, 12.5.1)."""
    # Parameters such as charset don't make it another type.
    accepted = {name.partition(";")[0].strip().lower(): quality for name, quality in request.accept_mimetypes}
    matching = [accepted[name] for name in ("application/json", "application/*", "*/*") if name in accepted]
    if accepted and not (matching and matching[0]):
        raise NotAcceptable


@cache  # One schema of a name: what is made twice, apispec would document twice.
def _enveloped(schema: type[Schema] | None) -> type[Schema]:
    data: fields.Field[Any] = (
        fields.Nested(schema, required=True)
        if schema
        else fields.Raw(required=True, allow_none=True, metadata={"enum": [None]})
    )
    status = fields.String(required=True, validate=validate.Equal("success"))
    return Answer.from_dict({"status": status, "data": data}, name=f"{schema.__name__ if schema else 'Null'}Answer")


def _document_merge_patch(doc: dict[str, Any], _: dict[str, Any], *, method: str, **__: Any) -> dict[str, Any]:
    """Say that PATCH takes RFC 7396's own media type too."""
    if method == "patch":
        content = doc["requestBody"]["content"]
        content["application/merge-patch+json"] = dict(content["application/json"])
    return doc


def _document_errors(doc: dict[str, Any], doc_info: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the errors of an operation: those that follow from what it takes, and those it declares by ``fails``."""
    declared = set(doc_info.get("manual_doc", {}).pop("x-codes", ()))
    statuses = {400, 406, 503} | {status for status, codes in CODES.items() if declared & codes.keys()}
    if "requestBody" in doc:
        statuses |= {413, 415}
    elif "arguments" in doc_info:
        statuses.add(414)
    for status in sorted(statuses):
        codes = [code for code in CODES[status] if code in declared] or list(CODES[status])
        doc.setdefault("responses", {})[status] = {
            "description": ", ".join(codes),
            "content": {
                "application/json": {
                    "schema": Error,
                    "examples": {code: {"value": _error_example(status, code)} for code in codes},
                }
            },
        }
        if status == 503:
            doc["responses"][status]["headers"] = {
                "Retry-After": {
                    "description": "Seconds to wait.",
                    "schema": {"type": "integer"},
                    "example": RETRY_AFTER_SECONDS,
                }
            }
    return doc


def _error_example(status: int, code: str) -> dict[str, Any]:
    errors = {
        "invalid_request": {"phone_number": ["Missing data for required field."]},
        "contact_exists": {"id": ["01890a5d-ac96-774b-bcce-b302099a8057"]},
        "identity_conflict": {"id": ["01890a5d-ac96-774b-bcce-b302099a8057", "018f3c6e-7c11-7d2a-9a3e-2f6f1f0b5c33"]},
    }
    example: dict[str, Any] = {"status": "error", "message": CODES[status][code], "data": None, "code": code}
    if code in errors:
        example["errors"] = errors[code]
    return {**example, "request_id": "018f3c6e-7c11-7d2a-9a3e-2f6f1f0b5c33"}
