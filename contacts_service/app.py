"""Wires the service together: the only module that knows all of it."""

from functools import partial
from threading import Semaphore

from flask import Flask

from contacts_service.changes import views as changes
from contacts_service.cli import db, keys, retention
from contacts_service.contacts import views as contacts
from contacts_service.contacts_cli import contacts as contact_commands
from contacts_service.db import migrations
from contacts_service.db.database import close_connection, connect, database
from contacts_service.errors import Unavailable
from contacts_service.flows import views as flows
from contacts_service.keys.keyring import Keyring, create_first_key, list_keys
from contacts_service.merges import views as merges
from contacts_service.messages import views as messages
from contacts_service.privacy import views as privacy
from contacts_service.sessions import views as sessions
from contacts_service.settings import MAX_BODY_BYTES, InvalidSetting, Settings
from contacts_service.transfer import views as transfer
from contacts_service.web import health
from contacts_service.web.auth import SCOPES
from contacts_service.web.error_handlers import register_error_handlers
from contacts_service.web.observability import ObservedFlask
from contacts_service.web.openapi import create_api


def create_app(settings: Settings | None = None) -> Flask:
    """Make the WSGI application. The database is opened by the first request, or by ``prepare`` before it.

    Peewee's models belong to one database, so a process has one application at a time.
    """
    settings = settings or Settings.from_environment()
    connect(settings)
    app = ObservedFlask("contacts_service", static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.config.update(DATABASE_NAME=settings.database_name, IMPORT_LIMIT=settings.import_limit)
    app.config.update(REQUIRE_KEY=settings.require_key, FIRST_KEY=settings.first_key)
    app.url_map.merge_slashes = False  # Werkzeug would answer a doubled slash with an HTML redirect.
    app.extensions.update(keyring=Keyring(), upgrade=partial(_upgrade, app))
    app.extensions["stream_slots"] = Semaphore(max(1, settings.threads // 2))
    register_error_handlers(app)
    api = create_api(app)
    for resource in (contacts, transfer, changes, merges, messages, sessions, privacy, flows, health):
        api.register_blueprint(resource.blueprint)
    app.register_blueprint(health.metrics_blueprint)
    app.cli.add_command(db)
    app.cli.add_command(keys)
    app.cli.add_command(contact_commands)
    app.cli.add_command(retention)
    return app


def prepare(app: Flask, *, announce: bool = True) -> None:
    """Bring the database up to date before the first request. If it is away, a later request does.

    Of the processes of a service one announces what its operator should know. Raises InvalidSetting if the database
    can never serve.
    """
    keyring = app.extensions["keyring"]
    try:
        _upgrade(app)
        if announce and keyring.is_empty():
            answered = "no caller is" if app.config["REQUIRE_KEY"] else "only callers on this machine are"
            app.logger.warning("no API key exists: %s answered (see flask keys create, CONTACTS_FIRST_KEY)", answered)
        elif announce and (first := app.config["FIRST_KEY"]) and not keyring.knows(first):
            app.logger.warning("CONTACTS_FIRST_KEY is not valid: keys exist already, so it is not taken")
    except Unavailable as error:
        if isinstance(error.__cause__, InvalidSetting):
            raise error.__cause__ from None
        if announce:
            app.logger.warning("starting without the database: %s", error.details)
    finally:
        close_connection()  # The threads that answer requests have connections of their own.


def _upgrade(app: Flask) -> None:
    migrations.upgrade()
    if key := app.config["FIRST_KEY"]:
        try:
            if not list_keys():
                create_first_key(key, scopes=list(SCOPES))
        except Unavailable:
            database.obj.is_migrated = False  # The next request tries again.
            raise
