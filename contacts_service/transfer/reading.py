"""Reads the rows of a file as it comes, in memory that doesn't grow with it."""

import codecs
import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

from marshmallow import ValidationError

from contacts_service.errors import InvalidRequest
from contacts_service.settings import MAX_BODY_BYTES
from contacts_service.transfer.batch import Row
from contacts_service.transfer.cells import unprotect
from contacts_service.web.parser import invalid_request
from schemas import exact_json
from schemas.contact_transfer import IGNORED, ImportRow
from schemas.fields import why_not_storable
from schemas.identity import FINDING

MAX_ROW = MAX_BODY_BYTES  # Characters.
_MAX_REREAD = 16 * MAX_ROW  # Of a whole file.
_MAX_ERRORS = 10  # Of one row,
_MAX_NAME = 100  # and characters of the name of a field that has one.
UNDECODABLE = "surrogateescape"  # How bytes that are no text are kept.
_IS_UNDECODABLE = re.compile("[\udc80-\udcff]")
_TOO_LONG = f"Longer than {MAX_ROW:,} characters."
# What spreadsheets and data frames make of digits that they take for a number.
_NUMBER = re.compile(r"[0-9]+[.,][0-9]+E[+-]?[0-9]+|[0-9]+E[+-][0-9]+|[0-9]{7,}[.,]0")
_PREFIX = "metadata."
_BOOLEANS = {"true": True, "false": False}
_COLUMNS = {*ImportRow().fields, *IGNORED}

# UTF-16 has units that surrogateescape can't keep.
codecs.register_error("contacts.undecodable", lambda error: ("\udcff", error.end))  # type: ignore[attr-defined]
csv.field_size_limit(MAX_ROW)


class _Line(str):
    """A line that was cut because it is too long."""

    __slots__ = ()


