"""The figures of the dashboard."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from django.db.models import Count

from instances.attention import Attention
from instances.choices import HopperScope, TaskStatus
from instances.models import CheckRecord, HopperInstance, Task, TaskQuerySet
from instances.tree.reads import effective_statuses


def dashboard(
    under: str | None = None, visible: Any = None, held: TaskQuerySet | None = None
) -> dict[str, Any]:
    """Return the figures of the dashboard, for the whole tree or one subtree.

    `visible` are the instances that the caller may see and `held` the tasks that are counted, None
    for all.
    """
    instances = HopperInstance.objects.live()
    tasks = Task.objects.all() if held is None else held
    if under is not None:
        instances = instances.under(under)
        tasks = tasks.in_subtree(under)
    if visible is not None:
        instances = instances.filter(pk__in=visible.values("pk"))
    rows = list(instances.order_by("created_at", "id").values_list("pk", "name", "scope", "status"))
    effective = effective_statuses(pk for pk, *_ in rows)
    scopes: dict[str, Counter[str]] = defaultdict(Counter)
    for pk, _, scope, _ in rows:
        scopes[scope][effective[pk]] += 1
    by_status = Counter(dict(tasks.order_by().values_list("status").annotate(Count("pk"))))
    attention = Attention(tasks, instances)
    return {
        "global": _top(rows, effective),
        "scopes": {scope: dict(counts) for scope, counts in sorted(scopes.items())},
        "tasks": {
            "total": sum(by_status.values()),
            "in_progress": by_status["claimed"] + by_status["in_progress"],
            "by_status": {status: by_status[status] for status in TaskStatus.values},
        },
        "attention": attention.counts(),
        "waiting": attention.reasons,
        **_checked(),
    }


def _top(
    rows: list[tuple[str, str, str, str]], effective: Mapping[str, str]
) -> dict[str, str] | None:
    """Return the oldest GLOBAL, or None where there is none."""
    for pk, name, scope, status in rows:
        if scope == HopperScope.GLOBAL:
            return {"id": pk, "name": name, "status": status, "effective_status": effective[pk]}
    return None


def _checked() -> dict[str, Any]:
    """Return the result of the last check of the invariants; None before the first check."""
    last = CheckRecord.latest()
    if last is None:
        return {"tree_sound": None, "last_check": None}
    return {
        "tree_sound": "I16" not in last.broken,
        "last_check": {
            "at": last.began_at.isoformat(),
            "seconds": last.seconds,
            "sound": not last.broken,
            "broken": last.broken,
        },
    }
