"""A snapshot: every row of the database, kept in memory and put back in milliseconds."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction

Rows = dict[str, list[tuple[Any, ...]]]


def take() -> Rows:
    """Return the rows of every table that has any."""
    rows: Rows = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.django_table_names(only_existing=True):
            cursor.execute(f"SELECT * FROM {_quoted(table)}")
            rows[table] = list(cursor.fetchall())
    return rows


def put_back(rows: Rows) -> None:
    """Make the tables of a snapshot hold its rows and nothing else."""
    with (
        transaction.atomic(),
        connection.constraint_checks_disabled(),
        connection.cursor() as cursor,
    ):
        for table in rows:
            cursor.execute(f"DELETE FROM {_quoted(table)}")
        for table, content in rows.items():
            if content:
                places = ", ".join(["%s"] * len(content[0]))
                cursor.executemany(f"INSERT INTO {_quoted(table)} VALUES ({places})", content)


def _quoted(table: str) -> str:
    return connection.ops.quote_name(table)
