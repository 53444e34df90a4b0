"""The project's Blueprint: its decorators document the envelope, the errors and the examples by themselves."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import flask_smorest
from flask import Request, current_app, request
from marshmallow import Schema, fields

from contacts_service.db.database import database
from contacts_service.errors import NotAcceptable
from contacts_service.web import operation_docs as docs
from contacts_service.web.auth import authenticate
from contacts_service.web.idempotency import idempotent
from contacts_service.web.parser import RequestParser, invalid_request, read_query, require_known_conditions
from contacts_service.web.request_buffer import STREAMED
from schemas.envelope import Answer, null_field
from schemas.examples import CONTACT_ID, FLOW_ID, MESSAGE_ID, OTHER_CONTACT_ID
from schemas.fields import Choice

_EXAMPLE_IDS = {"contact": CONTACT_ID, "flow": FLOW_ID, "merge": OTHER_CONTACT_ID, "message": MESSAGE_ID}
_JSON = ("application/json",)
_COMMON_ACCEPTS = {"*/*", "application/json"}  # Sent by most clients; they need no parsing.


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose views return ``success(…)`` and whose operations are named after their functions."""

    ARGUMENTS_PARSER = RequestParser()

    def __init__(self, name: str, import_name: str, *, is_open: bool = False, **kwargs: Any) -> None:
        super().__init__(name, import_name, **kwargs)
        own = () if is_open else (docs.document_security,)
        first = (docs.document_merge_patch, docs.document_idempotency, docs.document_etags)
        self._prepare_doc_cbks.extend((*first, *own, docs.document_errors))
        self._is_open = is_open
        self._without_query: set[str] = set()
        self._conditions: dict[str, tuple[str, ...]] = {}
        self._produces: dict[str | None, tuple[str, ...]] = {}
        self.before_request(self._check)

    def route(
        self, rule: str, *, is_streamed: bool = False, produces: tuple[str, ...] = _JSON, **options: Any
    ) -> Callable[..., Any]:
        """Register a view; ``<id:id>`` in the rule is the id of what the part before it names, as are other ids.

        A view that is streamed reads its body as it comes, and takes no Idempotency-Key. ``produces`` are the media
        types that it answers with; errors are always JSON.
        """
        if is_streamed:
            STREAMED.update(f"{method} {self.url_prefix}{rule}".encode() for method in options["methods"])
        options["parameters"] = [
            {
                "name": name,
                "in": "path",
                "description": f"The id of the {entity}; in capitals it is the same.",
                "example": _EXAMPLE_IDS[entity],
            }
            for entity, name in re.findall(r"([a-z]+?)s?/<id:(\w+)>", f"{self.url_prefix}{rule}")
        ] + options.get("parameters", [])
        register = super().route(rule, **options)

        def decorate(view: Any) -> Any:
            documented = getattr(view, "_apidoc", {})  # Where flask-smorest keeps what decorators document.
            endpoint = f"{self.name}.{view.__name__}"
            parameters = documented.get("arguments", {}).get("parameters", [])
            if not any(parameter["in"] == "query" for parameter in parameters):
                self._without_query.add(endpoint)
            self._conditions[endpoint] = documented.get("manual_doc", {}).get("x-conditions", ())
            if produces != _JSON:
                self._produces[endpoint] = produces
            own = {**({"security": []} if self._is_open else {}), **({"x-streamed": True} if is_streamed else {})}
            view = self.doc(operationId=view.__name__, **own)(view)
            return register(idempotent(view) if options.get("methods") == ["POST"] and not is_streamed else view)

        return decorate

    def _check(self) -> None:
        """Check what surrounds the body before the view runs: the key, and what the request asks for."""
        current: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Not by proxy.
        if not self._is_open:
            if not database.is_migrated:
                current_app.extensions["upgrade"]()
            authenticate(current)
        if current.environ.get("HTTP_ACCEPT", "*/*") not in _COMMON_ACCEPTS or current.endpoint in self._produces:
            require_accepted(current, self._produces.get(current.endpoint, _JSON))
        if current.query_string and current.endpoint in self._without_query:
            raise invalid_request({name: ["Unknown field."] for name in read_query(current)} or _NO_QUERY)
        if current.method not in {"GET", "HEAD"}:
            require_known_conditions(current, self._conditions.get(current.endpoint or "", ()))

    @staticmethod
    def doc(**kwargs: Any) -> Callable[..., Any]:
        """Document a view without a function around it."""
        return _in_place(flask_smorest.Blueprint.doc(**kwargs))

    def conditional(self, *conditions: str) -> Callable[..., Any]:
        """Say that a view answers with an ETag, and which of If-Match and If-None-Match it heeds."""
        return self.doc(**{"x-conditions": conditions})

    def body(self, schema: type[Schema]) -> Callable[..., Any]:
        """Validate a JSON body and pass it to the view; the schema's EXAMPLE documents it."""
        return self.arguments(schema(), example=schema.EXAMPLE, error_status_code=400)  # type: ignore[attr-defined]

    def query(self, schema: type[Schema]) -> Callable[..., Any]:
        return self.arguments(schema(), location="query", error_status_code=400)

    def answers(
        self, status: int, schema: type[Schema] | None = None, description: str = "", **kwargs: Any
    ) -> Callable[..., Any]:
        """Document a success: the envelope around a schema and its EXAMPLE, or around null."""
        example = {"status": "success", "data": getattr(schema, "EXAMPLE", None)}
        document = self.alt_response(
            status, schema=_enveloped(schema), description=description or None, example=example, success=True, **kwargs
        )
        return _in_place(document)

    def fails(self, *codes: str) -> Callable[..., Any]:
        """Document the errors of the domain; those that every operation may have are documented without it."""
        # Wherever a contact is named it may have been merged into another.
        return self.doc(**{"x-codes": (*codes, "contact_merged") if "contact_not_found" in codes else codes})


def _in_place(document: Callable[..., Any]) -> Callable[..., Any]:
    """Leave out the function that a decorator of flask-smorest puts around a view only to hold its documentation.

    A get passes three of them, which take 3 µs.
    """

    def decorate(view: Any) -> Any:
        view._apidoc = document(view)._apidoc  # noqa: SLF001
        return view

    return decorate


_NO_QUERY = {"body": ["It takes no query."]}


def require_accepted(request: Request, produced: tuple[str, ...]) -> None:
    """Raise NotAcceptable unless one of the types is accepted; the most specific range counts (RFC 9110, 12.5.1)."""
    # Parameters such as charset don't make it another type.
    accepted = {name.partition(";")[0].strip().lower(): quality for name, quality in request.accept_mimetypes}
    for each in produced:
        ranges = (each, f"{each.partition('/')[0]}/*", "*/*")
        matching = [accepted[name] for name in ranges if name in accepted]
        if not accepted or (matching and matching[0]):
            return
    raise NotAcceptable(" or ".join(produced))


@cache  # apispec would document a schema made twice under two names.
def _enveloped(schema: type[Schema] | None) -> type[Schema]:
    data: fields.Field[Any] = fields.Nested(schema, required=True) if schema else null_field()
    status = Choice("SuccessStatus", ["success"], required=True)
    return Answer.from_dict({"status": status, "data": data}, name=f"{schema.__name__ if schema else 'Null'}Answer")
