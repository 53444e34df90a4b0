"""The OpenAPI document and the page that shows it."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import flask_smorest
import flask_swagger_ui
from apispec.ext.marshmallow import MarshmallowPlugin, OpenAPIConverter
from flask import Flask, Response, request, send_from_directory

from contacts_service import __version__
from contacts_service.web.auth import SECURITY_SCHEMES
from contacts_service.web.observability import CONTENT_SECURITY_POLICY
from contacts_service.web.parser import IdConverter
from schemas.envelope import Error
from schemas.examples import CONTACT_ID

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


_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


class _Converter(OpenAPIConverter):
    """Documents what a schema says beside its fields: docstring, EXAMPLE, Meta.json_schema."""

    def schema2jsonschema(self, schema: Any) -> dict[str, Any]:
        described: dict[str, Any] = super().schema2jsonschema(schema)
        cls = _class_of(schema)
        if "__doc__" in vars(cls) and cls.__doc__:
            described["description"] = cls.__doc__.partition("\n")[0]
        if hasattr(cls, "EXAMPLE"):
            described["examples"] = [cls.EXAMPLE]
        return {**described, **getattr(cls.Meta, "json_schema", {})}


class _Plugin(MarshmallowPlugin):
    Converter = _Converter


def create_api(app: Flask) -> flask_smorest.Api:
    """Serve ``/openapi.json`` and ``/docs``, and return what blueprints register with."""
    app.config.update(
        API_TITLE="Contacts",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_SWAGGER_UI_PATH="/docs",
        OPENAPI_SWAGGER_UI_URL="/docs/",
        OPENAPI_SWAGGER_UI_CONFIG={"deepLinking": True, "validatorUrl": None},
        API_SPEC_OPTIONS={
            "info": {"description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
            "servers": [{"url": "/"}],
            "components": {"securitySchemes": SECURITY_SCHEMES},
        },
    )
    app.add_url_rule("/docs/<path:filename>", view_func=swagger_ui_file)
    app.after_request_funcs["api-docs"].append(allow_page)  # flask-smorest's blueprint of the documentation.
    app.url_map.converters["id"] = IdConverter
    api = _Api(app, spec_kwargs={"marshmallow_plugin": _Plugin(schema_name_resolver=_schema_name)})
    api.register_converter(IdConverter, lambda _: {"type": "string", "format": "uuid", "example": CONTACT_ID})
    return api


class _Api(flask_smorest.Api):
    ERROR_SCHEMA = Error
    DEFAULT_ERROR_RESPONSE_NAME = None  # Each operation lists its errors one by one.

    def _register_error_handlers(self) -> None:
        """Leave errors to the project's own handlers."""

    def _register_pagination_header(self) -> None:
        """Leave it out of the document: pages are described in the body."""


def swagger_ui_file(filename: str) -> Response:
    return allow_page(send_from_directory(SWAGGER_UI_FILES, filename, max_age=3600))


def _schema_name(schema: Any) -> str:
    return _class_of(schema).__name__


def _class_of(schema: Any) -> Any:
    return schema if isinstance(schema, type) else type(schema)


def allow_page(response: Response) -> Response:
    """Allow a page of the documentation its own files and the very script that it holds. Swagger UI styles elements."""
    if request.path.startswith("/docs"):
        page = response.get_data() if response.mimetype == "text/html" else b""
        hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE_SCRIPT.findall(page)]
        scripts = " ".join(f"'sha256-{each}'" for each in hashes)
        response.headers[CONTENT_SECURITY_POLICY] = (
            f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    return response
