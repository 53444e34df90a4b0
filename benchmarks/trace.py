"""Shows which functions of the service a request passes: ``python -m benchmarks.trace``.

Counted are the functions of contacts_service/ and schemas/. Comprehensions, generator expressions and lambdas are
part of the function around them.
"""

import argparse
import inspect
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from benchmarks.keys import headers_for
from benchmarks.storage import ROOT
from contacts_service.app import create_app, prepare
from contacts_service.settings import Settings

_PACKAGES = tuple(f"{ROOT / package}/" for package in ("contacts_service", "schemas"))
_ANONYMOUS = {
    "<listcomp>": "list comprehension",
    "<setcomp>": "set comprehension",
    "<dictcomp>": "dict comprehension",
    "<genexpr>": "generator expression",
    "<lambda>": "lambda",
}
_ACCOUNT_ID = "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a10"
_PHONE_NUMBER = "+1234567890"
_WARM_UPS, _RUNS = 3, 3
_LEGEND = """The calls of the service's own functions, in order.

- A function is indented below the function that called it; Flask and other libraries in between are left out.
- A file is named where it changes, with the line where the function begins.
- × 2 means two calls in a row; (continued) is a generator that goes on after its yield.
"""


class Call(NamedTuple):
    """A call of a function, which runs inside of ``depth`` other functions of the service."""

    path: str
    line: int
    name: str
    depth: int
    is_continued: bool

    @property
    def is_anonymous(self) -> bool:
        return any(part in self.name for part in _ANONYMOUS)

    @property
    def function(self) -> tuple[str, str]:
        """The file and name of the function, without the comprehension or lambda in it."""
        parts = itertools.takewhile(lambda part: part not in _ANONYMOUS, self.name.split("."))
        return self.path, ".".join(part for part in parts if part != "<locals>")


class Summary(NamedTuple):
    """How far the code of a request is spread."""

    functions: int
    files: int
    switches: int

    def __str__(self) -> str:
        return f"{self.functions} functions, {self.files} files, {self.switches} file switches"


def summarize(calls: list[Call]) -> Summary:
    """Count distinct functions and files, and how often a call is in another file than the call before."""
    paths = [call.path for call in calls]
    return Summary(
        functions=len({call.function for call in calls if not call.is_anonymous}),
        files=len(set(paths)),
        switches=sum(path != before for before, path in itertools.pairwise(paths)),
    )


def record_calls(send: Callable[[], object]) -> list[Call]:
    """Send a request and return the calls of the service's functions that it made."""
    calls: list[Call] = []
    running: list[FrameType] = []
    generators: set[FrameType] = set()

    def record(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(_PACKAGES):
            return
        if event == "call":
            path = str(Path(code.co_filename).relative_to(ROOT))
            call = Call(path, code.co_firstlineno, code.co_qualname, len(running), frame in generators)
            calls.append(call)
            if not call.is_anonymous:
                running.append(frame)
            if code.co_flags & inspect.CO_GENERATOR:
                generators.add(frame)
        elif event == "return" and frame in running:
            running.remove(frame)

    sys.setprofile(record)
    try:
        send()
    finally:
        sys.setprofile(None)
    return calls


def format_calls(calls: list[Call]) -> Iterator[str]:
    """Write a line for each call; repeated calls in a row share one."""
    width = max(len(f"{call.path}:{call.line}") for call in calls)
    before = ""
    for (path, name), repeated in itertools.groupby(calls, lambda call: call.function):
        group = list(repeated)
        named = [call for call in group if not call.is_anonymous]
        first = (named or group)[0]
        place = f"{path if path != before else ''}:{first.line}"
        yield f"{place:>{width}}  {'  ' * first.depth}{name}{_remark(first, len(named))}"
        before = path


def _remark(call: Call, times: int) -> str:
    if call.is_anonymous:  # It runs after the function around it has called others, or has returned.
        return f" ({_ANONYMOUS[call.name.rpartition('.')[2]]})"
    return (" (continued)" if call.is_continued else "") + (f" × {times}" if times > 1 else "")


def traced_requests(client: FlaskClient, headers: dict[str, str]) -> Iterable[tuple[str, Callable[[], TestResponse]]]:
    """Create a contact, and name and make the requests about it that are trace."""
    contact = {"phone_number": _PHONE_NUMBER, "name": "John Doe", "account_id": _ACCOUNT_ID}
    created = client.post("/api/contacts", json=contact, headers=headers)
    path, etag = created.headers["Location"], created.headers["ETag"]
    numbers = itertools.count()

    def search() -> TestResponse:
        return client.get("/api/contacts?search=john+doe", headers=headers)

    def record_message() -> TestResponse:
        message = {
            "account_id": _ACCOUNT_ID,
            "contact": {"phone_number": _PHONE_NUMBER, "profile_name": "John"},
            "wa_message_id": f"wamid.{next(numbers)}",
            "direction": "incoming",
            "type": "text",
            "content": {"body": "Where is my order?"},
            "timestamp": "2024-01-01T12:00:00Z",
        }
        return client.post("/api/messages", json=message, headers=headers)

    def update() -> TestResponse:
        nonlocal etag
        changes = {"name": f"John Smith {next(numbers)}", "metadata": {"plan": "gold"}}
        response = client.put(path, json=changes, headers={**headers, "If-Match": etag})
        etag = response.headers["ETag"]
        return response

    yield "GET /api/contacts?search=john+doe", search
    yield "POST /api/messages", record_message
    etag = client.get(path, headers=headers).headers["ETag"]
    yield "PUT /api/contacts/{id} with If-Match", update


def trace(send: Callable[[], TestResponse]) -> list[Call]:
    """Record a warm request. Of several the shortest, as one may be the one that reads the keys anew."""
    for _ in range(_WARM_UPS):
        if not (response := send()).status.startswith("2"):
            raise RuntimeError(f"{response.status}: {response.text}")
    return min((record_calls(send) for _ in range(_RUNS)), key=len)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.trace", description=__doc__)
    arguments.add_argument("--summary", action="store_true", help="print only the counts")
    is_summary = arguments.parse_args().summary
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/trace.db"
        headers = headers_for(url, _ACCOUNT_ID)  # Before the application reads the keys.
        app = create_app(Settings(database_url=url))
        prepare(app)
        traces = [(title, trace(send)) for title, send in traced_requests(app.test_client(), headers)]
    if not is_summary:
        print(_LEGEND)
    for title, calls in traces:
        if is_summary:
            print(f"{title:<40}{summarize(calls)}")
        else:
            print(title, summarize(calls), "", *format_calls(calls), "", sep="\n")


if __name__ == "__main__":
    main()
