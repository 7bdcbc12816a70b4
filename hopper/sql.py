"""Rows written without the detour through the ORM's compiler, several writes in one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import Model

    Write = tuple[str, list[Any]]


def write_together(*writes: Write) -> None:
    """Carry out writes that do not read one another: in one statement where the database can."""
    if not writes:
        return
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            for statement, params in writes:
                cursor.execute(statement, params)
            return
        *first, (last, _) = writes
        named = ", ".join(f"w{n} AS ({statement})" for n, (statement, _) in enumerate(first))
        params = [param for _, one in writes for param in one]
        cursor.execute(f"WITH {named} {last}" if first else last, params)


def inserting(rows: Sequence[Model]) -> Write:
    """Return the statement that inserts rows of one model, whose key the database makes."""
    names = ", ".join(columns(rows[0]))
    marks = ", ".join(["%s"] * len(columns(rows[0])))
    table = rows[0]._meta.db_table
    lines = ", ".join([f"({marks})"] * len(rows))
    return (
        f"INSERT INTO {table} ({names}) VALUES {lines}",  # noqa: S608
        [value for row in rows for value in stored(row)],
    )


def updating(row: Model) -> Write:
    """Return the statement that writes a row whole."""
    assignments = ", ".join(f"{name} = %s" for name in columns(row))
    table, key = row._meta.db_table, row._meta.pk.column
    return f"UPDATE {table} SET {assignments} WHERE {key} = %s", [*stored(row), row.pk]  # noqa: S608


def columns(row: Model) -> list[str]:
    """Return the columns of the row's table but its key."""
    return [str(field.column) for field in row._meta.concrete_fields if not field.primary_key]


def stored(row: Model) -> list[Any]:
    """Return the row's values as the database takes them, in the order of `columns`."""
    return [
        field.get_db_prep_save(getattr(row, field.attname), connection)
        for field in row._meta.concrete_fields
        if not field.primary_key
    ]
