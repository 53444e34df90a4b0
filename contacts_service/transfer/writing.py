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
from contacts_service.transfer.reading import UNDECODABLE, CsvFile, NdjsonFile
from contacts_service.web.envelope import encode

COLUMNS = [*[column.name for column in ALL_COLUMNS], "service_window_open", "service_window_expires_at"]
_IN_MEMORY = 1024 * 1024
_ERROR = "error"


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
    """The rows that an import rejects, as they came, as CSV with a last column ``error``.

    They are written to ``output``, or to a temporary file, for which there may be NoTemporarySpace.
    """

    def __init__(self, source: CsvFile | NdjsonFile, output: IO[bytes] | None = None) -> None:
        self.file = output or _TemporaryFile(_IN_MEMORY)
        self._delimiter = source.delimiter
        self._width = len(source.header)
        # A file that was rejected before has the column; what it said of the row then is left out.
        self._told = source.header.index(_ERROR) if _ERROR in source.header else None
        self.file.write(source.preamble.encode())
        self._write(source.header, _ERROR)

    def add(self, row: Row, errors: Errors) -> None:
        self._write(row.source, protect(error_text(errors)))

    def _write(self, cells: list[str], last: str) -> None:
        """Write a row; cells that the header has no column for come behind ``error``."""
        cells = [*cells, *[""] * (self._width - len(cells))]
        surplus = cells[self._width :]
        del cells[self._width :]
        if self._told is not None:
            del cells[self._told]
        # Names of fields in errors may hold what UTF-8 can't; in cells it stands for bytes that came.
        last = last.encode(errors="replace").decode()
        text = io.StringIO()
        csv.writer(text, delimiter=self._delimiter).writerow([*cells, last, *surplus])
        self.file.write(text.getvalue().encode(errors=UNDECODABLE))


class _TemporaryFile(tempfile.SpooledTemporaryFile[bytes]):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise NoTemporarySpace(str(error)) from error


def error_text(errors: Errors) -> str:
    return " ".join(f"{name}: {' '.join(texts)}" for name, texts in errors.items())
