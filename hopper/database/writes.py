"""Writes that are kept, and then executed together: one statement for rows that change alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from django.db import connection
from django.db.models import AutoField, Field, Model

from hopper.database.engine import Write

ROWS_AT_ONCE = 500
"""The most rows of one statement, so that its parameters stay below the limits of drivers."""

VALUES_AT_ONCE = 30_000
"""The most values of one statement. SQLite takes 32,766."""

WRITES_AT_ONCE = 10
"""The most writes of one statement."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Update:
    """An UPDATE of rows found by `key`; `start` and `condition` stand before and after the keys."""

    start: str
    params: tuple[Any, ...]
    key: str
    condition: str = ""

    def of(self, keys: Sequence[str]) -> Write:
        """Return the statement for the rows of these keys."""
        found = f"IN ({', '.join(['%s'] * len(keys))})" if len(keys) > 1 else "= %s"
        condition = f" AND {self.condition}" if self.condition else ""
        return f"{self.start} WHERE {self.key} {found}{condition}", [*self.params, *keys]


class Writes:
    """Updates and inserts that do not read one another."""

    def __init__(self) -> None:
        self._updates: dict[tuple[Any, ...], tuple[Update, list[str]]] = {}
        self._inserts: dict[type[Model], list[Model]] = {}

    def update(self, update: Update, key: str, alike: object = "") -> None:
        """Add an update of one row. Updates with the same words and `alike` are one statement."""
        kind = (update.start, update.key, update.condition, repr(alike))
        self._updates.setdefault(kind, (update, []))[1].append(key)

    def update_row(self, row: Model, fields: Sequence[Field[Any, Any]]) -> None:
        """Add the update of these fields of a row."""
        if fields:
            values = [getattr(row, field.attname) for field in fields]
            self.update(updating(row, fields), str(row.pk), values)

    def insert(self, row: Model) -> None:
        """Add a new row. It is inserted with its values of the end; a model's rows keep order."""
        self._inserts.setdefault(type(row), []).append(row)

    def in_portions(self) -> Iterator[list[Write]]:
        """Return the statements, the inserts last, a few of them at a time for one statement."""
        return portions(self._statements(), WRITES_AT_ONCE)

    def _statements(self) -> Iterator[Write]:
        for update, keys in self._updates.values():
            for some in portions(keys):
                yield update.of(some)
        for rows in self._inserts.values():
            most = min(ROWS_AT_ONCE, VALUES_AT_ONCE // len(columns(rows[0])))
            for new in portions(rows, most):
                yield inserting(new)


def portions(values: Iterable[Value], size: int = ROWS_AT_ONCE) -> Iterator[list[Value]]:
    """Yield the values in lists of at most `size`, in their order."""
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some


def inserting(rows: Sequence[Model]) -> Write:
    """Return the statement that inserts rows of one model."""
    names = ", ".join(columns(rows[0]))
    marks = ", ".join(["%s"] * len(columns(rows[0])))
    table = rows[0]._meta.db_table
    lines = ", ".join([f"({marks})"] * len(rows))
    return (
        f"INSERT INTO {table} ({names}) VALUES {lines}",  # noqa: S608
        [value for row in rows for value in stored(row)],
    )


def updating(row: Model, fields: Sequence[Field[Any, Any]]) -> Update:
    """Return the update that writes these fields of a row."""
    assignments = ", ".join(f"{field.column} = %s" for field in fields)
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
    table, key = row._meta.db_table, str(row._meta.pk.column)
    return Update(f"UPDATE {table} SET {assignments}", tuple(values), key)  # noqa: S608


def columns(row: Model) -> list[str]:
    """Return the columns of the row's table but a key that the database makes."""
    return [str(field.column) for field in _given(row)]


def stored(row: Model) -> list[Any]:
    """Return the row's values as the database takes them, in the order of `columns`."""
    return [
        field.get_db_prep_save(getattr(row, field.attname), connection) for field in _given(row)
    ]


def _given(row: Model) -> list[Field[Any, Any]]:
    fields: Sequence[Field[Any, Any]] = row._meta.concrete_fields
    return [field for field in fields if not isinstance(field, AutoField)]
