"""Loads, capabilities and subtrees of instances, each in a constant number of queries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Count, Min

from hopper import database
from instances.allowances import Standing
from instances.choices import TERMINAL, HopperScope as S, InstanceStatus, TaskStatus
from instances.models import Event, HopperInstance, InstanceLoad, Task, lineages
from instances.queue_settings import queue_settings

_DISABLED = (InstanceStatus.STOPPING, InstanceStatus.STOPPED, InstanceStatus.ERROR)


def waiting_at(instance_ids: Iterable[str]) -> dict[str, int]:
    """Return the number of waiting tasks of each instance (the queue of R22)."""
    rows = Task.objects.filter(instance__in=list(instance_ids), status=TaskStatus.PENDING)
    return dict(rows.order_by().values_list("instance_id").annotate(Count("pk")))


def stated_capabilities(config: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the capabilities in the instance's own config, or None if they are inherited."""
    stated = config.get("capabilities")
    return frozenset(map(str, stated)) if isinstance(stated, list) else None


def capabilities_below(instance_id: str, own: frozenset[str]) -> dict[str, frozenset[str]]:
    """Return the capabilities that placing can reach, for an instance and all below it.

    Placing reaches no phases of a run, no remotes (R1), no stopped instances and none in error.
    `own` holds the capabilities of the instance itself. One query.
    """
    rows = HopperInstance.objects.under(instance_id).live().exclude(status__in=_DISABLED)
    rows = rows.exclude(scope=S.FEDERATED).exclude(parent__scope=S.ORCHESTRATION)
    can: dict[str, frozenset[str]] = {instance_id: own}
    parents: dict[str, str] = {}
    below: dict[str, set[str]] = defaultdict(set)
    for pk, parent_id, config in rows.order_by("lft").values_list("pk", "parent_id", "config"):
        if pk == instance_id or parent_id not in can:
            continue
        parents[pk] = parent_id
        stated = stated_capabilities(config)
        can[pk] = can[parent_id] if stated is None else stated
        above: str | None = parent_id
        while above is not None:
            below[above] |= can[pk]
            above = parents.get(above)
    return {pk: frozenset(words) for pk, words in below.items()}


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
    """Return the number of tasks of each status for each instance, in one query."""
    rows = Task.objects.filter(instance__isnull=False).order_by()
    if instance_ids is not None:
        rows = rows.filter(instance__in=list(instance_ids))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for instance_id, status, count in rows.values_list("instance_id", "status").annotate(
        Count("pk")
    ):
        counts[str(instance_id)][status] += count
    return counts


_NONE: Counter[str] = Counter()
_STATUSES = tuple(TaskStatus.values)
_NO_TASKS = dict.fromkeys((*_STATUSES, "open", "total"), 0)


def as_counts(counts: Counter[str]) -> dict[str, int]:
    """Return the count of every status, and `open` and `total`."""
    if not counts:
        return dict(_NO_TASKS)
    by_status = {status: counts[status] for status in _STATUSES}
    total = sum(by_status.values())
    ended = sum(by_status[status] for status in TERMINAL)
    return {**by_status, "open": total - ended, "total": total}


def effective_statuses(instance_ids: Iterable[str]) -> dict[str, str]:
    """Return the effective status of each instance (R4), in one query."""
    return {pk: Standing.along(line).effective for pk, line in lineages(instance_ids).items()}


def build_tree(
    instance_id: str, *, depth: int | None = None, include_terminated: bool = False
) -> dict[str, Any]:
    """Return an instance with everything below it, nested under `children`, in three queries.

    Each node has its own `task_counts` and `subtree_task_counts`. The latter include instances that
    the answer leaves out: below `depth` (levels; 0 is the instance alone) or terminated.
    """
    above = lineages([instance_id])[instance_id][:-1]
    rows = HopperInstance.objects.under(instance_id).order_by("lft")
    counts = task_counts(None if not above else rows.values_list("pk", flat=True))
    nodes: dict[str, dict[str, Any]] = {}
    order: list[dict[str, Any]] = []
    for row in rows.values(*TREE_FIELDS).iterator():
        parent = nodes.get(row["parent_id"]) if order else None
        line = parent["_line"] if parent else tuple(one.status for one in above)
        own = counts.get(row["id"], _NONE)
        node = {
            **row,
            "depth": len(line),
            "effective_status": Standing.under(line, row["status"]),
            "_own": own,
            "_all": Counter(own),
            "_line": (*line, row["status"]),
            "children": [],
        }
        nodes[row["id"]] = node
        order.append(node)
    top = order[0]
    for node in reversed(order):
        parent = nodes.get(node["parent_id"]) if node is not top else None
        if parent is not None:
            if node["_all"]:
                parent["_all"].update(node["_all"])
            shown = include_terminated or node["status"] != InstanceStatus.TERMINATED
            if shown and (depth is None or node["depth"] - len(above) <= depth):
                parent["children"].append(node)
    for node in order:
        _finish(node)
    return top


def _finish(node: dict[str, Any]) -> None:
    """Sort the children of a node and add up its counts."""
    node["children"].sort(key=lambda child: (child["name"], child["id"]))
    node["task_counts"] = as_counts(node.pop("_own"))
    node["subtree_task_counts"] = as_counts(node.pop("_all"))
    del node["_line"]


def closing_preview(instance_id: str) -> dict[str, Any]:
    """Return the figures below an instance: live children, unfinished tasks and live leases."""
    below = HopperInstance.objects.under(instance_id).live().exclude(pk=instance_id)
    tasks = Task.objects.in_subtree(instance_id)
    return {
        "instance_id": instance_id,
        "live_children": below.count(),
        "unfinished_tasks": tasks.open().count(),
        "live_leases": tasks.leased().count(),
    }


def metrics(instance: HopperInstance) -> dict[str, Any]:
    """Return counts by status, the oldest wait, throughput, used slots, and refusals."""
    now = database.now()
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