class _Lines:
    """The lines of a file. Those that were taken since ``begin`` can be read again."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._reread = self._size = 0
        self.again: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else self._read()
        if not line:
            raise StopIteration
        self.taken.append(line)
        self._size += len(line)
        if self._size > MAX_ROW or type(line) is _Line:
            raise csv.Error(_TOO_LONG)
        return line

    def _read(self) -> str:
        line = self._text.readline(MAX_ROW + 1)
        if len(line) <= MAX_ROW:
            return line
        rest = line
        while rest and rest[-1] not in "\r\n":
            rest = self._text.readline(MAX_ROW)
        return _Line(line[:_MAX_NAME])

    def begin(self) -> None:
        self.taken, self._size = [], 0

    def put_back(self) -> int:
        """Have all lines but the first read again, if not too many were. Returns how many are lost."""
        lines = self.taken[1:]
        self._reread += sum(map(len, lines))
        if self._reread > _MAX_REREAD:
            return len(lines)
        self.again.extendleft(reversed(lines))
        return 0


def _as_text(body: io.RawIOBase, newline: str) -> tuple[io.TextIOWrapper, str]:
    """Decode UTF-8 or UTF-16. Returns also its byte order mark, if there is one."""
    buffered = io.BufferedReader(body, 64 * 1024)
    start = buffered.peek(3)[:3]
    has_mark = start.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    errors = "contacts.undecodable"
    if start[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
        encoding = "utf-16"
    elif b"\0" in start[:2]:
        encoding = "utf-16-be" if start[:1] == b"\0" else "utf-16-le"
    else:
        encoding, errors = "utf-8-sig", UNDECODABLE
    return io.TextIOWrapper(buffered, encoding, errors, newline), "\ufeff" * has_mark


class CsvFile:
    """Rows behind a header. Raises InvalidRequest for a header that can't be meant."""

    def __init__(self, body: io.RawIOBase) -> None:
        text, self.preamble = _as_text(body, "")
        self._lines = _Lines(text)
        try:
            self._read_header()
        except (csv.Error, StopIteration) as error:
            raise InvalidRequest({"header": [str(error) or "The file is empty."]}) from error
        self._schema = ImportRow(only={"metadata", *self._columns} & ImportRow().fields.keys())

    def _read_header(self) -> None:
        first = next(self._lines)
        given = re.fullmatch("sep=(.)[\r\n]*", first)
        if given:
            self.preamble += first
            first = next(self._lines)
        choices = given[1] if given else ",;\t"
        self.delimiter = max(choices, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
        self._lines.again.append(first)
        self._lines.begin()
        self._reader = csv.reader(self._lines, delimiter=self.delimiter, strict=True)
        self.header = next(self._reader)
        self._columns = [name.strip() for name in self.header]
        while self._columns and not self._columns[-1]:
            self._columns.pop()
        unknown = [
            name
            for name in self._columns
            if name not in _COLUMNS and not (name.startswith(_PREFIX) and not why_not_storable(name))
        ]
        errors = {name[:_MAX_NAME]: ["Unknown column."] for name in unknown}
        if len({*self._columns}) < len(self._columns):
            errors |= {
                name: ["Several columns have this name."] for name, count in Counter(self._columns).items() if count > 1
            }
        if not errors and not {*FINDING} & {*self._columns}:
            errors = {"header": [f"None of the columns is {', '.join(FINDING[:-1])} or {FINDING[-1]}."]}
        if errors:
            raise invalid_request(errors)

    def __iter__(self) -> Iterator[Row]:
        number, width = 0, len(self._columns)
        while True:
            self._lines.begin()
            problem = ""
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                problem = str(error)
            else:
                if not any(cells):
                    continue
                if len(cells) < width or any(cells[width:]):
                    problem = f"It has {len(cells)} cells, and the header has {width}."
            number += 1
            yield self._broken(number, problem) if problem else self._row(number, cells)

    def _broken(self, number: int, problem: str) -> Row:
        """A row that is none. What a quote that isn't closed has swallowed is read again."""
        first = self._lines.taken[0]
        if len(self._lines.taken) > 1 or problem.startswith("unexpected end"):
            problem = "A quote is not closed."
            if lost := self._lines.put_back():
                problem += f" The {lost:,} lines behind it are not read."
        cells = first.rstrip("\r\n").split(self.delimiter)
        return Row(number, cells, {}, {"row": [problem]})

    def _row(self, number: int, cells: list[str]) -> Row:
        given: dict[str, Any] = {}
        texts: dict[str, str] = {}
        errors: dict[str, Any] = {}
        for name, cell in zip(self._columns, cells, strict=False):
            if not cell or name in IGNORED:
                continue
            text = unprotect(cell)
            if name.startswith(_PREFIX):
                texts[name[len(_PREFIX) :]] = text
            elif name == "tags":
                given[name] = text.split(",")
            elif name == "marketing_opt_out":
                given[name] = _BOOLEANS.get(text.lower(), text)
            elif name == "metadata":
                try:
                    given[name] = _parsed(text)
                except ValueError as error:
                    errors[name] = [f"Not valid JSON: {error}."]
            else:
                given[name] = text
        if texts and isinstance(document := given.get("metadata", {}), dict):
            given["metadata"] = {**document, **texts}
        return _validated(self._schema, number, cells, given, errors)


class NdjsonFile:
    """Rows of one JSON object each."""

    header: ClassVar = ["line"]
    delimiter = ","

    def __init__(self, body: io.RawIOBase) -> None:
        text, self.preamble = _as_text(body, "\n")
        self._lines = _Lines(text)
        self._schema = ImportRow()

    def __iter__(self) -> Iterator[Row]:
        number = 0
        while True:
            self._lines.begin()
            given: Any = None
            errors: dict[str, Any] = {}
            try:
                if not (line := next(self._lines).strip()):
                    continue
                given = _parsed(line)
            except StopIteration:
                return
            except csv.Error as error:
                line, errors = self._lines.taken[0], {"row": [str(error)]}
            except ValueError as error:
                errors = {"row": [f"Not valid JSON: {error}."]}
            number += 1
            if isinstance(given, dict):
                given = {name: value for name, value in given.items() if value is not None and name not in IGNORED}
            errors = errors or ({} if isinstance(given, dict) else {"row": ["Not a JSON object."]})
            yield _validated(self._schema, number, [line], given, errors)


def _parsed(text: str) -> Any:
    """Parse JSON. Raises ValueError."""
    try:
        return exact_json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _load(schema: ImportRow, given: dict[str, Any]) -> Any:
    """Do as ``schema.load``, which takes 51 µs a row; without its own steps the fields take 31."""
    if not given.keys().isdisjoint(FINDING) and "marketing_opt_out_at" not in given:  # What the schema itself checks.
        with suppress(KeyError, ValidationError):  # Then the schema tells all that is wrong.
            return {name: schema.fields[name].deserialize(value, name, given) for name, value in given.items()}
    return schema.load(given)


def _validated(schema: ImportRow, number: int, source: list[str], given: Any, errors: dict[str, Any]) -> Row:
    for kind in FINDING if not errors else ():
        text = str(given.get(kind, "")).upper()
        if not text.isalnum() and _NUMBER.fullmatch(text):
            errors[kind] = [f"The spreadsheet made {text} of it: have the column as text, and export it again."]
    if not errors:
        try:
            return Row(number, source, _load(schema, given), {})
        except ValidationError as error:
            errors = error.messages_dict
    if any(map(_IS_UNDECODABLE.search, source)):
        errors = {"row": ["Has bytes that are no text: save the file as UTF-8."]}
    flat = invalid_request(errors).errors or {}
    return Row(number, source, {}, {name[:_MAX_NAME]: flat[name] for name in list(flat)[:_MAX_ERRORS]})
