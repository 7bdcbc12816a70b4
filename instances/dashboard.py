"""The figures of the dashboard."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from django.db.models import Count

from instances.choices import HopperScope, TaskStatus, WaitingCode
from instances.models import CheckRecord, HopperInstance, Task
from instances.tree.reads import effective_statuses
from instances.waiting import count_reasons


def dashboard(under: str | None = None, visible: Any = None) -> dict[str, Any]:
    """Return the figures of the dashboard, for the whole tree or one subtree.

    `visible` is a queryset of the instances that the caller may see, None for all.
    """
    instances = HopperInstance.objects.live()
    tasks = Task.objects.all()
    if under is not None:
        instances = instances.under(under)
        tasks = tasks.in_subtree(under)
    if visible is not None:
        instances = instances.filter(pk__in=visible.values("pk"))
        tasks = tasks.filter(instance__in=visible.values("pk"))
    rows = list(instances.order_by("created_at", "id").values_list("pk", "name", "scope", "status"))
    effective = effective_statuses(pk for pk, *_ in rows)
    scopes: dict[str, Counter[str]] = defaultdict(Counter)
    for pk, _, scope, _ in rows:
        scopes[scope][effective[pk]] += 1
    top = next((row for row in rows if row[2] == HopperScope.GLOBAL), None)
    by_status = Counter(dict(tasks.order_by().values_list("status").annotate(Count("pk"))))
    waiting = count_reasons(tasks)
    return {
        "global": {
            "id": top[0],
            "name": top[1],
            "status": top[3],
            "effective_status": effective[top[0]],
        }
        if top
        else None,
        "scopes": {scope: dict(counts) for scope, counts in sorted(scopes.items())},
        "tasks": {
            "total": sum(by_status.values()),
            "in_progress": by_status["claimed"] + by_status["in_progress"],
            "by_status": {status: by_status[status] for status in TaskStatus.values},
        },
        "attention": _attention(tasks, by_status, waiting),
        "waiting": waiting,
        **_checked(),
    }


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


def _attention(tasks: Any, by_status: Counter[str], waiting: dict[str, int]) -> dict[str, int]:
    found = {
        "blocked": by_status["blocked"],
        "failed": tasks.dead_letters().count(),
        "awaiting_triage": waiting.get(WaitingCode.AWAITING_TRIAGE, 0),
    }
    return found | {"total": sum(found.values())}
