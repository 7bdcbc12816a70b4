"""Reopening a finished task, with the parents that ended because of it (R18)."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction

from hopper import database
from hopper.actors import Actor
from hopper.errors import Conflict
from instances.choices import TaskStatus as T
from instances.models import Event, Task
from instances.signals import task_reopened
from instances.tasks.changes import lock_task, rest_task
from instances.tasks.creating import adopt_child
from instances.tasks.dependencies import (
    cycle_through,
    reevaluate,
    reevaluate_dependants,
)
from instances.tree.locks import lock_edges, lock_trees


def reopen_task(task_id: str, *, reason: str = "", actor: Actor) -> Task:
    """Open a done, failed or cancelled task again, in a new epoch. An open task stays as it is.

    Raises Conflict, naming the parent, if the parent was closed by hand, is in work, or if a
    predecessor of the task waits for the parent. Raises Conflict if another open task has its
    `unique_key`.
    """
    with transaction.atomic():
        lock_for_reopening(task_id)
        task = lock_task(task_id)
        if task.is_terminal:
            reopen(task, reason=reason, actor=actor, now=database.now())
    return Task.objects.get(pk=task_id)


def lock_for_reopening(task_id: str) -> None:
    """Lock the trees to which a task and its parents may return, and the dependencies (R6, R18).

    A path that is made again begins at the origin of its task and stays in one tree.
    """
    places: set[str | None] = set()
    above: str | None = task_id
    while above is not None:
        row = Task.objects.filter(pk=above).values_list("parent_id", "instance_id", "origin_id")
        above, *held = row.first() or (None,)
        places.update(held)
    lock_trees(*places)
    lock_edges()


def reopen(task: Task, *, reason: str, actor: Actor, now: datetime) -> None:
    """Reopen a finished task after `lock_for_reopening` and its own lock, its parents first."""
    if task.parent_id is not None:
        _wait_again(task.parent_id, task, actor, now)
    _begin_again(task, reason, actor, now)
    _require_no_cycle(task)
    task_id = task.pk
    # After placing: a task that is still moving is not blocked (R23).
    transaction.on_commit(lambda: _reevaluate(task_id), robust=True)


def _wait_again(parent_id: str, child: Task, actor: Actor, now: datetime) -> None:
    """Make a parent wait for its children again. Raises Conflict if it cannot (R18)."""
    parent = database.lock_row(Task, parent_id)
    if parent is None or (parent.decomposed and parent.status == T.IN_PROGRESS):
        return
    resting = parent.status == T.PENDING and not parent.route_due and not parent.offered_to_id
    if parent.is_terminal and _ended_with_its_children(parent):
        reopen(parent, reason=f"its child {child.pk} was reopened", actor=actor, now=now)
    elif not resting:
        raise Conflict(
            f"{child.pk} cannot be reopened: its parent {parent.pk} is {parent.status}.",
            code="parent_closed",
            state=parent.status,
            parent_id=parent.pk,
        )
    adopt_child(parent, actor=actor, now=now)


def _begin_again(task: Task, reason: str, actor: Actor, now: datetime) -> None:
    ended_at = task.finished_at
    task.epoch += 1
    task.failures = 0
    task.decomposed = False
    task.result, task.error, task.finished_at, task.retry_at = None, "", None, None
    task.discarded_at = None
    try:
        with transaction.atomic():
            rest_task(task, kind="task.reopened", actor=actor, now=now, reason=reason)
    except IntegrityError:
        raise Conflict(
            f"{task.pk} cannot be reopened: another open task bears its unique_key.",
            code="unique_key_taken",
        ) from None
    task_reopened.announce(task=task, ended_at=ended_at, actor=actor, now=now)


def _require_no_cycle(task: Task) -> None:
    """Raise Conflict if a reopened task and its parent would wait for each other (R23).

    An edit of the finished task could not see this: a parent waits for open children only.
    """
    if cycle_through([task.pk]):
        raise Conflict(
            f"{task.pk} cannot be reopened: its predecessor waits for its parent {task.parent_id}.",
            code="cycle",
            parent_id=task.parent_id,
        )


def _ended_with_its_children(parent: Task) -> bool:
    endings = Event.objects.filter(task=parent, epoch=parent.epoch, ending=True)
    return endings.filter(data__aggregated=True).exists()


def _reevaluate(task_id: str) -> None:
    reevaluate(task_id)
    reevaluate_dependants([task_id])
