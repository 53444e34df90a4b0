"""Writes exports, and the rows that an import rejects."""

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Any

import orjson

from contacts_service.contacts.tables import ALL_COLUMNS, Contact
from contacts_service.contacts.writes import service_window
from contacts_service.errors import NoTemporarySpace
from contacts_service.transfer.batch import Errors, Row
from contacts_service.transfer.cells import RISKY, protect
from contacts_service.transfer.export_queries import Page
from contacts_service.transfer.reading import UNDECODABLE, CsvFile, NdjsonFile

_NAMES = [column.name for column in ALL_COLUMNS]
COLUMNS = [*_NAMES, "service_window_open", "service_window_expires_at"]
_TEXTS = ("external_id", "username", "name", "profile_name", "avatar_url", "last_message_preview")
_TIMES = [name for name in COLUMNS if name.endswith("_at")]
_BOOLEANS = ("false", "true")
_IN_MEMORY = 1024 * 1024
_ERROR = "error"
_LINES = 100  # At once: memory that is used again is many times as fast as new memory.
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE

Columns = dict[str, Sequence[Any]]


def as_ndjson(pages: Iterable[Page]) -> Iterator[bytes]:
    """One JSON object a line."""
    for page in pages:
        columns = _columns_of(page)
        columns["marketing_opt_out"] = [*map(bool, columns["marketing_opt_out"])]
        columns |= {name: [*map(orjson.Fragment, columns[name])] for name in ("tags", "metadata")}
        rows = zip(*columns.values(), strict=True)
        while lines := [orjson.dumps(dict(zip(COLUMNS, row)), option=_OPTIONS) for row in islice(rows, _LINES)]:  # noqa: B905 - Faster.
            yield b"".join(lines)


def as_csv(pages: Iterable[Page]) -> Iterator[bytes]:
    """RFC 4180, in UTF-8, with a header."""
    yield (",".join(COLUMNS) + "\r\n").encode()
    for page in pages:
        columns = _columns_of(page)
        for name in _TEXTS:
            columns[name] = [protect(each) if each and each[0] in RISKY else each for each in columns[name]]
        for name in ("marketing_opt_out", "service_window_open"):
            columns[name] = [_BOOLEANS[each] for each in columns[name]]
        for name in _TIMES:
            columns[name] = [each and f"{each}".replace(" ", "T").replace("+00:00", "Z") for each in columns[name]]
        columns["tags"] = ["" if each == "[]" else protect(",".join(orjson.loads(each))) for each in columns["tags"]]
        text = io.StringIO()
        csv.writer(text).writerows(zip(*columns.values(), strict=True))
        yield text.getvalue().encode()


def _columns_of(page: Page) -> Columns:
    """The columns of a page, in the order of COLUMNS. Times are still texts where the database has texts.

    What is done for each value here and above takes most of the time of an export.
    """
    columns: Columns = dict(zip(_NAMES, zip(*page, strict=True), strict=True)) if page else dict.fromkeys(_NAMES, ())
    for name in _TIMES[:-1]:
        if isinstance(next(filter(None, columns[name]), None), str):  # SQLite's, which always has microseconds.
            columns[name] = [each and each.replace(".000000Z", "Z") for each in columns[name]]
    now, at = datetime.now(UTC), Contact.last_inbound_at.python_value
    windows = [service_window(at(each), now) if each else (False, None) for each in columns["last_inbound_at"]]
    return columns | dict(zip(COLUMNS[-2:], zip(*windows, strict=True) if windows else ((), ()), strict=True))


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
