"""The change of a task: the table is asked, the row written, the event recorded, once, here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.models import F, Q

from hopper.database import engine, inserting, lock_rows, updating, write_together
from hopper.errors import NotFound
from hopper.protocol import TASK
from instances.allowances import ROUTING
from instances.choices import (
    STARTED,
    TERMINAL,
    AttemptOutcome,
    InstanceStatus,
)
from instances.choices import TaskStatus as T
from instances.history import task_event
from instances.models import Attempt, HopperInstance, InstanceLoad, Task
from instances.signals import routing_due, task_finished
from instances.tree.status import settle_after_commit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet

    from hopper.actors import Actor
    from hopper.database.engine import Write

_OUTCOMES = {
    T.DONE: AttemptOutcome.COMPLETED,
    T.FAILED: AttemptOutcome.FAILED,
    T.CANCELLED: AttemptOutcome.CANCELLED,
}
_WITH_ERROR = (AttemptOutcome.FAILED, AttemptOutcome.EXPIRED, AttemptOutcome.CANCELLED)


def present_task(task_id: str) -> Task:
    """Return the task, read without a lock. Raises NotFound."""
    task = Task.objects.filter(pk=task_id).first()
    if task is None:
        raise NotFound(f"There is no task {task_id}.")
    return task


def lock_task(task_id: str) -> Task:
    """Lock the root of the task's tree, then the tree's open tasks (R6); return the task, fresh.

    Raises NotFound.
    """
    locked = lock_tasks([task_id])
    if not locked:
        raise NotFound(f"There is no task {task_id}.")
    return locked[0]


def lock_tasks(task_ids: Iterable[str]) -> list[Task]:
    """Lock the roots of tasks, then them and all open tasks of their trees, each in id order.

    The whole trees, because an end may reach every open relative, and no task row may be asked for
    after a capacity counter (R6). Returns the wanted tasks, fresh, in id order.
    """
    wanted = set(task_ids)
    rows = Task.objects.select_for_update(no_key=True, of=("self",))
    above = Task.objects.filter(pk__in=wanted).values_list("root_id", flat=True)
    # One root is found in the statement that locks it; of several the planner makes a mess.
    one = Q(pk=above[:1]) if len(wanted) == 1 else Q(pk__in=set(above))
    roots = list(rows.filter(one).order_by("pk"))
    root_ids = {root.pk for root in roots}
    if wanted == root_ids and not any(root.decomposed for root in roots):
        # Trees of one task: the lock on the root was the lock on all.
        return roots
    # Who waited for a root may find its task cut loose (R16): the new root, before any task row.
    moved = Task.objects.filter(pk__in=wanted)
    while loose := set(moved.exclude(root__in=root_ids).values_list("root_id", flat=True)):
        root_ids |= {root.pk for root in rows.filter(pk__in=loose).order_by("pk")}
    tree = rows.filter(Q(pk__in=wanted) | (Q(root__in=root_ids) & ~Q(status__in=TERMINAL)))
    # All are locked, the wanted alone are read whole: of a large family that is far less.
    list(tree.order_by("pk").values_list("pk"))
    return list(Task.objects.filter(pk__in=wanted).order_by("pk"))


def change_task(
    task: Task,
    status: str,
    *,
    actor: Actor,
    now: datetime,
    kind: str = "",
    outcome: str = "",
    **data: Any,
) -> None:
    """Take one edge of the task's table on a locked row, write it and its event.

    A live lease ends unless the task stays started; `outcome` says how (by default as the status
    says). A terminal status tells those above (R17), inside the transaction.
    """
    before = task.status
    TASK.require(before, status, task.pk)
    writes, place = [], None
    if before in STARTED and status not in STARTED and task.has_live_lease:
        place = task.instance_id
        outcome = outcome or _OUTCOMES.get(T(status), AttemptOutcome.RELEASED)
        writes.append(_closing(task, outcome, now))
        task.end_lease()
    _enter(task, status, now)
    task.updated_at = max(now, task.updated_at)
    kind = kind or f"task.{status}"
    ending = status in TERMINAL
    event = task_event(task, kind, actor=actor, now=now, before=before, ending=ending, **data)
    write_together(*writes, updating(task), inserting([event]))
    if ending:
        task_finished.send(Task, task=task, actor=actor, now=now)
    if place is not None:
        # Last, so that the counter of a busy instance is held for the commit alone (R6).
        _free_place(place)


def _enter(task: Task, status: str, now: datetime) -> None:
    """Set what belongs to a status."""
    task.status = status
    if status != T.PENDING:
        task.route_due = False
    if status in (T.PENDING, T.BLOCKED):
        task.worker = ""
    if status in TERMINAL:
        task.finished_at = now
        task.wait("")
    if status == T.IN_PROGRESS and task.started_at is None:
        task.started_at = now


def hold_places(tasks: QuerySet[Task], also: Iterable[str] = ()) -> None:
    """Lock the counters of where locked tasks are or were leased, before several are freed (R6).

    Were: the lease of a task that is just ending is written off already, its place freed last.
    `also` names instances whose counters are written later in the same transaction.
    """
    places = tasks.filter(attempt__gt=0, instance__isnull=False).order_by()
    leased = places.values_list("instance_id", flat=True).distinct()
    lock_rows(InstanceLoad, [*leased, *also])


def end_attempt(task: Task, outcome: str, now: datetime) -> None:
    """End the live lease, if any, of a task that stays started: close the attempt, free its place.

    The caller saves the task.
    """
    if task.has_live_lease:
        write_together(_closing(task, outcome, now))
        _free_place(str(task.instance_id))
    task.end_lease()


def _closing(task: Task, outcome: str, now: datetime) -> Write:
    table = Attempt._meta.db_table
    # The error of a task may still be that of an attempt before; these set their own.
    error = task.error if outcome in _WITH_ERROR else ""
    values = [outcome, connection.ops.adapt_datetimefield_value(now), error]
    later = engine().greatest
    return (
        # A change that waited for its locks may have begun before the attempt did (I14).
        f"UPDATE {table} SET outcome = %s, ended_at = {later}(started_at, %s), error = %s"  # noqa: S608
        " WHERE task_id = %s AND number = %s AND outcome IS NULL",
        [*values, task.pk, task.attempt],
    )


def _free_place(instance_id: str) -> None:
    """Give a place back to the instance's counter (R6, kind 5; R22), and settle who waited for it.

    Whether anything is stopping is asked afterwards: a stop that held the counter has committed.
    """
    InstanceLoad.objects.filter(pk=instance_id).update(running=F("running") - 1)
    if HopperInstance.objects.filter(status=InstanceStatus.STOPPING).exists():
        settle_after_commit(instance_id)


def rest_or_route(task: Task) -> None:
    """Mark a pending task due for placing where its holder routes work on (R9)."""
    holder = task.instance
    task.route_due = bool(
        holder is not None
        and holder.scope in ROUTING
        and task.status == T.PENDING
        and task.offered_to_id is None
    )


def save_task(task: Task, now: datetime) -> None:
    """Write a locked task whole: nobody else can have changed it meanwhile."""
    task.updated_at = max(now, task.updated_at)
    write_together(updating(task))


def announce_due(task: Task, actor: Actor) -> None:
    """After the commit, have a due task placed; the sweep does it should this be lost."""
    if task.route_due:
        task_id = task.pk
        transaction.on_commit(lambda: _send_due(task_id, actor))


def _send_due(task_id: str, actor: Actor) -> None:
    routing_due.send(Task, task_id=task_id, actor=actor)
