"""Wires the service together: the only module that knows all of it."""

from functools import cache

from flask import Flask, request

from contacts_service.cli import db, keys
from contacts_service.contacts import views as contacts
from contacts_service.db import migrations
from contacts_service.db.database import close_connection, connect, database
from contacts_service.errors import Unavailable
from contacts_service.flows import views as flows
from contacts_service.keys.keyring import Keyring
from contacts_service.merges import views as merges
from contacts_service.messages import views as messages
from contacts_service.sessions import views as sessions
from contacts_service.settings import MAX_BODY_BYTES, Settings
from contacts_service.web import health
from contacts_service.web.error_handlers import register_error_handlers
from contacts_service.web.observability import observe_requests
from contacts_service.web.openapi import create_api


def create_app(settings: Settings | None = None) -> Flask:
    """Make the WSGI application. The database is opened by the first request, or by ``prepare`` before it.

    Peewee's models belong to one database, so a process has one application at a time.
    """
    connect(settings or Settings.from_environment())
    app = Flask("contacts_service", static_folder=None)
    # Flask and flask-smorest ask about ten times per request whether a function is a coroutine: 5 of 300 µs of a get.
    app.ensure_sync = cache(app.ensure_sync)  # type: ignore[method-assign]
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.url_map.merge_slashes = False  # Werkzeug would answer a doubled slash with an HTML redirect.
    observe_requests(app)
    app.before_request(_migrate)
    app.extensions["keyring"] = Keyring()
    register_error_handlers(app)
    api = create_api(app)
    for resource in (contacts, merges, messages, sessions, flows, health):
        api.register_blueprint(resource.blueprint)
    app.register_blueprint(health.metrics_blueprint)
    app.cli.add_command(db)
    app.cli.add_command(keys)
    return app


def prepare(app: Flask) -> None:
    """Bring the database up to date before the first request. If it is away, a later request does."""
    try:
        migrations.upgrade()
        if app.extensions["keyring"].is_empty():
            app.logger.warning("no API key exists: only callers on this machine are answered (see flask keys create)")
    except Unavailable as error:
        app.logger.warning("starting without the database: %s", error.fault)
    finally:
        close_connection()  # The threads that answer requests have connections of their own.


def _migrate() -> None:
    """Migrate before an operation of the API: not for /healthz, /metrics, the documentation or an unknown path."""
    if database.is_migrated:
        return
    if request.blueprint not in {None, "api-docs", "metrics"} and request.endpoint != "health.healthz":
        migrations.upgrade()
