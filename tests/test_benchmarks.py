"""Benchmarks compare equals: the floor returns what the service returns, and filling leaves the schema unchanged."""

from contextlib import closing

import pytest
from flask import Flask
from helpers.databases import Databases

from benchmarks import fill_postgresql, fill_sqlite
from benchmarks.measure import Bench, check_same_answer
from benchmarks.people import flow_rows, make_chunk
from contacts_service.app import create_app, prepare
from contacts_service.models.database import database
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
    chunks = [{"flow": flow_rows()}, make_chunk(0, SIZE)]
    if kind == "sqlite":
        fill_sqlite.fill(migrated, chunks, str)
    else:
        fill_postgresql.fill(migrated, map(fill_postgresql.copied, chunks), str)
    assert schema_of(kind, migrated) == before
    bench = Bench(migrated, SIZE)
    for operation in bench.operations:
        check_same_answer(bench, operation)
    bench.connection.close()


def test_same_size_gives_the_same_rows() -> None:
    assert make_chunk(0, SIZE) == make_chunk(0, SIZE)
