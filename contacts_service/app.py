"""Wires the service together: the only file that knows all of it."""

from collections.abc import Callable
from typing import Any

from flask import Flask, request

from contacts_service.api import contacts, flows, health, messages, metrics, sessions
from contacts_service.api.errors import register_error_handlers
from contacts_service.api.openapi import create_api
from contacts_service.api.request_log import observe_requests
from contacts_service.api.security import secure_answers
from contacts_service.cli import db, keys
from contacts_service.errors import Unavailable
from contacts_service.models.database import connect
from contacts_service.services import schema
from contacts_service.services.keys import Keyring
from contacts_service.settings import Settings

LARGEST_BODY = 1024 * 1024


class _Service(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function itself: none is a coroutine, and Flask would look at each for every request."""
        return func


def create_app(settings: Settings | None = None) -> Flask:
    """Make the WSGI application. The database is opened by the first request, or by ``prepare`` before it.

    Peewee's models belong to one database, so a process has one application at a time.
    """
    connect(settings or Settings.from_environment())
    app = _Service("contacts_service", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=LARGEST_BODY, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.url_map.merge_slashes = False  # Werkzeug would answer a doubled slash with an HTML redirect.
    observe_requests(app)
    secure_answers(app)
    app.before_request(_migrate)
    app.extensions["keyring"] = Keyring()
    register_error_handlers(app)
    api = create_api(app)
    for noun in (contacts, messages, sessions, flows, health):
        api.register_blueprint(noun.blueprint)
    app.register_blueprint(metrics.blueprint)
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
    finally:
        schema.disconnect()  # The threads that answer requests have connections of their own.


def _migrate() -> None:
    if not schema.is_current() and _needs_database():
        schema.upgrade()


def _needs_database() -> bool:
    """Tell whether the request is one of the API's own: not /healthz, /metrics, the documentation, an unknown path."""
    return request.blueprint not in {None, "api-docs", "metrics"} and request.endpoint != "health.healthz"
