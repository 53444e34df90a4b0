"""What the OpenAPI document says of an operation beside its schemas: keys, conditions, retries, errors."""

from typing import Any

from contacts_service.api.errors import CODES, RETRY_AFTER_SECONDS
from contacts_service.api.keys import SCOPES
from contacts_service.api.retries import KEY_FORM
from schemas.envelope import Error

Doc = dict[str, Any]


def document_security(doc: Doc, doc_info: Doc, *, method: str, **_: Any) -> Doc:
    """Say which scope the operation needs."""
    scope = SCOPES[method.upper()]
    doc["security"] = [{"ApiKey": [scope]}, {"Bearer": [scope]}]
    docstring = doc_info["docstring"]
    docstring["description"] = f"{docstring.get('description', '')}\n\nA key needs the scope `{scope}`.".strip()
    _declare(doc_info, "unauthenticated", "account_forbidden", "local_only", "scope_missing")
    return doc


def document_merge_patch(doc: Doc, doc_info: Doc, *, method: str, **_: Any) -> Doc:  # noqa: ARG001
    """Say that PATCH takes RFC 7396's own media type too."""
    if method == "patch":
        content = doc["requestBody"]["content"]
        content["application/merge-patch+json"] = dict(content["application/json"])
    return doc


def document_retries(doc: Doc, doc_info: Doc, *, method: str, **_: Any) -> Doc:
    """Say that a POST may be sent again under its Idempotency-Key."""
    if method == "post":
        what = "Within 24 hours the same request with the same key does nothing and answers the first answer again."
        _add_header(doc, "Idempotency-Key", what, "order-4711-welcome", pattern=f"^{KEY_FORM}$", maxLength=255)
        # Not found is the contact of a first answer that was deleted since.
        _declare(doc_info, "retry_in_progress", "idempotency_key_reused", "contact_not_found")
        for status, response in doc["responses"].items():
            if int(status) < 300:
                _answer_header(
                    response, "Idempotent-Replayed", "Set to true on an answer that was given before.", "true"
                )
    return doc


def document_versions(doc: Doc, doc_info: Doc, *, method: str, **_: Any) -> Doc:
    """Say what ``versioned`` operations do with entity tags."""
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
            _answer_header(response, "ETag", "The version, for If-Match and If-None-Match.", '"3"')
    return doc


def document_errors(doc: Doc, doc_info: Doc, **_: Any) -> Doc:
    """Add the errors of an operation: those that follow from what it takes, and those that were declared."""
    declared = set(doc_info.get("manual_doc", {}).pop("x-codes", ()))
    statuses = {400, 406, 503} | {status for status, codes in CODES.items() if declared & codes.keys()}
    if "requestBody" in doc:
        statuses |= {413, 415}
    elif "arguments" in doc_info:
        statuses.add(414)
    for status in sorted(statuses):
        codes = [code for code in CODES[status] if code in declared] or list(CODES[status])
        response = doc.setdefault("responses", {})[status] = {
            "description": ", ".join(codes),
            "content": {
                "application/json": {
                    "schema": Error,
                    "examples": {code: {"value": _error_example(status, code)} for code in codes},
                }
            },
        }
        if status == 503:
            _answer_header(response, "Retry-After", "Seconds to wait.", RETRY_AFTER_SECONDS, type="integer")
        if status == 401:
            _answer_header(response, "WWW-Authenticate", "How a key may be sent.", "Bearer")
    return doc


def _declare(doc_info: Doc, *codes: str) -> None:
    manual = doc_info.setdefault("manual_doc", {})
    manual["x-codes"] = (*manual.get("x-codes", ()), *codes)


def _add_header(doc: Doc, name: str, what: str, example: str, **schema: Any) -> None:
    schema = {"type": "string", **schema}
    parameter = {"name": name, "in": "header", "description": what, "schema": schema, "example": example}
    doc.setdefault("parameters", []).append(parameter)


def _answer_header(response: Doc, name: str, what: str, example: Any, **schema: Any) -> None:
    described = {"description": what, "schema": {"type": "string", **schema}, "example": example}
    response.setdefault("headers", {})[name] = described


def _error_example(status: int, code: str) -> Doc:
    errors = {
        "invalid_request": {"phone_number": ["Missing data for required field."]},
        "contact_exists": {"id": ["01890a5d-ac96-774b-bcce-b302099a8057"]},
        "identity_conflict": {"id": ["01890a5d-ac96-774b-bcce-b302099a8057", "018f3c6e-7c11-7d2a-9a3e-2f6f1f0b5c33"]},
    }
    example: Doc = {"status": "error", "message": CODES[status][code], "data": None, "code": code}
    if code in errors:
        example["errors"] = errors[code]
    return {**example, "request_id": "018f3c6e-7c11-7d2a-9a3e-2f6f1f0b5c33"}
