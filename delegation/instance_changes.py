"""The effects of a changed instance on offers and tasks: stop, error, terminate, start (R5)."""

from __future__ import annotations

from collections.abc import Collection, Set
from datetime import datetime
from itertools import takewhile
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, prefetch_related_objects

from delegation.choices import DelegationStatus as D, DelegationType, Reason
from delegation.models import TaskDelegation
from delegation.offers import close_offer, end_accepted
from hopper import database
from hopper.actors import Actor
from hopper.counts import counted
from hopper.errors import Conflict
from instances.choices import (
    PLACING_BLOCKS,
    STARTED,
    AttemptOutcome,
    InstanceStatus as I,
    TaskStatus as T,
)
from instances.models import HopperInstance, Task, lineages
from instances.tasks.changes import (
    change_task,
    gathered,
    lock_counters,
    lock_tasks,
    move_task,
)
from instances.tree.locks import lock_trees


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
            f"{counted(crossing.count(), 'open delegation', 'crosses', 'cross')} the edge above "
            f"{instance.pk}: move {instance.pk} when the tasks of these delegations have ended.",
            code="path_crosses",
            delegations=list(crossing.order_by("pk").values_list("pk", flat=True)[:20]),
        )


def evacuate_instance(
    instance_id: str, *, found: Collection[str] = (I.ERROR,), actor: Actor
) -> int:
    """Send the unstarted tasks below an instance back up; return how many moved (R5).

    Returns 0 if the status is no longer one of `found`, the statuses for an evacuation.
    """
    if not _unstarted(_below(instance_id)).exists():
        # An empty subtree needs no locks, even if the sweep asks often.
        return 0
    with transaction.atomic():
        lock_trees(instance_id)
        instance = database.lock_shared(HopperInstance, instance_id)
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
    # The cancelled offers changed some of these tasks after the lock.
    fresh = list(Task.objects.filter(pk__in=[task.pk for task in tasks]).order_by("pk"))
    ways = _Ways(fresh, gone)
    leaving = [
        task
        for task in fresh
        if task.status == T.PENDING
        and task.waiting_code != "AwaitingEscalation"
        and task.instance_id in gone
        and ways.back(task) is not None
    ]
    with gathered():
        for task in leaving:
            ways.withdraw(task, Reason.SOURCE_STOPPED, actor, now)
            ways.move_out(task, Reason.EVACUATED, actor, now)
    return len(leaving)


def empty_terminated(*, instance_ids: Collection[str], actor: Actor, now: datetime) -> None:
    """Move every unfinished task out of instances that were just terminated (R5)."""
    gone = frozenset(instance_ids)
    touched = Q(instance__in=gone) | Q(offered_to__in=gone)
    tasks = lock_tasks(Task.objects.open().filter(touched).values_list("pk", flat=True))
    lock_counters(Task.objects.filter(pk__in=[task.pk for task in tasks]))
    ways = _Ways(tasks, gone)
    with gathered():
        for task in tasks:
            held = task.instance_id in gone
            reason = Reason.SOURCE_TERMINATED if held else Reason.TARGET_TERMINATED
            ways.withdraw(task, reason, actor, now)
            if held:
                _free(task, actor, now)
                ways.move_out(task, Reason.TARGET_TERMINATED, actor, now)


def _free(task: Task, actor: Actor, now: datetime) -> None:
    """End the work on a locked task, and lift a block that placing set (R5)."""
    if task.status in STARTED and not task.decomposed:
        kind, evicted = "task.evicted", AttemptOutcome.EVICTED
        change_task(task, T.PENDING, actor=actor, now=now, kind=kind, outcome=evicted)
    elif task.status == T.BLOCKED and task.waiting_code in PLACING_BLOCKS:
        task.wait("")
        change_task(task, T.PENDING, actor=actor, now=now, kind="task.unblocked")


class _Ways:
    """The ways of locked tasks out of the instances in `gone`, read for all tasks at once."""

    def __init__(self, tasks: list[Task], gone: Set[str]) -> None:
        self.gone = gone
        self._open: dict[str, list[TaskDelegation]] = {task.pk: [] for task in tasks}
        rows = TaskDelegation.objects.filter(task__in=tasks).open()
        # The last hop first.
        for row in rows.order_by("-hop", "-id"):
            self._open[row.task_id].append(row)
        prefetch_related_objects(tasks, "instance")
        held = {task.instance_id for task in tasks if task.instance_id}
        self._lines = lineages(held)
        above = {one.id for line in self._lines.values() for one in line}
        sources = {row.source_instance_id for rows in self._open.values() for row in rows}
        self._instances = HopperInstance.objects.in_bulk(
            {pk for pk in above | sources if pk is not None and pk not in gone}
        )

    def withdraw(self, task: Task, reason: str, actor: Actor, now: datetime) -> None:
        """Cancel the pending offer of a task."""
        for row in self._open[task.pk]:
            if row.is_pending:
                close_offer(row, task, D.CANCELLED, reason=reason, actor=actor, now=now)

    def back(self, task: Task) -> str | None:
        """Return the last instance on the task's path that is not in `gone`."""
        sources = (row.source_instance_id for row in self._path(task))
        return next((source for source in sources if source not in self.gone), None)

    def move_out(self, task: Task, reason: str, actor: Actor, now: datetime) -> None:
        """Move a task to its last holder outside `gone`; the hops on the way back fail.

        The caller has locked the tree, so the new holder is neither terminated nor moved meanwhile.
        """
        was, holder_id = task.instance_id, self.back(task)
        failing = list(takewhile(lambda row: row.target_instance_id != holder_id, self._path(task)))
        if holder_id is None:
            failing += [row for row in self._accepted(task) if row.source_instance_id is None]
            above = [one.id for one in self._lines[str(was)] if one.id not in self.gone]
            holder_id = above[-1] if above else None
        for row in failing:
            end_accepted(row, D.FAILED, reason=reason, actor=actor, now=now)
        holder = self._instances[holder_id] if holder_id else None
        move_task(task, holder, actor=actor, now=now, was=was, reason=reason)

    def _path(self, task: Task) -> list[TaskDelegation]:
        """Return the active path of a task (R6), the last hop first."""
        downward = (row for row in self._accepted(task) if not row.goes_up)
        return [row for row in downward if row.source_instance_id is not None]

    def _accepted(self, task: Task) -> list[TaskDelegation]:
        return [row for row in self._open[task.pk] if row.status == D.ACCEPTED]


def _cancel(offers: Any, reason: str, actor: Actor, now: datetime) -> None:
    """Cancel pending offers. Their tasks become due again."""
    wanted = list(offers.values_list("pk", "task_id"))
    tasks = {task.pk: task for task in lock_tasks(task_id for _, task_id in wanted)}
    prefetch_related_objects(list(tasks.values()), "instance")
    rows = TaskDelegation.objects.filter(pk__in=[pk for pk, _ in wanted], status=D.PENDING)
    with gathered():
        for row in rows:
            close_offer(row, tasks[row.task_id], D.CANCELLED, reason=reason, actor=actor, now=now)


def _downward_offers() -> Any:
    pending = TaskDelegation.objects.filter(status=D.PENDING)
    return pending.exclude(delegation_type=DelegationType.ESCALATE)


def _unstarted(below: Set[str]) -> Any:
    """Return the tasks that may leave these instances on the way that they came."""
    tasks = Task.objects.filter(instance__in=below, status=T.PENDING)
    hops = TaskDelegation.objects.chain(OuterRef("pk"))
    return tasks.filter(Exists(hops.exclude(source_instance__in=below)))
