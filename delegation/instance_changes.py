"""The effects of a changed instance on offers and tasks: stop, error, terminate, start (R5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from delegation.choices import DelegationStatus as D
from delegation.choices import DelegationType, Reason
from delegation.models import TaskDelegation
from delegation.offers import close_offer, end_accepted
from hopper import database
from hopper.database import lock_shared, lock_tree
from hopper.errors import Conflict
from instances.choices import PLACING_BLOCKS, STARTED, AttemptOutcome
from instances.choices import InstanceStatus as I
from instances.choices import TaskStatus as T
from instances.models import HopperInstance, Task
from instances.models.instance import lineages
from instances.tasks.changes import (
    change_task,
    hold_places,
    lock_tasks,
    move_task,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Set
    from datetime import datetime

    from hopper.actors import Actor


def refuse_crossing_move(*, instance: HopperInstance) -> None:
    """Raise Conflict if an offer or an active path crosses the edge above an instance (R1)."""
    edge = Q(source_instance=instance.parent_id, target_instance=instance) | Q(
        source_instance=instance, target_instance=instance.parent_id
    )
    crossing = (
        TaskDelegation.objects.open()
        .filter(edge)
        .exclude(delegation_type=DelegationType.ESCALATE, status=D.ACCEPTED)
    )
    if instance.parent_id and crossing.exists():
        raise Conflict(
            f"{crossing.count()} delegation(s) still cross the edge above {instance.pk}: it can be "
            "moved when their tasks have ended.",
            code="path_crosses",
            delegations=list(crossing.order_by("pk").values_list("pk", flat=True)[:20]),
        )


def evacuate_instance(
    instance_id: str, *, found: Collection[str] = (I.ERROR,), actor: Actor
) -> int:
    """Send the unstarted tasks below an instance back up; return how many moved (R5).

    Returns None if the status is no longer one of `found`, the statuses for an evacuation.
    """
    if not _unstarted(_below(instance_id)).exists():
        # An empty subtree needs no locks, even if the sweep asks often.
        return 0
    with transaction.atomic():
        lock_tree()
        instance = lock_shared(HopperInstance, instance_id)
        if instance is None or instance.status not in found:
            return 0
        below = _below(instance_id)
        tasks = lock_tasks(_unstarted(below).values_list("pk", flat=True))
        return _evacuate(tasks, below, actor, database.now())


def _below(instance_id: str) -> frozenset[str]:
    return frozenset(HopperInstance.objects.under(instance_id).values_list("pk", flat=True))


def empty_stopping(
    *, instance_id: str, evacuate: bool, leased: Collection[str], actor: Actor, now: datetime
) -> None:
    """Cancel the offers to and from a stopping instance and all below; evacuate if asked."""
    below = _below(instance_id)
    inward = _downward_offers().filter(target_instance__in=below)
    outward = _downward_offers().filter(source_instance__in=below)
    wanted = {*leased, *(inward | outward).values_list("task_id", flat=True)}
    if evacuate:
        wanted |= set(_unstarted(below).values_list("pk", flat=True))
    # All roots at once, so that no root is locked after a task (R6).
    tasks = lock_tasks(wanted)
    _cancel(inward.filter(task__in=wanted), Reason.TARGET_STOPPED, actor, now)
    _cancel(outward.filter(task__in=wanted), Reason.SOURCE_STOPPED, actor, now)
    if evacuate:
        _evacuate(tasks, below, actor, now)


def cancel_offers_to(*, instance_id: str, actor: Actor, now: datetime) -> None:
    """Cancel the offers to an instance in error."""
    _cancel(_downward_offers().filter(target_instance=instance_id), Reason.TARGET_ERROR, actor, now)


def _evacuate(tasks: list[Task], gone: Set[str], actor: Actor, now: datetime) -> int:
    moved = 0
    # The cancelled offers changed some of these tasks after the lock.
    for task in Task.objects.filter(pk__in=[task.pk for task in tasks]).order_by("pk"):
        stays = task.status != T.PENDING or task.waiting_code == "AwaitingEscalation"
        if stays or task.instance_id not in gone or _way_out(task, gone) is None:
            continue
        _withdraw(task, Reason.SOURCE_STOPPED, actor, now)
        _move_out(task, gone, Reason.EVACUATED, actor, now)
        moved += 1
    return moved


def empty_terminated(*, instance_ids: Collection[str], actor: Actor, now: datetime) -> None:
    """Move every unfinished task out of instances that were just terminated (R5)."""
    gone = frozenset(instance_ids)
    touched = Q(instance__in=gone) | Q(offered_to__in=gone)
    tasks = lock_tasks(Task.objects.open().filter(touched).values_list("pk", flat=True))
    hold_places(Task.objects.filter(pk__in=[task.pk for task in tasks]))
    for task in tasks:
        held = task.instance_id in gone
        _withdraw(task, Reason.SOURCE_TERMINATED if held else Reason.TARGET_TERMINATED, actor, now)
        if not held:
            continue
        if task.status in STARTED and not task.decomposed:
            change_task(
                task,
                T.PENDING,
                actor=actor,
                now=now,
                kind="task.evicted",
                outcome=AttemptOutcome.EVICTED,
            )
        elif task.status == T.BLOCKED and task.waiting_code in PLACING_BLOCKS:
            task.wait("")
            change_task(task, T.PENDING, actor=actor, now=now, kind="task.unblocked")
        _move_out(task, gone, Reason.TARGET_TERMINATED, actor, now)


def _move_out(task: Task, gone: Set[str], reason: str, actor: Actor, now: datetime) -> None:
    """Move a locked task to its last holder outside `gone`; the hops on the way back fail.

    The caller holds the tree lock, so the new holder is neither terminated nor moved meanwhile.
    """
    was, holder_id = task.instance_id, _way_out(task, gone)
    for row in TaskDelegation.objects.chain(task.pk).order_by("-hop", "-id"):
        if row.target_instance_id == holder_id:
            break
        end_accepted(row, D.FAILED, reason=reason, actor=actor, now=now)
    if holder_id is None:
        handed_out = TaskDelegation.objects.filter(
            task=task, status=D.ACCEPTED, source_instance__isnull=True
        )
        for row in handed_out:
            end_accepted(row, D.FAILED, reason=reason, actor=actor, now=now)
        above = [ancestor for ancestor in lineages([str(was)])[str(was)] if ancestor.id not in gone]
        holder_id = above[-1].id if above else None
    holder = HopperInstance.objects.get(pk=holder_id) if holder_id else None
    move_task(task, holder, actor=actor, now=now, was=was, reason=reason)


def _way_out(task: Task, gone: Set[str]) -> str | None:
    """Return the last instance on the task's path that is not in `gone`."""
    for source in (
        TaskDelegation.objects.chain(task.pk)
        .order_by("-hop", "-id")
        .values_list("source_instance_id", flat=True)
    ):
        if source not in gone:
            return str(source)
    return None


