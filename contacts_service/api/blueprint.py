"""The project's Blueprint: its decorators document the envelope, the errors and the examples by themselves."""

from collections.abc import Callable
from functools import cache, wraps
from inspect import unwrap
from typing import Any

import flask_smorest
from flask import Request, request
from marshmallow import Schema, fields, validate
from werkzeug.exceptions import NotAcceptable

from contacts_service.api.documentation import (
    document_errors,
    document_merge_patch,
    document_retries,
    document_security,
    document_versions,
)
from contacts_service.api.errors import InvalidRequest
from contacts_service.api.keys import authenticate
from contacts_service.api.parsing import body_reader, query_reader, read_query
from contacts_service.api.retries import retriable
from contacts_service.api.versions import refuse_conditions
from schemas.envelope import Answer

_COMMON_ACCEPTS = {"*/*", "application/json"}  # Of most clients: nothing has to be parsed.


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose views return ``success(…)`` and whose operations are named after their functions."""

    def __init__(self, name: str, import_name: str, *, is_open: bool = False, **kwargs: Any) -> None:
        super().__init__(name, import_name, **kwargs)
        self._prepare_doc_cbks.extend((document_merge_patch, document_retries, document_versions))
        if not is_open:
            self._prepare_doc_cbks.append(document_security)
        self._prepare_doc_cbks.append(document_errors)
        self._is_open = is_open
        self._without_query: set[str] = set()
        self._conditions: dict[str, tuple[str, ...]] = {}
        self.before_request(self._check)

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
            self._conditions[f"{self.name}.{view.__name__}"] = getattr(view, "conditions", ())
            documented = self.doc(operationId=view.__name__)(view)._apidoc  # noqa: SLF001 - Where flask-smorest has it.
            view = unwrap(view)
            if options.get("methods") == ["POST"]:
                view = retriable(view)
            view._apidoc = documented  # noqa: SLF001
            return register(view)

        return decorate

    def _check(self) -> None:
        """Look at what stands around the body, before the view does: who calls, and what is asked for."""
        current: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Not by proxy.
        if not self._is_open:
            authenticate(current)
        if current.environ.get("HTTP_ACCEPT", "*/*") not in _COMMON_ACCEPTS:
            _accepts_json(current)
        if current.query_string and current.endpoint in self._without_query:
            raise InvalidRequest({name: ["Unknown field."] for name in read_query(current)} or ["It takes no query."])
        if current.method not in {"GET", "HEAD"}:
            known = self._conditions.get(current.endpoint or "", ())
            refuse_conditions(current, known)

    def versioned(self, *conditions: str) -> Callable[..., Any]:
        """Say that a view answers with an ETag, and which of If-Match and If-None-Match it heeds."""

        def decorate(view: Any) -> Any:
            view.conditions = conditions
            return self.doc(**{"x-conditions": conditions})(view)

        return decorate

    def body(self, schema: type[Schema]) -> Callable[..., Any]:
        """Validate a JSON body and pass it to the view; the schema's EXAMPLE documents it."""
        document = self.arguments(schema(), example=schema.EXAMPLE, error_status_code=400)  # type: ignore[attr-defined]
        return _reading(document, body_reader(schema))

    def query(self, schema: type[Schema]) -> Callable[..., Any]:
        """Validate the query parameters and pass them to the view."""
        return _reading(self.arguments(schema(), location="query", error_status_code=400), query_reader(schema))

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


def _reading(document: Callable[..., Any], read: Callable[[Request], Any]) -> Callable[..., Any]:
    """Pass what is read of the request to the view, in front of what the path holds."""

    def decorate(view: Any) -> Any:
        # flask-smorest wraps a view for each thing that it documents; these wrappers do nothing but call each other.
        inner = unwrap(view)

        @wraps(inner)
        def with_input(**of_path: Any) -> Any:
            return inner(read(request), **of_path)

        del with_input.__wrapped__  # Or route(), which unwraps the view again, would take this off too.
        inner._apidoc = view._apidoc  # noqa: SLF001 - Where flask-smorest has it.
        with_input._apidoc = document(inner)._apidoc  # type: ignore[attr-defined]  # noqa: SLF001
        return with_input

    return decorate


def _accepts_json(request: Request) -> None:
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
