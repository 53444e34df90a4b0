"""Prepared queries: the same results as queries built for each call, and no values kept between calls."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from helpers.caller import Caller
from helpers.examples import ACCOUNT, OTHER_ACCOUNT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peewee import DateField

from contacts_service.contacts.tables import Contact
from contacts_service.db import prepared as module
from contacts_service.db.database import BaseModel, database, reading
from contacts_service.db.prepared import InlineInt, columns_of, prepared

ACCOUNTS = [ACCOUNT, OTHER_ACCOUNT]


def find(accounts: Any, names: Any, equal: Any, since: Any, limit: Any) -> Any:
    query = Contact.select(Contact.name, Contact.created_at, Contact.tags, Contact.marketing_opt_out)
    if accounts is not None:
        query = query.where(Contact.account_id.in_(accounts))
    if names is not None:
        query = query.where(Contact.name.in_(names))
    for column, value in equal.items():
        field = getattr(Contact, column)
        query = query.where(field.is_null() if value is None else field == value)
    return query.where(Contact.created_at >= since, Contact.unread_count < 5).order_by(Contact.name).limit(limit)


@pytest.fixture
def people(app: Flask) -> None:
    caller = Caller(app)
    for number, name in enumerate(["Ann", "Ben", "Cid", "Dee"]):
        caller.create(f"+123456789{number}", name=name, account_id=ACCOUNTS[number % 2], tags=[name])


@pytest.mark.usefixtures("people")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    accounts=st.none() | st.lists(st.sampled_from(ACCOUNTS), unique=True),
    names=st.none() | st.lists(st.sampled_from(["Ann", "Ben", "Dee", "Unknown"]), max_size=3),
    equal=st.dictionaries(st.sampled_from(["name", "username"]), st.none() | st.sampled_from(["Ann", "Cid"])),
    days=st.integers(-1, 1),
    limit=st.integers(0, 5),
)
def test_prepared_query_returns_what_the_built_query_returns(**values: Any) -> None:
    since = datetime.now(UTC) + timedelta(days=values.pop("days"))
    limit = values.pop("limit")
    with reading():
        built = list(find(**values, since=since, limit=limit).dicts())
        assert PREPARED(values["accounts"], values["names"], values["equal"], since, limit) == built


PREPARED = prepared(find)


def test_prepared_query_is_built_once_for_each_shape(app: Flask) -> None:
    built: list[Any] = []

    @prepared
    def by_names(names: Any, limit: Any) -> Any:
        built.append(names)
        return Contact.select(Contact.name).where(Contact.name.in_(names)).limit(limit)

    Caller(app).create(name="Ann")
    with reading():
        for names in (["Ann"], ["Ben"], ["Cid"]):
            assert by_names(names, 3) == ([{"name": "Ann"}] if names == ["Ann"] else [])
        assert len(built) == 1
        assert by_names(["Ann", "Ben"], 3) == [{"name": "Ann"}]
        assert by_names([], 3) == []
    assert len(built) == 3


def test_cache_of_shapes_is_bounded(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of ids in a request, and so of shapes, is up to callers."""
    assert app
    monkeypatch.setattr(module, "_MAX_SHAPES", 10)
    by_names = prepared(lambda names: Contact.select(Contact.name).where(Contact.name.in_(names)))
    with reading():
        for length in range(50):
            assert by_names(["x"] * length) == []
    assert len(by_names.statements) <= 10


@pytest.mark.parametrize(
    "build",
    [
        lambda name: Contact.select(Contact.name) if name else Contact.select(Contact.id),
        lambda name: Contact.select(Contact.name) if name == "x" else Contact.select(Contact.id),
        lambda name: Contact.select(Contact.name).where(Contact.name.in_({name})),
        lambda name: Contact.select(Contact.name).where(Contact.name.in_([*name])),
    ],
    ids=["if", "==", "set", "unpacking"],
)
def test_builder_that_looks_at_a_value_is_refused(app: Flask, build: Any) -> None:
    """It would be built for the first value, and answer wrongly for every other."""
    assert app
    with reading(), pytest.raises(TypeError, match="before its values are known"):
        prepared(build)("x")


@pytest.mark.parametrize("value", [{"x"}, object(), b"x", iter(["x"])], ids=["set", "object", "bytes", "iterator"])
def test_argument_of_an_unknown_type_is_refused(app: Flask, value: object) -> None:
    assert app
    with reading(), pytest.raises(TypeError, match="takes no"):
        prepared(lambda name: Contact.select(Contact.name).where(Contact.name == name))(value)


@pytest.mark.usefixtures("people")
def test_columns_without_a_conversion_of_ours_are_converted_by_their_field() -> None:
    """SQLite has no dates, so the driver returns text."""

    class Birthday(BaseModel):
        born = DateField()

    with reading(), database.atomic() as transaction:
        database.create_tables([Birthday])
        Birthday.insert(born=date(2000, 2, 29)).execute()
        assert prepared(lambda: Birthday.select(Birthday.born), one=True)() == {"born": date(2000, 2, 29)}
        transaction.rollback()


@pytest.mark.usefixtures("people")
def test_prepared_values_are_converted_by_their_columns() -> None:
    @prepared
    def change(name: Any, changes: Any) -> Any:
        return Contact.update(columns_of(Contact, changes)).where(Contact.name == name).returning(Contact.tags)

    moment = datetime(2024, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
    with reading():
        assert (
            change("Ann", {"tags": ["a", "b"], "last_message_at": moment, "username": None})[0]["tags"] == '["a","b"]'
        )
        stored = Contact.get(Contact.name == "Ann")
    assert (stored.tags.parsed(), stored.last_message_at, stored.recency) == (["a", "b"], moment, moment)


@pytest.mark.usefixtures("people")
def test_inlined_number_has_its_own_query() -> None:
    query = prepared(lambda limit: Contact.select(Contact.name).order_by(Contact.name).limit(limit))
    with reading():
        assert [len(query(limit)) for limit in (InlineInt(1), 3, InlineInt(2), 1, InlineInt(1))] == [1, 3, 2, 1, 1]
