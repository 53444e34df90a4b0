"""Commands for an operator: ``flask --app wsgi db …``."""

import click
from flask.cli import AppGroup

from contacts_service.errors import Unavailable
from contacts_service.services import schema

db = AppGroup("db", help="Look after the database.")


@db.command("upgrade")
def upgrade() -> None:
    """Apply the migrations that are missing. The service does the same when it starts."""
    try:
        applied = schema.upgrade()
    except Unavailable as error:
        raise click.ClickException(f"{error} ({error.fault})") from error
    for name in applied:
        click.echo(f"applied {name}")
    click.echo("The database is up to date.")
