"""Benchmarks compare like with like: the floor responds as the service does, and a fill keeps the schema."""

import re
import subprocess
import sys
from contextlib import closing

import pytest
from flask import Flask
from helpers.databases import Databases

from benchmarks import fill_postgresql, fill_sqlite
from benchmarks.dataset import flow_rows, make_rows
from benchmarks.measure import Bench, check_same_response
from benchmarks.storage import ROOT
from contacts_service.app import create_app, prepare
from contacts_service.db.database import database
from contacts_service.settings import Settings

SIZE = 10_000
SCHEMA = {
    "sqlite": "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2",
    "postgresql": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
}


@pytest.fixture
def migrated(kind: str, databases: Databases, app: Flask) -> str:  # noqa: ARG001 - app restores the database.
    """The URL of a database with empty tables and without connections."""
    url = databases.create(kind)
    prepare(create_app(Settings(database_url=url)))
    database.close()
    return url


def schema_of(kind: str, url: str) -> list[tuple[str, ...]]:
    backend = fill_sqlite if kind == "sqlite" else fill_postgresql
    with closing(backend.connect(url)) as connection:
        return connection.execute(SCHEMA[kind]).fetchall()


@pytest.mark.processes
def test_floor_returns_what_the_service_returns(kind: str, migrated: str) -> None:
    before = schema_of(kind, migrated)
    chunks = [{"flow": flow_rows()}, make_rows(0, SIZE)]
    if kind == "sqlite":
        fill_sqlite.fill(migrated, chunks, str)
    else:
        fill_postgresql.fill(migrated, map(fill_postgresql.to_copy_format, chunks), str)
    assert schema_of(kind, migrated) == before
    bench = Bench(migrated, SIZE)
    for operation in bench.operations:
        check_same_response(bench, operation)
    bench.connection.close()


def test_the_same_size_gives_the_same_rows() -> None:
    assert make_rows(0, 1000) == make_rows(0, 1000)


def run_trace(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.trace", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.processes
def test_the_trace_lists_what_it_counts() -> None:
    _legend, *traces = re.split(r"^(?=GET|POST|PUT)", run_trace(), flags=re.MULTILINE)
    assert [trace.splitlines()[0] for trace in traces] == [
        "GET /api/contacts?search=john+doe",
        "POST /api/messages",
        "PUT /api/contacts/{id} with If-Match",
    ]
    for trace in traces:
        _title, counts, _, *lines = trace.rstrip().splitlines()
        calls = [re.fullmatch(r" *(\S*):\d+  +(\S+)( \(.*\))?( × \d+)?", line) for line in lines]
        paths, functions = [], set()
        for call in calls:
            assert call
            path, function, remark, _times = call.groups()
            if path:
                paths.append(path)
            if remark in {None, " (continued)"}:
                functions.add((paths[-1], function))
        switches = len(paths) - 1
        assert counts == f"{len(functions)} functions, {len(set(paths))} files, {switches} file switches"


@pytest.mark.processes
def test_the_summary_of_a_trace_is_a_line_for_each_request() -> None:
    lines = run_trace("--summary").splitlines()
    assert len(lines) == 3
    assert all(re.fullmatch(r"[A-Z]+ /api/.*  \d+ functions, \d+ files, \d+ file switches", line) for line in lines)
