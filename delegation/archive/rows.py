"""The rows that belong to tasks, as lines: {"model": "instances.task", "row": {column: value}}."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO, Any

from django.db.models import Model, Q

from delegation.models import TaskDelegation
from instances.models import (
    Attempt,
    Comment,
    Event,
    Lesson,
    Question,
    SessionLease,
    Task,
    TaskDependency,
)
from instances.tasks.changes import remove_tasks
from scopes.models import Feedback, RoutingDecision

OF_A_TASK: dict[type[Model], tuple[str, ...]] = {
    Event: ("task",),
    Attempt: ("task",),
    SessionLease: ("attempt__task",),
    TaskDependency: ("task", "depends_on"),
    Comment: ("task",),
    Question: ("task",),
    RoutingDecision: ("task",),
    Feedback: ("task",),
    TaskDelegation: ("task",),
}
"""The tables whose rows go with a task, and the ways from a row to the task."""


def rows_of(model: type[Model], task_ids: Sequence[str]) -> Any:
    """Return the rows of a model that go with these tasks."""
    ways = (Q((f"{way}__in", task_ids)) for way in OF_A_TASK[model])
    found = Q()
    for way in ways:
        found |= way
    return model._base_manager.filter(found)


def write_rows(file: IO[str], task_ids: Sequence[str]) -> None:
    """Write the lines of tasks and of all rows that go with them."""
    tasks = Task.objects.filter(pk__in=task_ids)
    for rows in (tasks, *(rows_of(model, task_ids) for model in OF_A_TASK)):
        head = rows.model._meta.label_lower
        for row in rows.order_by("pk").values():
            line = {"model": head, "row": row}
            file.write(json.dumps(line, ensure_ascii=False, default=_time) + "\n")


def _time(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} is no value of JSON")
    return value.isoformat()


def read_rows(file: IO[str]) -> Iterator[Model]:
    """Yield the unsaved rows of lines. Raises ValueError, LookupError or TypeError for others."""
    tables: tuple[type[Model], ...] = (Task, *OF_A_TASK)
    models = {model._meta.label_lower: model for model in tables}
    for line in file:
        found = json.loads(line)
        model = models[found["model"]]
        columns = {field.attname: field for field in model._meta.concrete_fields}
        values = {name: columns[name].to_python(one) for name, one in found["row"].items()}
        yield model(**values)


def remove_rows(task_ids: Sequence[str]) -> None:
    """Remove locked tasks with all rows that go with them. Lessons stay, without their task."""
    Lesson.objects.filter(task__in=task_ids).update(task=None)
    # A lease of a session is found by its attempt, so it goes before it.
    for model in reversed(OF_A_TASK):
        rows = rows_of(model, task_ids)
        rows._raw_delete(rows.db)
    remove_tasks(task_ids)
