"""Export: the lines of all instances and tasks, as they are at one moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from delegation.transfer.lines import HEAD, instance_line, line_of, task_line
from hopper import database
from instances.allowances import MAX_DEPTH
from instances.models import HopperInstance, Task, TaskDependency

ROWS_AT_ONCE = 500


def export_lines() -> Iterator[bytes]:
    """Yield the head, the instances, parents first, and the tasks. Call it in a snapshot.

    The memory that this takes does not grow with the number of rows.
    """
    yield line_of({**HEAD, "at": database.now()})
    for level in range(MAX_DEPTH):
        for instances in pages(HopperInstance.objects.filter(level=level)):
            yield from map(instance_line, instances)
    for tasks in pages(Task.objects.all()):
        before = predecessors_of([task.pk for task in tasks])
        for task in tasks:
            yield task_line(task, before[task.pk])


def pages(rows: Any) -> Iterator[list[Any]]:
    """Yield rows in the order of their keys, some at a time."""
    last = ""
    while page := list(rows.filter(pk__gt=last).order_by("pk")[:ROWS_AT_ONCE]):
        yield page
        last = page[-1].pk


def predecessors_of(task_ids: list[str]) -> dict[str, list[str]]:
    """Return the ids of the predecessors of tasks, by the id of the task."""
    found: dict[str, list[str]] = defaultdict(list)
    edges = TaskDependency.objects.filter(task__in=task_ids).order_by("id")
    for task_id, before in edges.values_list("task_id", "depends_on_id"):
        found[str(task_id)].append(str(before))
    return found
