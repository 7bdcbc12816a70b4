"""Cancelling tasks, and discarding failed ones (R15, R16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction

from hopper import database
from hopper.actors import Actor
from hopper.errors import Conflict
from instances.choices import TaskStatus as T
from instances.models import Event, Task
from instances.tasks.changes import (
    amend_task,
    change_task,
    gathered,
    lock_counters,
    lock_ending_task,
    lock_task,
    make_roots,
)
from instances.tasks.same_report import require_same


def discard_task(task_id: str, *, reason: str = "", actor: Actor) -> Task:
    """Take a failed task out of the dead letters (R15). Repeating changes nothing.

    The task stays failed and may still be retried. Raises Conflict for a task that has not failed,
    AlreadyEnded for a task that was discarded for another reason.
    """
    with transaction.atomic():
        task = lock_task(task_id)
        if task.status != T.FAILED:
            raise Conflict(
                f"{task_id} is {task.status}: only a failed task is a dead letter.",
                code="not_failed",
                state=task.status,
                allowed=[T.FAILED.value],
            )
        if task.discarded_at is None:
            task.discarded_at = now = database.now()
            amend_task(task, "task.discarded", actor=actor, now=now, reason=reason)
        else:
            discarded = Event.objects.filter(task=task, kind="task.discarded").latest("id").data
            require_same(
                task_id, "discarded", word="reason", stored=discarded["reason"], reported=reason
            )
    return task


def cancel_task(task_id: str, *, reason: str = "", actor: Actor) -> Task:
    """Cancel a task and its open descendants in one transaction (R16). Repeatable.

    Children with `on_parent_close` "abandon" stay open and become roots. Raises Conflict for a task
    that is done or failed, AlreadyEnded for a task that was cancelled for another reason.
    """
    with transaction.atomic():
        task = lock_ending_task(task_id)
        if task.status == T.CANCELLED:
            require_same(task_id, task.status, word="reason", stored=task.error, reported=reason)
            return task
        if task.decomposed:
            lock_counters(Task.objects.filter(root_id=task.root_id))
        cancel_locked([task], reason=reason, actor=actor, now=database.now())
    return task


def cancel_locked(tasks: Sequence[Task], *, reason: str, actor: Actor, now: datetime) -> None:
    """Cancel tasks and their open descendants (R16): first those without another one above.

    The trees of the tasks and the counters of their holders are locked.
    """
    left = {task.pk: task for task in tasks}
    while left:
        highest = _highest(left)
        with gathered():
            for task in highest:
                task.error = reason
                change_task(task, T.CANCELLED, actor=actor, now=now, reason=reason)
        words = reason or "its parent was cancelled"
        end_open_children(highest, actor=actor, now=now, reason=words)
        # The others were cancelled with these, unless a child between them was released.
        others = left.keys() - {task.pk for task in highest}
        left = {task.pk: task for task in Task.objects.open().filter(pk__in=others).order_by("pk")}


def _highest(tasks: Mapping[str, Task]) -> list[Task]:
    """Return those of the tasks that stand below none of the others."""
    lower: set[str] = set()
    above = {pk: task.parent_id for pk, task in tasks.items() if task.parent_id}
    while above and len(tasks) > 1:
        lower |= {pk for pk, its in above.items() if its in tasks}
        rows = Task.objects.filter(pk__in=set(above.values()), parent__isnull=False)
        higher = dict(rows.values_list("pk", "parent_id"))
        above = {pk: higher[its] for pk, its in above.items() if its in higher}
    return [task for pk, task in tasks.items() if pk not in lower]


def end_open_children(parents: Sequence[Task], *, actor: Actor, now: datetime, reason: str) -> None:
    """Cancel the open descendants of locked, ended tasks; release abandoned ones.

    A task is cancelled before its children, so that these do not aggregate it (R14). The trees of
    the tasks are locked.
    """
    while parents:
        of_these = Task.objects.open().filter(parent__in=[parent.pk for parent in parents])
        children = list(of_these.order_by("pk"))
        abandoned = [child for child in children if child.on_parent_close == "abandon"]
        make_roots(abandoned, actor=actor, now=now)
        parents = [child for child in children if child.on_parent_close != "abandon"]
        with gathered():
            for child in parents:
                child.error = reason
                above = child.parent_id
                change_task(
                    child, T.CANCELLED, actor=actor, now=now, reason=reason, cascade_from=above
                )
