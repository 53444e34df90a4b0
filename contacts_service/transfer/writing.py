"""Writes exports, and the rows that an import rejects."""

import csv
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from operator import itemgetter
from typing import IO, Any

from contacts_service.contacts.tables import ALL_COLUMNS
from contacts_service.db.fields import JSONText
from contacts_service.errors import NoTemporarySpace
from contacts_service.transfer.batch import Errors, Row
from contacts_service.transfer.cells import RISKY, protect
from contacts_service.web.envelope import encode
from schemas.contact_transfer import MAX_REJECTED

COLUMNS = [*[column.name for column in ALL_COLUMNS], "service_window_open", "service_window_expires_at"]
_IN_MEMORY = 1024 * 1024


def as_ndjson(pages: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    """One JSON object a line."""
    for page in pages:
        yield b"".join([encode(contact) + b"\n" for contact in page])


def as_csv(pages: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    """RFC 4180, in UTF-8, with a header."""
    yield (",".join(COLUMNS) + "\r\n").encode()
    for page in pages:
        columns = [*zip(*map(_VALUES, page), strict=True)]
        for at, write in _CELLS if page else ():
            columns[at] = tuple([write(value) for value in columns[at]])
        text = io.StringIO()
        csv.writer(text).writerows(zip(*columns, strict=True))
        yield text.getvalue().encode()


def _protected(text: str | None) -> str | None:
    return protect(text) if text and text[0] in RISKY else text


def _tags(tags: JSONText) -> str:
    return "" if tags == "[]" else protect(",".join(tags.parsed()))


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _time(value: datetime | None) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None


_VALUES = itemgetter(*COLUMNS)
_WRITTEN: dict[str, Callable[[Any], str | None]] = {
    **dict.fromkeys(
        ("external_id", "username", "name", "profile_name", "avatar_url", "last_message_preview"), _protected
    ),
    **dict.fromkeys(("marketing_opt_out", "service_window_open"), _boolean),
    **{name: _time for name in COLUMNS if name.endswith("_at")},
    "tags": _tags,
}
_CELLS = [(COLUMNS.index(name), write) for name, write in _WRITTEN.items()]


class RejectedRows:
    """The rows that an import rejects: the first of them for JSON, or all as CSV with a last column ``error``.

    Adding one raises NoTemporarySpace.
    """

    def __init__(
        self, header: list[str] | None = None, delimiter: str = ",", *, has_mark: bool = False, file: Any = None
    ) -> None:
        self.first: list[dict[str, Any]] = []
        self.file: IO[bytes] = file or tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        self._delimiter = delimiter
        self._width = len(header or ())
        if header is not None:
            self.file.write(b"\xef\xbb\xbf" * has_mark)
            self._write([*header, "error"])

    def add(self, row: Row, errors: Errors) -> None:
        if not self._width:
            if len(self.first) < MAX_REJECTED:
                self.first.append({"row": row.number, "errors": errors})
            return
        cells = [*row.source, *[""] * (self._width - len(row.source))][: self._width]
        self._write([*cells, error_text(errors)])

    def _write(self, cells: list[str]) -> None:
        text = io.StringIO()
        csv.writer(text, delimiter=self._delimiter).writerow(cells)
        try:
            self.file.write(text.getvalue().encode(errors="replace"))
        except OSError as error:
            raise NoTemporarySpace(str(error)) from error


def error_text(errors: Errors) -> str:
    return " ".join(f"{name}: {' '.join(texts)}" for name, texts in errors.items())
