"""The path of a reopened task is made again, as far as its instances still live (R18)."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from delegation.choices import DelegationStatus as D
from delegation.choices import DelegationType, Reason
from delegation.models import TaskDelegation
from hopper.ids import new_id
from instances.models import HopperInstance
from instances.models.instance import lineages
from instances.services.history import record, task_event
from instances.services.transitions import rest_or_route, save_task

if TYPE_CHECKING:
    from datetime import datetime

    from hopper.actors import Actor
    from instances.models import Task

_ENDS = (Reason.TASK_DONE, Reason.TASK_FAILED, Reason.TASK_CANCELLED)


def remake_path(task: Task, ended_at: datetime | None, actor: Actor, now: datetime) -> None:
    """Put a reopened task back to its last living holder, by accepted rows of the new epoch.

    The rows by which it had ended stay as they are. The tree lock is held.
    """
    rows = list(
        TaskDelegation.objects.filter(
            task=task,
            completed_at__gte=ended_at,
            reason__in=_ENDS,
            accepted_at__isnull=False,
            source_instance__isnull=False,
        )
        .exclude(delegation_type=DelegationType.ESCALATE)
        .order_by("hop", "id")
    )
    kept = _living(rows)
    _lay(kept, task, actor, now)
    was, task.instance = task.instance_id, _holder(task, rows, kept)
    rest_or_route(task)
    save_task(task, now)
    if was != task.instance_id:
        kind, before, why = "task.moved", task.status, Reason.REOPENED
        record(task_event(task, kind, actor=actor, now=now, before=before, was=was, reason=why))


def _lay(hops: list[TaskDelegation], task: Task, actor: Actor, now: datetime) -> None:
    """Write the hops again, accepted, in the task's new epoch."""
    TaskDelegation.objects.bulk_create(
        TaskDelegation(
            id=new_id("del"),
            task=task,
            source_instance_id=row.source_instance_id,
            target_instance_id=row.target_instance_id,
            delegation_type=DelegationType.ROUTE,
            status=D.ACCEPTED,
            hop=hop,
            epoch=task.epoch,
            delegated_at=now,
            accepted_at=now,
            reason=Reason.REOPENED,
            delegated_by=actor.name,
        )
        for hop, row in enumerate(hops, start=1)
    )


def _living(rows: list[TaskDelegation]) -> list[TaskDelegation]:
    """Return the hops that still lead down the tree, to targets that live."""
    targets = HopperInstance.objects.live().filter(pk__in=[row.target_instance_id for row in rows])
    parents = dict(targets.values_list("pk", "parent_id"))
    return list(
        takewhile(lambda row: parents.get(row.target_instance_id) == row.source_instance_id, rows)
    )


def _holder(
    task: Task, rows: list[TaskDelegation], kept: list[TaskDelegation]
) -> HopperInstance | None:
    """Return the last living instance on the path, else the nearest living one above."""
    if kept:
        return kept[-1].target_instance
    start = rows[0].source_instance_id if rows else task.instance_id
    if start is None:
        return None
    live = [lineal.id for lineal in lineages([start])[start] if lineal.status != "terminated"]
    return HopperInstance.objects.get(pk=live[-1]) if live else None
