"""Queries that are built once: Peewee needs longer to write a query down than a database needs to answer it.

The rule: queries that requests about contacts, messages and sessions send are prepared; all others (keys, flows, stored
responses, migrations) are plain Peewee. A get takes 0.28 ms with prepared queries and 0.66 without, session data 0.25
and 1.15, a list 0.53 and 1.13 (SQLite, in process).
"""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import datetime
from functools import partial, wraps
from typing import Any, NoReturn

from peewee import SQL, Alias, Field, Node

from contacts_service.db.database import database

Row = dict[str, Any]
Convert = Callable[[Any], Any]
_SEQUENCES = (list, tuple, frozenset)
_SCALARS = (str, int, float, datetime)
_MAX_SHAPES = 500  # Of one query: callers choose how many ids and words they send.


class Parameter(Node):
    """Stands for an argument's value while a query is built. A builder can't look at the value."""

    def __init__(self, position: int, convert: Convert | None = None) -> None:
        self.position, self.convert = position, convert

    def of(self, field: Field) -> "Parameter":
        """Convert the value as values of this field, where the query itself doesn't tell."""
        return Parameter(self.position, field.db_value)

    def __sql__(self, ctx: Any) -> Any:
        return ctx.value(_Slot(self.position, self.convert or ctx.state.converter), converter=False)

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("a prepared query is built before its values are known: a builder can only test for None")

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __iter__ = __len__ = _refuse


class ContextValue(Node):
    """Stands for the value that a context variable has when the query runs."""

    def __init__(self, variable: ContextVar[Any]) -> None:
        self._read = variable.get

    def __sql__(self, ctx: Any) -> Any:
        return ctx.value(_Slot(0, lambda _: self._read()), converter=False)


class InlineInt(int):
    """A number written into the SQL, so that PostgreSQL can plan with it. Each number has a query of its own."""


class _Slot:
    """Marks a place among the parameters of a query, with the conversion of the value that goes there."""

    def __init__(self, position: int, convert: Convert | None) -> None:
        self.position, self.convert = position, convert


class _Statement:
    """SQL, the source of each of its parameters, and the conversions of its columns."""

    def __init__(self, query: Any, *, replan: bool, raw: bool) -> None:
        self._options = database.replanned if replan else {}
        self._raw = raw
        self._sql, parameters = query.sql()
        # Constants of the query go in front of the arguments' values.
        self._constants = [each for each in parameters if not isinstance(each, _Slot)]
        constant = iter(range(len(self._constants)))
        self._parameters = [
            (len(self._constants) + each.position, each.convert) if isinstance(each, _Slot) else (next(constant), None)
            for each in parameters
        ]
        columns = query._returning or ()  # noqa: SLF001 - Peewee has no other place.
        self._names = [column.name if isinstance(column, Alias | Field) else str(column) for column in columns]
        converted = zip(self._names, map(_conversion_of, columns), strict=True)
        self._converted = [(name, convert) for name, convert in converted if convert]

    def run(self, values: list[Any]) -> list[Any]:
        backend = database.obj
        given = [*self._constants, *values]
        parameters = [convert(given[at]) if convert else given[at] for at, convert in self._parameters]
        backend._log_query(self._sql, parameters)  # noqa: SLF001
        # On the driver itself: Peewee's way takes up to 30 µs more.
        cursor = backend.connection().execute(self._sql, parameters, **self._options)
        if not self._names:
            return []
        if self._raw:
            return list(cursor.fetchall())
        rows = [dict(zip(self._names, row)) for row in cursor.fetchall()]  # noqa: B905 - A third longer with strict.
        for name, convert in self._converted if rows else ():
            for row in rows:
                if (value := row[name]) is not None:
                    row[name] = convert(value)
        return rows


def prepared(build: Any = None, *, one: bool = False, replan: bool = False, raw: bool = False) -> Any:
    """Turn a function that builds a query into one that runs it and returns its rows as dicts.

    ``build`` is called once for each shape of its arguments: which are None, true or false, how long sequences are,
    which keys dicts have. Values are Parameters; named tuples keep their type, and a dict is columns with their values.
    A query without RETURNING returns no rows. With ``one`` the first row is returned, or None. PostgreSQL keeps a plan
    for any values; ``replan`` is for queries whose best plan depends on the values. With ``raw`` rows are tuples as the
    driver returns them. Arguments of other types raise TypeError.
    """
    if build is None:
        return partial(prepared, one=one, replan=replan, raw=raw)
    statements: dict[Any, _Statement] = {}

    @wraps(build)
    def run(*arguments: Any) -> Any:
        values: list[Any] = []
        shape = (database.obj, *[_shape_of(argument, values) for argument in arguments])
        statement = statements.get(shape)
        if statement is None:
            if len(statements) >= _MAX_SHAPES:
                statements.clear()
            positions = iter(range(len(values)))
            query = build(*[_stand_in(argument, positions) for argument in arguments])
            statement = statements[shape] = _Statement(query, replan=replan, raw=raw)
        rows = statement.run(values)
        return (rows[0] if rows else None) if one else rows

    run.statements = statements  # type: ignore[attr-defined] # For the test that they are bounded.
    return run


def _shape_of(argument: Any, values: list[Any]) -> Any:
    """Collect the values of an argument, and return what is left of it without them."""
    if argument is None or isinstance(argument, bool):
        return argument
    if isinstance(argument, _SCALARS):
        if type(argument) is InlineInt:
            return "inline", int(argument)
        values.append(argument)
        return "value"
    if isinstance(argument, _SEQUENCES):
        return type(argument), *[_shape_of(item, values) for item in argument]
    if isinstance(argument, dict):  # Columns and their values, which may be documents.
        values.extend([value for value in argument.values() if value is not None])
        return tuple([(name, value is None) for name, value in argument.items()])
    raise TypeError(f"a prepared query takes no {type(argument).__name__}")


def _stand_in(argument: Any, positions: Iterator[int]) -> Any:
    """Make what the builder gets in the place of an argument."""
    if argument is None or isinstance(argument, bool):
        return argument
    if type(argument) is InlineInt:
        return SQL(str(argument))
    if isinstance(argument, _SEQUENCES):
        items = [_stand_in(item, positions) for item in argument]
        return argument._make(items) if hasattr(argument, "_make") else items
    if isinstance(argument, dict):
        return {name: None if value is None else Parameter(next(positions)) for name, value in argument.items()}
    return Parameter(next(positions))


def columns_of(model: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Convert parameters that are to be stored as their columns want them."""
    fields = model._meta.combined  # noqa: SLF001 - Peewee's documented place for fields by name.
    return {name: value.of(fields[name]) if isinstance(value, Parameter) else value for name, value in values.items()}


def _conversion_of(column: Any) -> Convert | None:
    node = column.unwrap() if isinstance(column, Alias) else column
    if isinstance(node, Field):
        convert: Convert | None = database.conversions.get(type(node), node.python_value)
        return convert
    return getattr(node, "_python_value", None)
