"""Closing an EPHEMERAL run: its summary is stored with the parent, then the run ends (R5)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import transaction
from django.db.models import Q

from hopper import database
from hopper.actors import Actor
from hopper.counts import counted
from hopper.errors import Conflict, RuleBroken
from instances.choices import InstanceStatus as I, InstanceType
from instances.lifecycle.actions import terminate_instance
from instances.models import HopperInstance, Task
from instances.tasks.changes import lock_counters, lock_tasks
from instances.tasks.ending import cancel_locked
from instances.tree.locks import lock_trees, share_lines
from instances.tree.status import change_instance, present_instance

_TO_STOPPED = {
    I.CREATED: (),
    I.STARTING: (I.STOPPING, I.STOPPED),
    I.RUNNING: (I.STOPPING, I.STOPPED),
    I.PAUSED: (I.STOPPING, I.STOPPED),
    I.ERROR: (I.STOPPING, I.STOPPED),
    I.STOPPING: (I.STOPPED,),
    I.STOPPED: (),
}


def close_instance(instance_id: str, *, force: bool = False, actor: Actor) -> dict[str, Any]:
    """Close an EPHEMERAL instance and return its summary. A closed run returns its summary again.

    Summary: {instance_id, name, closed_at, closed_by, tasks: {status: count}, cancelled: [task ids
    that `force` cancelled], duration_seconds}. Raises RuleBroken for an instance of another type,
    Conflict listing the open tasks unless `force` cancels them.
    """
    with transaction.atomic():
        lock_trees(instance_id)
        share_lines()
        below = list(HopperInstance.objects.under(instance_id).values_list("pk", flat=True))
        parent_id = present_instance(instance_id).parent_id
        rows = database.lock_rows(HopperInstance, [*below, *([parent_id] if parent_id else [])])
        instance = rows[instance_id]
        if instance.instance_type != InstanceType.EPHEMERAL:
            raise RuleBroken(
                f"{instance_id} is {instance.instance_type}: only an ephemeral run is closed.",
                code="not_ephemeral",
            )
        if not instance.is_live:
            return dict(instance.runtime_metadata.get("summary") or {})
        cancelled = _cancel_open(below, actor, force=force)
        summary = _summary(instance, below, cancelled, actor)
        _keep(summary, instance, rows.get(parent_id or ""))
        for status in _TO_STOPPED[I(instance.status)]:
            change_instance(instance, status, actor, database.now())
        terminate_instance(instance_id, cascade=True, actor=actor)
    return summary


def _cancel_open(below: list[str], actor: Actor, *, force: bool) -> list[str]:
    """Cancel the open tasks below if `force` is set, and return their ids."""
    touched = Q(instance__in=below) | Q(offered_to__in=below)
    # Also the tasks whose offer the end withdraws: no task may be locked after a counter (R6).
    locked = lock_tasks(Task.objects.open().filter(touched).values_list("pk", flat=True))
    tasks = [task for task in locked if task.instance_id in below]
    ids = [task.pk for task in tasks]
    if ids and not force:
        raise Conflict(
            f"{counted(len(ids), 'task', 'is', 'are')} still open: {', '.join(ids[:5])}; "
            "force cancels open tasks.",
            code="open_tasks",
            open_tasks=ids,
        )
    # All counters at once: the cancellations release slots, and the end bars claims below (R6).
    lock_counters(Task.objects.filter(root__in={task.root_id for task in tasks}), also=below)
    cancel_locked(tasks, reason="the run was closed", actor=actor, now=database.now())
    return ids


def _summary(
    instance: HopperInstance, below: list[str], cancelled: list[str], actor: Actor
) -> dict[str, Any]:
    now = database.now()
    statuses = Task.objects.filter(instance__in=below).values_list("status", flat=True)
    began = instance.started_at or instance.created_at
    return {
        "instance_id": instance.pk,
        "name": instance.name,
        "closed_at": now.isoformat(),
        "closed_by": actor.name,
        "tasks": dict(Counter(statuses)),
        "cancelled": cancelled,
        "duration_seconds": round((now - began).total_seconds(), 3),
    }


def _keep(summary: dict[str, Any], instance: HopperInstance, parent: HopperInstance | None) -> None:
    """Write the summary to the records of the run and its parent."""
    for row, key in ((instance, "summary"), (parent, "runs")):
        if row is None:
            continue
        known = row.runtime_metadata
        value = summary if key == "summary" else {**known.get("runs", {}), instance.pk: summary}
        row.runtime_metadata = {**known, key: value}
        HopperInstance.objects.filter(pk=row.pk).update(runtime_metadata=row.runtime_metadata)
