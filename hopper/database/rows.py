"""Reading rows of a model by a given statement: as `raw` does, at a tenth of its cost.

Django compares every column of a row with every field at each call of `raw`, and builds each
queryset's statement anew. For a wide row that takes longer than the database takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from django.db import connection, models

Row = TypeVar("Row", bound=models.Model)


@cache
def columns(model: type[models.Model], table: str = "") -> str:
    """Return the model's columns for a SELECT, each of `table` if given, in the order of `read`."""
    before = f"{table}." if table else ""
    return ", ".join(f"{before}{field.column}" for field in model._meta.concrete_fields)


def read(model: type[Row], found: Iterable[Sequence[Any]]) -> list[tuple[Row, tuple[Any, ...]]]:
    """Return the rows of the model, each with the values that follow its columns."""
    names = [field.attname for field in model._meta.concrete_fields]
    rows = []
    for values in map(list, found):
        for index, column, converters in _conversions(model):
            for convert in converters:
                values[index] = convert(values[index], column, connection)
        row = model.from_db(connection.alias, names, values[: len(names)])
        rows.append((row, tuple(values[len(names) :])))
    return rows


def select(
    model: type[Row], statement: str, params: Sequence[Any] | Mapping[str, Any]
) -> list[Row]:
    """Execute a statement that gives the `columns` of the model, and return the rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return [row for row, _ in read(model, cursor.fetchall())]


def find(model: type[Row], pks: Sequence[str]) -> list[Row]:
    """Return the rows of these keys that exist, in any order.

    The ORM takes longer to make this statement than the database to carry it out.
    """
    if not pks:
        return []
    marks, key = ", ".join(["%s"] * len(pks)), model._meta.pk.column
    found = f"SELECT {columns(model)} FROM {model._meta.db_table} WHERE {key} IN ({marks})"  # noqa: S608
    return select(model, found, pks)


def from_json(model: type[Row], values: Mapping[str, Any]) -> Row:
    """Return a row that the database gave as one JSON object, {column: value}.

    The driver reads one value many times faster than the columns of a wide row.
    """
    names, stored, times = _stored(model)
    found = [values[column] for column in stored]
    for index in times:
        if found[index] is not None:
            found[index] = datetime.fromisoformat(found[index])
    return model.from_db(connection.alias, names, found)


@cache
def _stored(model: type[models.Model]) -> tuple[list[str], list[str], list[int]]:
    """Return the names of the fields, their columns, and the indexes of those that hold times."""
    fields = model._meta.concrete_fields
    times = [n for n, one in enumerate(fields) if isinstance(one, models.DateTimeField)]
    return [one.attname for one in fields], [str(one.column) for one in fields], times


@cache
def _conversions(model: type[models.Model]) -> list[tuple[int, Any, list[Any]]]:
    """Return how the database's values become those of the fields, by the index of the column."""
    found = []
    for index, field in enumerate(model._meta.concrete_fields):
        column = field.get_col(model._meta.db_table)
        ways = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
        if ways:
            found.append((index, column, ways))
    return found
