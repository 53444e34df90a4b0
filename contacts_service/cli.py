"""Commands for an operator: ``flask --app wsgi db …``, ``… keys …`` and ``… retention …``."""

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext
from marshmallow import ValidationError

from contacts_service.changes.queries import renew
from contacts_service.changes.use_cases import renew_feed
from contacts_service.contacts.derived import fill_counts, fill_search_index
from contacts_service.db import migrations
from contacts_service.db.copy import CopyRefused, copy_database
from contacts_service.db.database import database
from contacts_service.errors import Unavailable
from contacts_service.keys import keyring
from contacts_service.privacy.retention import Retention, apply_retention, count_contacts, erase_files
from contacts_service.settings import InvalidSetting, Settings
from contacts_service.web.auth import SCOPES
from contacts_service.web.observability import printable
from schemas.fields import UtcDateTime, canonical_uuid, why_not_storable

_NAME_WIDTH = 80
_DERIVED = {"contact_count": fill_counts, "contact_search": fill_search_index, "change_feed": renew}
db = AppGroup("db", help="Maintain the database.")
keys = AppGroup("keys", help="Make, list and revoke API keys.")


def with_database(command: Callable[..., None]) -> Callable[..., None]:
    """Say which database the command works on, and in one line why it can't be used."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # A terminal may lack letters.
        click.echo(f"Database: {current_app.config['DATABASE_NAME']}", err=True)
        if database.kind == "sqlite" and not database.path.exists():
            click.echo(
                "Warning: this file is new. A service with another DATABASE_URL won't see what it holds.", err=True
            )
        try:
            command(*args, **kwargs)
        except Unavailable as error:
            raise click.ClickException(f"{error} ({error.details})") from error

    return run


@db.command("upgrade")
@with_database
def upgrade() -> None:
    """Apply the migrations that are missing. The service does the same when it starts."""
    for name in migrations.upgrade():
        click.echo(f"applied {name}")
    click.echo("The database is up to date.")


@db.command("restored")
@with_database
def restored() -> None:
    """Run this after a backup was restored: readers of the change feed begin again, and miss nothing."""
    migrations.upgrade()
    renew_feed()
    click.echo("Tokens of the change feed from before are void.")


def _settings(_: click.Context, __: click.Parameter, url: str) -> Settings:
    try:
        return Settings(database_url=url)
    except InvalidSetting as error:
        raise click.BadParameter(str(error).removeprefix("DATABASE_URL ")) from error


@db.command("copy")
@click.option("--to", "target", required=True, callback=_settings, help="As DATABASE_URL; must be empty.")
@with_database
def copy(target: Settings) -> None:
    """Copy everything into another, empty database. Stop the service first. Repeat it if it was interrupted."""
    migrations.upgrade()
    click.echo(f"Target: {target.database_name}", err=True)
    try:
        is_in_use = copy_database(target, _DERIVED, partial(click.progressbar, file=sys.stderr))
    except CopyRefused as error:
        raise click.ClickException(str(error)) from error
    click.echo("Everything is copied and checked. Readers of the change feed begin again.")
    if is_in_use:
        click.echo("Warning: the copied database is in use. What was written meanwhile isn't in the copy.", err=True)


def _name(_: click.Context, __: click.Parameter, value: str) -> str:
    if problem := why_not_storable(value):
        raise click.BadParameter(problem)
    return value


def _account(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[str]:
    accounts = [canonical_uuid(value) for value in values]
    if None in accounts:
        raise click.BadParameter("not a UUID")
    return [account for account in accounts if account]


def _future_time(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        parsed: datetime = UtcDateTime().deserialize(value)
    except ValidationError as error:
        raise click.BadParameter(error.messages[0]) from error
    if parsed <= datetime.now(UTC):
        raise click.BadParameter("in the past")
    return parsed


@keys.command("create")
@click.argument("name", callback=_name)
@click.option(
    "--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="What it is for; repeatable."
)
@click.option(
    "--account", "accounts", multiple=True, callback=_account, help="Limit it to this account (UUID); repeatable."
)
@click.option("--expires", "expires_at", callback=_future_time, help="When it expires, such as 2030-01-01T00:00:00Z.")
@with_database
def create_key(name: str, scopes: tuple[str, ...], accounts: list[str], expires_at: datetime | None) -> None:
    """Make a key for the program NAME and print it, for the only time."""
    migrations.upgrade()
    scopes = tuple(dict.fromkeys(scopes))
    click.echo(keyring.create_key(name, scopes=list(scopes), accounts=accounts or None, expires_at=expires_at))


@keys.command("list")
@with_database
def list_keys() -> None:
    """Print each key's prefix, state, scopes, accounts and name."""
    migrations.upgrade()
    for key in keyring.list_keys():
        accounts = "all accounts" if key["accounts"] is None else ",".join(key["accounts"])
        # The name is last, as it may be in a script that is written from the right.
        name = printable(key["name"])
        name = name if len(name) <= _NAME_WIDTH else f"{name[:_NAME_WIDTH]}..."
        click.echo(f"{key['prefix']}  {_state(key)}  {','.join(key['scopes'])}  {accounts}  {name}")


@keys.command("revoke")
@click.argument("prefix")
@with_database
def revoke_key(prefix: str) -> None:
    """Revoke the key with this PREFIX, the part between its underscores. It stops working within five seconds."""
    migrations.upgrade()
    if not keyring.revoke_key(prefix):
        raise click.ClickException(f"No key has the prefix {prefix}.")
    click.echo(f"revoked {prefix}")


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"]:
        return f"revoked {key['revoked_at']:%Y-%m-%dT%H:%M:%SZ}"
    if key["expires_at"]:
        tense = "expired" if key["expires_at"] <= datetime.now(UTC) else "expires"
        return f"{tense} {key['expires_at']:%Y-%m-%dT%H:%M:%SZ}"
    return "active"


def _age(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    if not (found := re.fullmatch("([1-9][0-9]{0,4})([dh])", value)):
        raise click.BadParameter(f"{value!r} is no number of days or hours from 1 to 99999, such as 180d or 12h")
    return datetime.now(UTC) - int(found[1]) * timedelta(**{{"d": "days", "h": "hours"}[found[2]]: 1})


@click.command("retention")
@click.option("--messages", callback=_age, metavar="AGE", help="Delete messages written longer ago, such as 180d.")
@click.option("--content-only", is_flag=True, help="Keep the messages, without their content.")
@click.option("--sessions", callback=_age, metavar="AGE", help="Delete sessions last changed longer ago.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@with_appcontext
@with_database
def retention(messages: datetime | None, sessions: datetime | None, *, content_only: bool, dry_run: bool) -> None:
    """Delete what is older than AGE, a number of days (180d) or hours (12h). It may be interrupted and repeated."""
    if not messages and not (sessions and not content_only):
        raise click.UsageError("Say --messages AGE, or --sessions AGE without --content-only.")
    migrations.upgrade()
    counts = [0, 0]
    with click.progressbar(length=count_contacts(), label="contacts", file=sys.stderr) as bar:
        for done in apply_retention(Retention(messages, sessions, content_only), dry_run=dry_run):
            bar.update(done.contacts)
            counts = [counts[0] + done.messages, counts[1] + done.sessions]
    if not dry_run:
        with click.progressbar(length=100, label="database files", file=sys.stderr) as bar:
            for share in erase_files():
                bar.update(int(share * 100) - bar.pos)
    what = f"{counts[0]} {'contents of messages' if content_only else 'messages'} and {counts[1]} sessions"
    click.echo(f"{what} {'would be' if dry_run else 'were'} deleted.")
