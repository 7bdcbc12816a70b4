"""How PostgreSQL runs the statements of a block: the tables it reads whole, the indexes it uses."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PLANNED = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)

FEW = 1000


class Plans:
    """The plans of the statements so far.

    `whole` holds (table, statement), `sorts` (rows that are sorted, statement), `indexes` names,
    and `through` (index, statement) where the statement may read the index from end to end.
    """

    def __init__(self) -> None:
        self.whole: list[tuple[str, str]] = []
        self.sorts: list[tuple[int, str]] = []
        self.indexes: set[str] = set()
        self.through: list[tuple[str, str]] = []
        self.statements: list[str] = []

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Ask for the plan of a statement, then execute it."""
        self.statements.append(sql)
        if _PLANNED.match(sql) and not many:
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
                self._walk(cursor.fetchone()[0][0]["Plan"], sql)
        return execute(sql, params, many, context)

    def _walk(self, node: dict[str, Any], sql: str) -> None:
        if node["Node Type"] == "Seq Scan":
            self.whole.append((node["Relation Name"], sql))
        if node["Node Type"] == "Sort":
            self.sorts.append((node["Plans"][0]["Plan Rows"], sql))
        if "Index Name" in node:
            self.indexes.add(node["Index Name"])
            if "Index Cond" not in node:
                self.through.append((node["Index Name"], sql))
        for child in node.get("Plans", ()):
            self._walk(child, sql)

    def reading_whole(self, *tables: str) -> list[str]:
        """Return the statements that read one of the tables whole."""
        return [sql for table, sql in self.whole if table in tables]


@contextmanager
def plans() -> Iterator[Plans]:
    """Record the plans of the statements in the block."""
    recorded = Plans()
    with connection.execute_wrapper(recorded):
        yield recorded


def copies(table: str, count: int, where: str, **values: str) -> None:
    """Insert copies of the rows of a table; `values` are SQL expressions, of the number `n`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
            " AND NOT attisdropped AND attidentity = ''",
            [table],
        )
        columns = [name for (name,) in cursor.fetchall()]
        chosen = ", ".join(values.get(name, f'source."{name}"') for name in columns)
        names = ", ".join(f'"{name}"' for name in columns)
        # The first copies tell the planner how the checks of foreign keys find their rows; it
        # keeps that plan for all others.
        for first, last in ((1, min(count, FEW)), (FEW + 1, count)):
            cursor.execute(
                f"INSERT INTO {table} ({names}) SELECT {chosen} FROM {table} AS source,"
                f" generate_series({first}, {last}) AS n WHERE source.{where}"
            )
            cursor.execute(f"ANALYZE {table}")
