"""Commands that import and export contacts: ``flask --app wsgi contacts …``, as over HTTP."""

import errno
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

import click
from flask.cli import AppGroup
from marshmallow import ValidationError

from contacts_service.cli import with_database
from contacts_service.db import migrations
from contacts_service.errors import InvalidRequest
from contacts_service.transfer import use_cases
from contacts_service.transfer.batch import Errors, Row
from contacts_service.transfer.export_queries import PAGE
from contacts_service.transfer.reading import CsvFile, NdjsonFile
from contacts_service.transfer.writing import RejectedRows, as_csv, as_ndjson, error_text
from schemas.contact_list import ContactFilters
from schemas.contact_transfer import ON_MATCH, ImportQuery

_SHOWN = 10  # Rejected rows, without a file for them.
contacts = AppGroup("contacts", help="Import and export contacts.")
_format = click.option(
    "--format", "file_format", type=click.Choice(["csv", "ndjson"]), help="By default NDJSON if FILE ends so, else CSV."
)


class _Counted(io.RawIOBase):
    """A file that tells how many bytes of it were read."""

    def __init__(self, file: Any, on_read: Callable[[int], None]) -> None:
        self._file, self._on_read = file, on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = int(self._file.readinto(buffer))
        self._on_read(size)
        return size


@contacts.command("import")
@click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@_format
@click.option("--on-match", type=click.Choice(ON_MATCH), default=ON_MATCH[0], help="What becomes of existing contacts.")
@click.option("--account", "account_id", help="The account (UUID) of rows that name none.")
@click.option("--dry-run", is_flag=True, help="Count what would happen, and write nothing.")
@click.option(
    "--rejected",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write rejected rows there as CSV, with a last column error. It may be the imported file itself.",
)
@with_database
def import_contacts(path: str, file_format: str | None, rejected: str | None, **given: Any) -> None:
    """Import contacts from FILE, or from standard input with -. The same file may be imported again."""
    migrations.upgrade()
    query = {name: str(value).lower() for name, value in given.items() if value is not None}
    size = 0 if path == "-" else Path(path).stat().st_size
    with (
        click.open_file(path, "rb") as opened,
        _written(rejected) if rejected else nullcontext() as rejected_file,
        click.progressbar(length=size or 1, label="importing", file=sys.stderr) as bar,
    ):
        body = _Counted(opened, bar.update)
        shown: list[str] = []
        try:
            options = ImportQuery().load(query)
            file = NdjsonFile(body) if _is_ndjson(path, file_format) else CsvFile(body)
            rows = RejectedRows(file, rejected_file) if rejected_file else None

            def reject(row: Row, errors: Errors) -> None:
                if rows:
                    rows.add(row, errors)
                elif len(shown) < _SHOWN:
                    shown.append(f"row {row.number}: {error_text(errors)}")

            counts = use_cases.import_contacts(file, reject, allowed_accounts=None, **options)
        except (InvalidRequest, ValidationError) as error:
            raise click.ClickException(_text_of(error)) from error
    click.echo(", ".join(f"{counts[name]} {name}" for name in ("rows", *use_cases.OUTCOMES)))
    click.echo("\n".join(shown), err=True, nl=bool(shown))
    if failed := counts["failed"]:
        raise click.ClickException(f"{failed} of {counts['rows']} rows {'were' if failed > 1 else 'was'} not imported.")


@contacts.command("export")
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@_format
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="A filter of the list; repeatable.")
@with_database
def export_contacts(path: str, file_format: str | None, filters: tuple[str, ...]) -> None:
    """Export contacts to FILE, or to standard output with -."""
    migrations.upgrade()
    is_ndjson = _is_ndjson(path, file_format)
    given = [each.partition("=")[::2] for each in filters]
    repeated = {name: ["Given more than once."] for name, _ in given if [each for each, _ in given].count(name) > 1}
    if repeated:
        raise click.ClickException(error_text(repeated))
    try:
        query = ContactFilters().load(dict(given))
        total, pages = use_cases.export_contacts(None, **query)
    except (InvalidRequest, ValidationError) as error:
        raise click.ClickException(_text_of(error)) from error
    with (
        _written(path) as file,
        click.progressbar(pages, length=-(-total // PAGE) or 1, label="exporting", file=sys.stderr) as bar,
    ):
        for chunk in as_ndjson(bar) if is_ndjson else as_csv(bar):
            file.write(chunk)


@contextmanager
def _written(path: str) -> Iterator[IO[bytes]]:
    """Open a file that is replaced only once it is written whole; a pipe, a device or ``-`` is written as it comes."""
    target = Path(os.path.realpath(path))
    is_stream = path == "-" or (target.exists() and not target.is_file())
    part = target if is_stream else target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with click.open_file("-" if path == "-" else str(part), "wb") as file:
            yield file
            file.flush()
        if not is_stream:
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)
    except OSError as error:
        if error.errno == errno.EPIPE:  # Click ends quietly.
            raise
        raise click.ClickException(f"{path}: {error.strerror or error}") from error
    finally:
        if not is_stream:
            part.unlink(missing_ok=True)


def _is_ndjson(path: str, file_format: str | None) -> bool:
    return (file_format or Path(path).suffix.lstrip(".").lower()) in {"ndjson", "jsonl"}


def _text_of(error: InvalidRequest | ValidationError) -> str:
    messages = error.errors if isinstance(error, InvalidRequest) else error.messages_dict
    return error_text({name: [str(text) for text in texts] for name, texts in (messages or {}).items()})
