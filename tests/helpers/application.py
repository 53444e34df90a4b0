"""The application on any database, in this process."""

from functools import cache

from flask import Flask

from contacts_service.app import create_app, prepare
from contacts_service.db.database import close_connection, connect
from contacts_service.keys.keyring import Keyring
from contacts_service.settings import Settings


@cache
def _application() -> Flask:
    return create_app(Settings(database_url="sqlite:///never-opened.db"))


def start(url: str) -> Flask:
    """Start the application on a database. It is made once: documenting its operations takes longer than most tests."""
    close_connection()
    application = _application()
    connect(Settings(database_url=url))
    application.extensions["keyring"] = Keyring()
    prepare(application)
    return application
