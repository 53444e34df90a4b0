"""The OpenAPI document and the page that shows it."""

import gzip
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import flask_smorest
import flask_swagger_ui
import orjson
from apispec.ext.marshmallow import MarshmallowPlugin, OpenAPIConverter
from flask import Flask, Response, request, send_from_directory

from contacts_service import __version__
from contacts_service.web.auth import SECURITY_SCHEMES
from contacts_service.web.observability import CONTENT_SECURITY_POLICY
from contacts_service.web.operation_docs import curl_command
from contacts_service.web.parser import IdConverter, TextConverter
from schemas.envelope import ErrorAnswer
from schemas.fields import Choice

DESCRIPTION = """
Who the people are that a business talks to over WhatsApp, who looks after them, and what the chatbot collected.

Every JSON answer has one envelope: `{"status": "success", "data": …}`, or for an error
`{"status": "error", "message": …, "data": null, "code": …, "errors": {field: [text]}, "request_id": …}`.
Act on `code`; `message` is for people.

Send a key as `X-API-Key: …` or `Authorization: Bearer …`; while none exists, callers on the service's own machine need
none. A key has scopes and may be limited to accounts: then things of other accounts don't exist for it.

Send a POST again with the same `Idempotency-Key` when you don't know what became of it. Send `If-Match` with the ETag
of what you have read, so that you don't write over what others wrote meanwhile. After a 503 wait `Retry-After` seconds.

A caller ignores fields that it doesn't know. Times are RFC 3339 in UTC,
ids are UUIDs. Unknown query parameters and body fields are refused.
"""
SWAGGER_UI_FILES = Path(flask_swagger_ui.__file__).parent / "dist"
PAGE_FILES = Path(__file__).parent / "docs_page"
_INFO = {
    "description": DESCRIPTION,
    "contact": {"name": "The maintainers of the contacts service"},
    "license": {"name": "MIT", "identifier": "MIT"},
}
PAGE_POLICY = (  # Swagger UI styles elements.
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _Converter(OpenAPIConverter):
    """Documents what a schema says beside its fields (docstring, EXAMPLE, Meta.json_schema), each Choice by name."""

    def field2property(self, field: Any) -> dict[str, Any]:
        described: dict[str, Any] = super().field2property(field)
        if isinstance(field, Choice):
            self.spec.components.schemas[field.set_name] = {"type": "string", "enum": field.words}
            reference = {"$ref": f"#/components/schemas/{field.set_name}"}
            named = {"anyOf": [reference, {"type": "null"}]} if field.allow_none else reference
            described = {**named, **{key: described[key] for key in described.keys() & {"description"}}}
        if "example" in described:  # The page would fill in all parameters with it, also those that exclude each other.
            described["examples"] = [described.pop("example")]
        return described

    def schema2jsonschema(self, schema: Any) -> dict[str, Any]:
        described: dict[str, Any] = super().schema2jsonschema(schema)
        cls = _class_of(schema)
        if "__doc__" in vars(cls) and cls.__doc__:
            described["description"] = cls.__doc__.partition("\n")[0]
        if hasattr(cls, "EXAMPLE"):
            described["examples"] = [cls.EXAMPLE]
        for base in reversed(cls.__mro__):
            described |= getattr(vars(base).get("Meta"), "json_schema", {})
        return described


class _Plugin(MarshmallowPlugin):
    Converter = _Converter


def create_api(app: Flask) -> flask_smorest.Api:
    """Serve ``/openapi.json`` and ``/docs``, and return what blueprints register with."""
    app.config.update(
        API_TITLE="Contacts",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        API_SPEC_OPTIONS={
            "info": _INFO,
            "servers": [{"url": "/"}],
            "components": {"securitySchemes": SECURITY_SCHEMES},
        },
    )
    app.add_url_rule("/docs", "docs_page", partial(docs_file, "index.html"))
    app.add_url_rule("/docs/<path:filename>", view_func=docs_file)
    app.url_map.converters |= {"id": IdConverter, "text": TextConverter}
    plugin = _Plugin(schema_name_resolver=lambda schema: _class_of(schema).__name__)
    api = _Api(app, spec_kwargs={"marshmallow_plugin": plugin})
    api.register_converter(IdConverter, lambda _: {"type": "string", "format": "uuid"})
    return api


class _Api(flask_smorest.Api):
    ERROR_SCHEMA = ErrorAnswer
    DEFAULT_ERROR_RESPONSE_NAME = None  # Each operation lists its errors one by one.

    def _register_error_handlers(self) -> None:
        """Leave errors to the project's own handlers."""

    def _register_pagination_header(self) -> None:
        """Leave it out of the document: pages are described in the body."""

    @cached_property
    def _document(self) -> dict[str, bytes]:
        """The document by content encoding, built by the first request."""
        document = self.spec.to_dict()
        for path, described in document["paths"].items():
            for method in described.keys() - {"parameters"}:
                source = curl_command(method, path, described[method], described.get("parameters", []))
                described[method]["x-codeSamples"] = [{"lang": "Shell", "source": source}]
        written = orjson.dumps(document)
        return {"identity": written, "gzip": gzip.compress(written)}

    def _openapi_json(self) -> Response:
        encoding = "gzip" if request.accept_encodings["gzip"] else "identity"
        response = Response(self._document[encoding], mimetype="application/json", headers={"Vary": "Accept-Encoding"})
        if encoding != "identity":
            response.content_encoding = encoding
        response.add_etag()
        response.make_conditional(request)
        return response


def docs_file(filename: str) -> Response:
    is_ours = filename in {"index.html", "docs.js"}
    folder, max_age = (PAGE_FILES, None) if is_ours else (SWAGGER_UI_FILES, 3600)
    response = send_from_directory(folder, filename, max_age=max_age)
    response.headers[CONTENT_SECURITY_POLICY] = PAGE_POLICY
    return response


def _class_of(schema: Any) -> Any:
    return schema if isinstance(schema, type) else type(schema)