def _withdraw(task: Task, reason: str, actor: Actor, now: datetime) -> None:
    for offer in TaskDelegation.objects.filter(task=task, status=D.PENDING):
        close_offer(offer, task, D.CANCELLED, reason=reason, actor=actor, now=now)


def _cancel(offers: Any, reason: str, actor: Actor, now: datetime) -> None:
    """Cancel pending offers. Their tasks become due again."""
    wanted = list(offers.values_list("pk", "task_id"))
    tasks = {task.pk: task for task in lock_tasks(task_id for _, task_id in wanted)}
    for row in TaskDelegation.objects.filter(pk__in=[pk for pk, _ in wanted], status=D.PENDING):
        close_offer(row, tasks[row.task_id], D.CANCELLED, reason=reason, actor=actor, now=now)


def _downward_offers() -> Any:
    pending = TaskDelegation.objects.filter(status=D.PENDING)
    return pending.exclude(delegation_type=DelegationType.ESCALATE)


def _unstarted(below: Set[str]) -> Any:
    """Return the tasks that may leave these instances on the way that they came."""
    tasks = Task.objects.filter(instance__in=below, status=T.PENDING)
    hops = TaskDelegation.objects.chain(OuterRef("pk"))
    return tasks.filter(Exists(hops.exclude(source_instance__in=below)))
