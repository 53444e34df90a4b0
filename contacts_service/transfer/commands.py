"""Commands that import and export contacts: ``flask --app wsgi contacts …``, as over HTTP."""

import click
from flask.cli import AppGroup

contacts = AppGroup("contacts", help="Import and export contacts.")
_FORMAT = click.option(
    "--format", "chosen", type=click.Choice(["csv", "ndjson"]), help="By default by the FILE's name."
)
