"""Worlds with which many tests begin: built once by the services, later put back as rows."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import time_machine
from django.apps import apps
from django.db import connection, transaction
from django.utils import timezone

if TYPE_CHECKING:
    from django.db.models import Model

Given = ParamSpec("Given")
World = TypeVar("World")
Rows = dict[type[Any], set[tuple[Any, ...]]]
"""The rows of each table; the primary key comes first."""

AGE = timedelta(hours=1)
"""How old a kept world is in each test, the first too: no test may depend on when others ran."""


@dataclass(frozen=True)
class Kept:
    """A world, and how to come to it from the rows with which its building began."""

    world: Any
    gone: Rows
    come: Rows


def kept(build: Callable[Given, World]) -> Callable[Given, World]:
    """Decorate a fixture that builds a world of rows alone: later its rows are put back.

    The world may depend on other kept worlds, and on nothing else that differs between tests.
    """
    memory: list[Kept] = []

    @wraps(build)
    def begin(*args: Given.args, **kwargs: Given.kwargs) -> World:
        if memory:
            _put(memory[0])
        else:
            before = _rows()
            with time_machine.travel(timezone.now() - AGE):
                world = build(*args, **kwargs)
            after = _rows()
            memory.append(Kept(world, _without(before, after), _without(after, before)))
        return deepcopy(memory[0].world)  # type: ignore[no-any-return]

    return begin


def _put(kept: Kept) -> None:
    quote = connection.ops.quote_name
    with transaction.atomic(), connection.cursor() as cursor:
        for model, rows in kept.gone.items():
            key = quote(_columns(model)[0])
            sql = f"DELETE FROM {quote(model._meta.db_table)} WHERE {key} = %s"
            cursor.executemany(sql, [row[:1] for row in rows])
        for model, rows in kept.come.items():
            names = ", ".join(map(quote, _columns(model)))
            marks = ", ".join(["%s"] * len(_columns(model)))
            sql = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({marks})"
            cursor.executemany(sql, sorted(rows, key=lambda row: row[0]))


def _rows() -> Rows:
    return {model: _read(model) for model in _models()}


def _read(model: type[Model]) -> set[tuple[Any, ...]]:
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, _columns(model)))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {names} FROM {quote(model._meta.db_table)}")
        return set(cursor.fetchall())


def _without(rows: Rows, others: Rows) -> Rows:
    left = {model: ones - others[model] for model, ones in rows.items()}
    return {model: ones for model, ones in left.items() if ones}


def _models() -> list[type[Model]]:
    rooms = [apps.get_app_config(room) for room in ("instances", "scopes", "delegation")]
    return [model for room in rooms for model in room.get_models(include_auto_created=True)]


def _columns(model: type[Model]) -> list[str]:
    fields = sorted(model._meta.concrete_fields, key=lambda field: not field.primary_key)
    return [str(field.column) for field in fields]
