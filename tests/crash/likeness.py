"""The likeness of a database: all that matters of its rows, without ids that chance gave and times.

Two databases in which the same things have happened have the same likeness, however often a
process died on the way; so nothing was lost, and nothing happened twice.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from delegation.models import TaskDelegation
from instances.models import Attempt, Event, HopperInstance, InstanceLoad, Task, TaskDependency


def likeness() -> dict[str, Any]:
    """Return the likeness: by table, its rows in an order that does not depend on ids."""
    titles = dict(Task.objects.values_list("pk", "title"))
    return {
        "instances": _rows(
            HopperInstance.objects.values_list("id", "scope", "status", "parent_id"), titles
        ),
        "loads": _rows(InstanceLoad.objects.values_list("pk", "running"), titles),
        "tasks": _rows(
            Task.objects.values_list(
                *("title", "status", "instance_id", "origin_id", "offered_to_id", "parent_id"),
                *("root_id", "epoch", "attempt", "failures", "route_due", "ready", "decomposed"),
                *("waiting__code", "worker", "result", "error"),
            ),
            titles,
        ),
        "dependencies": _rows(
            TaskDependency.objects.values_list("task_id", "depends_on_id"), titles
        ),
        "delegations": _rows(
            TaskDelegation.objects.values_list(
                *("task_id", "source_instance_id", "target_instance_id", "delegation_type"),
                *("status", "hop", "epoch", "reason", "result"),
            ),
            titles,
        ),
        "attempts": _rows(
            Attempt.objects.values_list(
                *("task_id", "number", "epoch", "instance_id", "worker", "outcome"),
                *("checkpoint", "progress", "artifact"),
            ),
            titles,
        ),
        "events": Counter(
            _rows(Event.objects.values_list("kind", "task_id", "instance_id", "ending"), titles)
        ),
    }


def _rows(rows: Any, titles: dict[str, str]) -> list[str]:
    return sorted(json.dumps(_named(list(row), titles), sort_keys=True) for row in rows)


def _named(value: Any, titles: dict[str, str]) -> Any:
    """Return a JSON value in which every task is called by its title."""
    if isinstance(value, str):
        for pk, title in titles.items():
            value = value.replace(pk, title)
        return value
    if isinstance(value, list):
        return [_named(item, titles) for item in value]
    if isinstance(value, dict):
        return {key: _named(item, titles) for key, item in value.items()}
    return value
