"""Functions that the database keeps: it reads and plans their statements once a connection.

A function does the plain case in one call, where the general code needs many statements. For any
other case it returns nothing, and the general code decides (ADR 0015).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any

from django.db import connection
from django.db.models import Model

from hopper.database import engine
from hopper.database.postgresql import name_lock
from hopper.database.rows import Row, columns, from_json

_seen: set[str] = set()
"""The names of the functions that this process has found in the database."""


@dataclass(frozen=True)
class Function:
    """A PL/pgSQL function. `arguments` maps names to types; the body names them `%(name)s`.

    A function with another text has another name. So two releases beside each other each call
    their own. `holds_counter`: the function locks a counter, so its call commits early.
    """

    title: str
    arguments: Mapping[str, str]
    returns: str
    variables: str
    body: str
    holds_counter: bool = False

    @cached_property
    def name(self) -> str:
        """The name in the database, which ends in a digest of the text."""
        text = repr((dict(self.arguments), self.returns, self.variables, self.body))
        return f"hopper_{self.title}_{sha256(text.encode()).hexdigest()[:8]}"

    @property
    def called(self) -> str:
        """The call of the function, for a statement with its arguments as parameters."""
        return f"{self.name}({', '.join(f'%({name})s' for name in self.arguments)})"

    @property
    def definition(self) -> str:
        """The statement that creates the function."""
        named = {name: f"p_{name}" for name in self.arguments}
        arguments = ", ".join(f"{named[name]} {kind}" for name, kind in self.arguments.items())
        return f"""CREATE OR REPLACE FUNCTION {self.name}({arguments}) RETURNS {self.returns}
            LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
            #variable_conflict use_column
            DECLARE {self.variables} BEGIN {self.body % named} END $$"""

    def is_kept(self) -> bool:
        """Return whether the database has the function: `manage.py migrate` stores it there."""
        if self.name not in _seen and engine().keeps_functions:
            with connection.cursor() as cursor:
                cursor.execute("SELECT to_regproc(%s) IS NOT NULL", [self.name])
                if cursor.fetchone()[0]:
                    _seen.add(self.name)
        return self.name in _seen

    def rows(
        self, model: type[Row], column: str, *more: str, **values: Any
    ) -> list[tuple[Row, tuple[Any, ...]]]:
        """Call the function; return each row of the model in `column`, and the values of `more`.

        The column holds rows as JSON (`row_to_json`).
        """
        found = self.call(column, *more, **values)
        return [(from_json(model, row), tuple(rest)) for row, *rest in found]

    def call(self, *wanted: str, **values: Any) -> list[tuple[Any, ...]]:
        """Call the function; return these columns of its rows."""
        statement = f"SELECT {', '.join(wanted)} FROM {self.called}"  # noqa: S608
        with connection.cursor() as cursor:
            if self.holds_counter:
                return engine().commit_early(cursor, statement, values)
            cursor.execute(statement, values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found


def as_json(row: Model) -> str:
    """Return a row as the JSON from which `jsonb_populate_record` makes it again."""
    values = {field.column: getattr(row, field.attname) for field in row._meta.concrete_fields}
    return json.dumps(values, default=datetime.isoformat)


def inserting(model: type[Model], variable: str) -> str:
    """Return the statement of a function that inserts the row of a variable.

    It names the columns of this release. A column that a later release adds gets its default.
    """
    table = model._meta.db_table
    return f"INSERT INTO {table} ({columns(model)}) VALUES ({columns(model, variable)})"  # noqa: S608


def sharing(name: str) -> str:
    """Return the statement of a function that shares the lock of a name, as `lock_names` does."""
    return f"PERFORM {name_lock(repr(name), shared=True)}"


def store(*functions: Function) -> None:
    """Store these functions, if the database keeps functions. `migrate` calls it at its end."""
    if engine().keeps_functions:
        with connection.cursor() as cursor:
            for function in functions:
                cursor.execute(function.definition)
