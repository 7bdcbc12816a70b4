"""All rows as they stand: compared, put back, and looked at before what follows a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.db import models, transaction
from django.db.models.functions import Coalesce

from delegation.models import TaskDelegation
from hopper.ids import new_id
from instances.models import AgentToken, Attempt, HopperInstance, InstanceLoad, Task

Key = tuple[str, str]
Rows = dict[Key, dict[str, Any]]
Differences = dict[Key, dict[str, tuple[Any, Any]]]

NOTED: dict[str, type[models.Model]] = {
    "instances": HopperInstance,
    "tasks": Task,
    "delegations": TaskDelegation,
    "attempts": Attempt,
}
"""The tables that a preview describes."""


def tables() -> list[type[models.Model]]:
    """Return all models of Hopper, but for the one that says who may call it."""
    rooms = ("hopper", "instances", "scopes", "delegation")
    models = [model for room in rooms for model in apps.get_app_config(room).get_models()]
    return [model for model in models if model is not AgentToken]


def everything() -> Rows:
    """Return every row of every table of Hopper, whole."""
    return {
        (model._meta.label, str(row["pk"])): row
        for model in tables()
        for row in model._default_manager.order_by().values("pk", *_columns(model))
    }


def noted() -> Rows:
    """Return every row of the tables that a preview speaks of, whole."""
    return {
        (kind, _name(kind, row)): row
        for kind, model in NOTED.items()
        for row in model._default_manager.order_by().values("pk", *_columns(model))
    }


def _columns(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def _name(kind: str, row: dict[str, Any]) -> str:
    return f"{row['task_id']} {row['number']}" if kind == "attempts" else str(row["pk"])


def differences(before: Rows, after: Rows) -> Differences:
    """Return, by row, every column that is not what it was; made and lost rows have them all."""
    found: Differences = {}
    for key in before.keys() | after.keys():
        was, will = before.get(key, {}), after.get(key, {})
        columns = {
            name: (was.get(name), will.get(name))
            for name in was.keys() | will.keys()
            if was.get(name) != will.get(name)
        }
        if columns:
            found[key] = columns
    return found


class Copy:
    """All rows of Hopper, to be put back as often as wanted."""

    def __init__(self) -> None:
        self._rows = [(model, list(model._base_manager.all())) for model in tables()]

    def put_back(self) -> None:
        """Make the database what it was."""
        with transaction.atomic():
            empty()
            for model, rows in self._rows:
                model._base_manager.bulk_create(rows, batch_size=500)


def multiply_tasks(times: int) -> None:
    """Put the same tasks there that many times over, with all that is known of each."""
    for number in range(1, times):
        mark = f"{number:02x}"
        with transaction.atomic():
            for model in tables():
                if any(field.related_model is Task for field in model._meta.concrete_fields):
                    # In their order: that of the events is the history.
                    known = model._base_manager.order_by("pk")
                    rows = [_again(row, mark) for row in known if _first(row)]
                    model._base_manager.bulk_create(rows, batch_size=500)
    taken = Task.objects.leased().filter(instance=models.OuterRef("instance")).order_by()
    count = taken.values("instance").annotate(n=models.Count("pk")).values("n")
    InstanceLoad.objects.update(running=Coalesce(models.Subquery(count), 0))


def _first(row: Any) -> bool:
    """Whether a row is of a task that the services made, not of a copy."""
    task_id = row.pk if isinstance(row, Task) else row.task_id
    return task_id is not None and len(task_id) == len(new_id("task"))


def _again(row: Any, mark: str) -> Any:
    """Return the row once more, under ids of its own wherever it names a task or a delegation."""
    for field in row._meta.concrete_fields:
        value = getattr(row, field.attname)
        if isinstance(value, str) and value.startswith(("task-", "del-", "dec-", "q-")):
            setattr(row, field.attname, value + mark)
        elif isinstance(value, dict) and str(value.get("object")).startswith(
            ("task-", "del-", "q-")
        ):
            setattr(row, field.attname, {**value, "object": value["object"] + mark})
    if isinstance(row._meta.pk, models.AutoField):
        row.pk = None
    return row


def empty() -> None:
    """Delete all these rows."""
    with transaction.atomic():
        for model in tables():
            model._base_manager.all()._raw_delete("default")


@contextmanager
def held_off() -> Iterator[list[Callable[[], Any]]]:
    """Let nothing follow a commit inside the block, as if the process died there.

    Yields what would have followed, in order, to be called later or never.
    """
    waiting: list[Callable[[], Any]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transaction, "on_commit", lambda call, *_, **__: waiting.append(call))
        yield waiting
