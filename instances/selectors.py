"""Reads that are not querysets: the nested tree with its counts, the dashboard, metrics."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Min
from django.utils import timezone

from instances.choices import TERMINAL, HopperScope, InstanceStatus, TaskStatus, WaitingCode
from instances.config import queue_settings
from instances.models import CheckRecord, Event, HopperInstance, InstanceLoad, Task
from instances.models.instance import lineages
from instances.states import effective_status
from instances.waiting import count_reasons

if TYPE_CHECKING:
    from collections.abc import Iterable

TREE_FIELDS = (
    "id",
    "name",
    "scope",
    "instance_type",
    "status",
    "parent_id",
    "config",
    "runtime_metadata",
    "description",
    "created_by",
    "created_at",
    "updated_at",
    "started_at",
    "stopped_at",
    "expires_at",
)


def task_counts(instance_ids: Iterable[str] | None = None) -> dict[str, Counter[str]]:
    """Return, by instance, how many tasks of each status it holds; one query."""
    rows = Task.objects.filter(instance__isnull=False).order_by()
    if instance_ids is not None:
        rows = rows.filter(instance__in=list(instance_ids))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for instance_id, status, count in rows.values_list("instance_id", "status").annotate(
        Count("pk")
    ):
        counts[str(instance_id)][status] += count
    return counts


def as_counts(counts: Counter[str]) -> dict[str, int]:
    """Return every status with its count, and `open` and `total`."""
    by_status = {status: counts.get(status, 0) for status in TaskStatus.values}
    total = sum(by_status.values())
    ended = sum(by_status[status] for status in TERMINAL)
    return {**by_status, "open": total - ended, "total": total}


def effective_statuses(instance_ids: Iterable[str]) -> dict[str, str]:
    """Return each instance's status after inheritance (R4); one query."""
    return {
        pk: effective_status(line[-1].status, [lineal.status for lineal in line[:-1]])
        for pk, line in lineages(instance_ids).items()
    }


def build_tree(
    instance_id: str, *, depth: int | None = None, include_terminated: bool = False
) -> dict[str, Any]:
    """Return an instance with everything below it, nested under `children`, in three queries.

    Each node has `task_counts` of its own and `subtree_task_counts`, which include what `depth`
    (levels below, 0 is the instance alone) or a terminated status leaves out of the picture.
    """
    line = lineages([instance_id])[instance_id]
    above = [lineal.status for lineal in line[:-1]]
    rows = HopperInstance.objects.under(instance_id).order_by("lft")
    counts = task_counts(None if not line[:-1] else rows.values_list("pk", flat=True))
    nodes: dict[str, dict[str, Any]] = {}
    order: list[dict[str, Any]] = []
    for row in rows.values(*TREE_FIELDS).iterator():
        parent = nodes.get(row["parent_id"]) if order else None
        statuses = [*parent["_line"], parent["status"]] if parent else above
        node = {
            **row,
            "depth": len(statuses),
            "effective_status": effective_status(row["status"], statuses),
            "_own": counts.get(row["id"], Counter()),
            "_all": Counter(counts.get(row["id"], Counter())),
            "_line": statuses,
            "children": [],
        }
        nodes[row["id"]] = node
        order.append(node)
    top = order[0]
    for node in reversed(order):
        parent = nodes.get(node["parent_id"]) if node is not top else None
        if parent is not None:
            parent["_all"].update(node["_all"])
            shown = include_terminated or node["status"] != InstanceStatus.TERMINATED
            if shown and (depth is None or node["depth"] - len(above) <= depth):
                parent["children"].append(node)
    for node in order:
        _finish(node)
    return top


def _finish(node: dict[str, Any]) -> None:
    """Sort the children of a node and turn its notes into counts."""
    node["children"].sort(key=lambda child: (child["name"], child["id"]))
    node["task_counts"] = as_counts(node.pop("_own"))
    node["subtree_task_counts"] = as_counts(node.pop("_all"))
    del node["_line"]


def dashboard(under: str | None = None, visible: Any = None) -> dict[str, Any]:
    """Return what the dashboard shows, of the whole tree or of one subtree.

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
    """Return what the last check of the invariants found; None where there was none."""
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


def closing_preview(instance_id: str) -> dict[str, Any]:
    """Return what lies below an instance that stopping or terminating it would touch."""
    below = HopperInstance.objects.under(instance_id).live().exclude(pk=instance_id)
    tasks = Task.objects.in_subtree(instance_id)
    return {
        "instance_id": instance_id,
        "live_children": below.count(),
        "unfinished_tasks": tasks.open().count(),
        "live_leases": tasks.leased().count(),
    }


def metrics(instance: HopperInstance) -> dict[str, Any]:
    """Return counts by status, the oldest wait, throughput, places taken, and refusals."""
    now = timezone.now()
    own = Task.objects.filter(instance=instance)
    oldest = own.filter(status=TaskStatus.PENDING).aggregate(at=Min("created_at"))["at"]
    feed = Event.objects.of_instance(instance.pk)
    done = feed.filter(ending=True, status=TaskStatus.DONE)
    running = InstanceLoad.objects.values_list("running", flat=True).get(pk=instance.pk)
    limit = queue_settings(instance.scope, instance.config).max_concurrent_tasks
    return {
        "instance_id": instance.pk,
        "task_counts": as_counts(task_counts([instance.pk])[instance.pk]),
        "oldest_waiting_seconds": (now - oldest).total_seconds() if oldest else None,
        "done_last_hour": done.filter(at__gte=now - timedelta(hours=1)).count(),
        "done_last_day": done.filter(at__gte=now - timedelta(days=1)).count(),
        "in_flight": running,
        "max_concurrent_tasks": limit,
        "rejections": feed.filter(kind="delegation.rejected").count(),
    }


def _attention(tasks: Any, by_status: Counter[str], waiting: dict[str, int]) -> dict[str, int]:
    found = {
        "blocked": by_status["blocked"],
        "failed": tasks.dead_letters().count(),
        "awaiting_triage": waiting.get(WaitingCode.AWAITING_TRIAGE, 0),
    }
    return found | {"total": sum(found.values())}
