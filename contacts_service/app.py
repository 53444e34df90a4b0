"""Wires the service together: the only file that knows all of it."""

import re

import uuid_utils
from flask import Flask, Response, g, request

from contacts_service.api import contacts, flows, health, messages, sessions
from contacts_service.api.errors import register_error_handlers
from contacts_service.api.openapi import create_api
from contacts_service.cli import db, keys
from contacts_service.errors import Unavailable
from contacts_service.models.database import connect
from contacts_service.services import schema
from contacts_service.services.keys import Keyring
from contacts_service.settings import Settings

LARGEST_BODY = 1024 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")


def create_app(settings: Settings | None = None) -> Flask:
    """Make the WSGI application. The database is opened by the first request, or by ``prepare`` before it.

    Peewee's models belong to one database, so a process has one application at a time.
    """
    connect(settings or Settings.from_environment())
    app = Flask("contacts_service", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=LARGEST_BODY, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.url_map.merge_slashes = False  # Werkzeug would answer a doubled slash with an HTML redirect.
    app.before_request(_take_request_id)
    app.before_request(_migrate)
    app.after_request(_answer_request_id)
    app.extensions["keyring"] = Keyring()
    register_error_handlers(app)
    api = create_api(app)
    for noun in (contacts, messages, sessions, flows, health):
        api.register_blueprint(noun.blueprint)
    app.cli.add_command(db)
    app.cli.add_command(keys)
    return app


def prepare(app: Flask) -> None:
    """Bring the database up to date before the first request. When it is away, a later request does."""
    try:
        schema.upgrade()
        if app.extensions["keyring"].is_empty():
            app.logger.warning("no API key exists: only callers on this machine are answered (see flask keys create)")
    except Unavailable as error:
        app.logger.warning("starting without the database: %s", error.fault)


def _migrate() -> None:
    if not schema.is_current() and _needs_database():
        schema.upgrade()


def _needs_database() -> bool:
    """Tell whether the request is one of the API's own: not /healthz, not the documentation, not an unknown path."""
    return request.blueprint not in {None, "api-docs"} and request.endpoint != "health.healthz"


def _take_request_id() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid_utils.uuid7())


def _answer_request_id(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    return response
