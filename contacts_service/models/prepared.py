"""Queries that are built once. Peewee needs longer to write a query down than a database needs to answer it."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from peewee import SQL, Alias, Field, Node

from contacts_service.models.database import database

Row = dict[str, Any]
Convert = Callable[[Any], Any]
_LISTS = {list, tuple, frozenset}
_MOST_SHAPES = 500  # Of one query; lists of ids and words of a search come in many lengths.


class Parameter(Node):
    """Stands for the value of an argument while a query is built."""

    def __init__(self, position: int, convert: Convert | None = None) -> None:
        self.position, self.convert = position, convert

    def of(self, field: Field) -> "Parameter":
        """Have the value converted as values of this field, where the query itself doesn't tell."""
        return Parameter(self.position, field.db_value)

    def __sql__(self, ctx: Any) -> Any:
        return ctx.value(_Slot(self.position, self.convert or ctx.state.converter), converter=False)


class Written(int):
    """A number that is written into the query, so that a database may plan once and for all by it.

    There is a query of its own for each.
    """


class _Slot:
    """A place among a query's parameters, and what becomes of the value that comes there."""

    def __init__(self, position: int, convert: Convert | None) -> None:
        self.position, self.convert = position, convert


class _Text:
    """A query written down, with what its parameters come from and what becomes of its columns."""

    def __init__(self, query: Any, *, by_values: bool) -> None:
        self.execute = database.execute_planned if by_values else database.execute_sql
        self.sql, parameters = query.sql()
        # Constants of the query go in front of the arguments' values.
        self.constants = [each for each in parameters if not isinstance(each, _Slot)]
        constant = iter(range(len(self.constants)))
        self.parameters = [
            (len(self.constants) + each.position, each.convert) if isinstance(each, _Slot) else (next(constant), None)
            for each in parameters
        ]
        columns = [_named(column) for column in query._returning or ()]  # noqa: SLF001 - Peewee has no other place.
        self.names = [name for name, _ in columns]
        self.converted = [(at, convert) for at, (_, convert) in enumerate(columns) if convert]

    def run(self, values: list[Any]) -> list[Row]:
        given = [*self.constants, *values]
        cursor = self.execute(
            self.sql, [convert(given[at]) if convert else given[at] for at, convert in self.parameters]
        )
        if not self.names:
            return []
        columns: list[Any] = [*zip(*cursor.fetchall(), strict=True)]
        for at, convert in self.converted if columns else ():
            columns[at] = [None if value is None else convert(value) for value in columns[at]]
        return [dict(zip(self.names, row, strict=True)) for row in zip(*columns, strict=True)]


def prepared(build: Callable[..., Any], *, by_values: bool = False) -> Callable[..., list[Row]]:
    """Turn a function that builds a query into one that runs it and returns its rows, none without RETURNING.

    ``build`` is called once for each shape of its arguments: which of them are None, how long lists are, which keys
    dicts have. It may depend on these and on nothing else, as each value is a Parameter. PostgreSQL plans the query a
    few times and then may keep a plan for any values; ``by_values`` is for queries whose best plan depends on them.
    """
    texts: dict[Any, _Text] = {}

    @wraps(build)
    def run(*arguments: Any) -> list[Row]:
        values: list[Any] = []
        shape = (database.obj, *[_shape(argument, values) for argument in arguments])
        text = texts.get(shape)
        if text is None:
            if len(texts) >= _MOST_SHAPES:
                texts.clear()
            positions = iter(range(len(values)))
            text = texts[shape] = _Text(
                build(*[_stand_in(argument, positions) for argument in arguments]), by_values=by_values
            )
        return text.run(values)

    return run


def _shape(argument: Any, values: list[Any]) -> Any:
    """Collect the values of an argument, and return what is left of it without them."""
    if argument is None:
        return None
    if type(argument) is Written:
        return "written", int(argument)
    if type(argument) in _LISTS:
        return tuple([_shape(item, values) for item in argument])
    if type(argument) is dict:  # Columns and their values, which may be documents.
        values.extend([value for value in argument.values() if value is not None])
        return tuple([(name, value is None) for name, value in argument.items()])
    values.append(argument)
    return True


def _stand_in(argument: Any, positions: Any) -> Any:
    if argument is None:
        return None
    if type(argument) is Written:
        return SQL(str(argument))
    if type(argument) in _LISTS:
        return [_stand_in(item, positions) for item in argument]
    if type(argument) is dict:
        return {name: None if value is None else Parameter(next(positions)) for name, value in argument.items()}
    return Parameter(next(positions))


def first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None


def columns_of(table: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Have parameters that are to be stored converted as their columns want."""
    fields = table._meta.combined  # noqa: SLF001 - Peewee's documented place for fields by name.
    return {name: value.of(fields[name]) if isinstance(value, Parameter) else value for name, value in values.items()}


def _named(column: Any) -> tuple[str, Convert | None]:
    node = column.unwrap() if isinstance(column, Alias) else column
    name = column.name if isinstance(column, Alias | Field) else str(column)
    if isinstance(node, Field):
        return name, database.conversions.get(type(node))
    return name, getattr(node, "_python_value", None)
