"""What the OpenAPI document says of an operation beside its schemas: keys, conditions, retries, errors."""

import json
import shlex
from typing import Any

from apispec import APISpec

from contacts_service.errors import RETRY_AFTER_SECONDS, ServiceError, documented_errors
from contacts_service.web.auth import MAX_ACTOR_LENGTH, SCOPE_OF_METHOD
from contacts_service.web.idempotency import KEY_PATTERN
from schemas.envelope import ErrorAnswer
from schemas.examples import REQUEST_ID

Doc = dict[str, Any]
EXAMPLE_SERVER = "http://127.0.0.1:8000"


def document_security(doc: Doc, doc_info: Doc, *, method: str, **_: Any) -> Doc:
    """Say which scope the operation needs, and that a write may name whom it is made for."""
    scope = SCOPE_OF_METHOD[method.upper()]
    doc["security"] = [{"ApiKey": []}, {"Bearer": []}]  # Linters know scopes of OAuth only.
    docstring = doc_info["docstring"]
    docstring["description"] = f"{docstring.get('description', '')}\n\nA key needs the scope `{scope}`.".strip()
    _declare(doc_info, "unauthenticated", "account_forbidden", "local_only", "scope_missing")
    if method != "get":
        what = "Whom the caller acts for, such as the person who clicked; events of contacts show it."
        schema = {"minLength": 1, "maxLength": MAX_ACTOR_LENGTH, "pattern": r"^[^\x00-\x1f\x7f-\xa0\xad]*$"}
        _add_header(doc, "X-Actor", what, "jane@example.com", **schema)
    return doc


def document_merge_patch(doc: Doc, doc_info: Doc, *, method: str, **_: Any) -> Doc:  # noqa: ARG001
    """Say that PATCH takes RFC 7396's own media type too."""
    if method == "patch":
        content = doc["requestBody"]["content"]
        content["application/merge-patch+json"] = dict(content["application/json"])
    return doc


def document_idempotency(doc: Doc, doc_info: Doc, *, method: str, **_: Any) -> Doc:
    is_streamed = doc_info.get("manual_doc", {}).pop("x-streamed", False)
    if method == "post" and not is_streamed:
        what = (
            "Within 24 hours the same request with the same key does nothing and answers the first answer again, or "
            "404 `contact_not_found` once the contact that it tells of was deleted."
        )
        _add_header(doc, "Idempotency-Key", what, "order-4711-welcome", pattern=f"^{KEY_PATTERN}$", maxLength=255)
        # Not found: the contact that the first response tells of was deleted.
        _declare(doc_info, "retry_in_progress", "idempotency_key_reused", "contact_not_found")
        for status, response in doc["responses"].items():
            if int(status) < 300:
                _response_header(
                    response, "Idempotent-Replayed", "Set to true on an answer that was given before.", "true"
                )
    return doc


def document_etags(doc: Doc, doc_info: Doc, *, method: str, **_: Any) -> Doc:
    conditions = doc_info.get("manual_doc", {}).pop("x-conditions", None)
    if conditions is None:
        return doc
    if "If-Match" in conditions:
        what = "Write only if this is the current ETag; * for any."
        _add_header(doc, "If-Match", what, '"3"')
        _declare(doc_info, "version_mismatch")
    if "If-None-Match" in conditions:
        if method == "get":
            _add_header(doc, "If-None-Match", "Answer 304 if this is still the ETag.", '"3"')
            doc["responses"]["304"] = {"description": "What the caller has is current"}
        else:
            _add_header(doc, "If-None-Match", "* to create and never replace.", "*", enum=["*"])
    for status, response in doc["responses"].items():
        if int(status) < 400 and method != "delete":
            _response_header(response, "ETag", "The version, for If-Match and If-None-Match.", '"3"')
    return doc


def document_errors(doc: Doc, doc_info: Doc, *, spec: APISpec, **_: Any) -> Doc:
    """Add the errors of an operation: those that follow from what it takes, and those that were declared.

    What several operations answer is described once, among the components.
    """
    declared = set(doc_info.get("manual_doc", {}).pop("x-codes", ()))
    statuses = {400, 406, 503} | {error.status for error in documented_errors() if error.code in declared}
    if "requestBody" in doc:
        statuses |= {413, 415}
    elif "arguments" in doc_info:
        statuses.add(414)
    for status in sorted(statuses):
        errors = list(documented_errors(status))
        errors = [error for error in errors if error.code in declared] or errors
        name = ".".join(error.code for error in errors)
        doc["responses"][status] = name
        if name not in spec.components.responses:
            spec.components.response(name, _error_response(status, errors))
    return doc


def _error_response(status: int, errors: list[type[ServiceError]]) -> Doc:
    examples = {error.code: {"value": _example_of(error)} for error in errors}
    response = {
        "description": ", ".join(examples),
        "content": {"application/json": {"schema": ErrorAnswer, "examples": examples}},
    }
    if status == 503:
        _response_header(response, "Retry-After", "Seconds to wait.", RETRY_AFTER_SECONDS, type="integer")
    if status == 401:
        _response_header(response, "WWW-Authenticate", "How a key may be sent.", "Bearer")
    return response


def curl_command(method: str, path: str, operation: Doc, parameters: list[Doc]) -> str:
    """The operation as a command that can be pasted, with the examples of all that it requires."""
    for parameter in parameters:
        path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    command = f"curl -s -X {method.upper()} {EXAMPLE_SERVER}{path}"
    if operation["security"]:
        command += ' -H "X-API-Key: $CONTACTS_KEY"'  # curl leaves the header out while the variable is empty.
    if "requestBody" in operation:
        content_type, content = next(iter(operation["requestBody"]["content"].items()))
        body = content["example"]
        body = body if isinstance(body, str) else json.dumps(body)
        command += f" -H 'Content-Type: {content_type}' --data-binary {shlex.quote(body)}"
    return command


def _declare(doc_info: Doc, *codes: str) -> None:
    manual = doc_info.setdefault("manual_doc", {})
    manual["x-codes"] = (*manual.get("x-codes", ()), *codes)


def _add_header(doc: Doc, name: str, what: str, example: str, **schema: Any) -> None:
    schema = {"type": "string", **schema}
    parameter = {"name": name, "in": "header", "description": what, "schema": {**schema, "examples": [example]}}
    doc.setdefault("parameters", []).append(parameter)


def _response_header(response: Doc, name: str, what: str, example: Any, **schema: Any) -> None:
    described = {"description": what, "schema": {"type": "string", **schema}, "example": example}
    response.setdefault("headers", {})[name] = described


def _example_of(error: type[ServiceError]) -> Doc:
    example: Doc = {"status": "error", "message": error.example_message(), "data": None, "code": error.code}
    if error.example_errors:
        example["errors"] = error.example_errors
    return {**example, "request_id": REQUEST_ID}
