"""Cancelling tasks, and discarding failed ones (R15, R16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from hopper import database
from hopper.errors import Conflict
from instances.choices import TaskStatus as T
from instances.models import Task
from instances.tasks.changes import (
    amend_task,
    change_task,
    hold_places,
    lock_ending_task,
    lock_task,
    lock_tasks,
    make_root,
)
from instances.tasks.repeats import require_repeat

if TYPE_CHECKING:
    from datetime import datetime

    from hopper.actors import Actor


def discard_task(task_id: str, *, reason: str = "", actor: Actor) -> Task:
    """Take a failed task out of the dead letters (R15). Repeating changes nothing.

    The task stays failed and may still be retried. Raises Conflict for a task that has not failed.
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
    return task


def cancel_task(task_id: str, *, reason: str = "", actor: Actor) -> Task:
    """Cancel a task and its open descendants in one transaction (R16). Repeatable.

    Children with `on_parent_close` "abandon" stay open and become roots. Raises Conflict for a task
    that is done or failed, AlreadyEnded for a task that was cancelled for another reason.
    """
    with transaction.atomic():
        task = lock_ending_task(task_id)
        if task.status == T.CANCELLED:
            require_repeat(task_id, task.status, word="reason", stored=task.error, said=reason)
            return task
        now = database.now()
        task.error = reason
        if task.decomposed:
            hold_places(Task.objects.filter(root_id=task.root_id))
        change_task(task, T.CANCELLED, actor=actor, now=now, reason=reason)
        end_open_children(task, actor=actor, now=now, reason=reason or "its parent was cancelled")
    return task


def end_open_children(task: Task, *, actor: Actor, now: datetime, reason: str) -> None:
    """Cancel the open descendants of a locked, ended task; release abandoned ones.

    Each task is cancelled before its own children, so that these do not aggregate it (R14).
    """
    if not task.children.open().exists():
        return
    for child in lock_tasks(task.children.open().values_list("pk", flat=True)):
        if child.on_parent_close == "abandon":
            make_root(child, actor=actor, now=now)
            continue
        child.error = reason
        change_task(child, T.CANCELLED, actor=actor, now=now, reason=reason, cascade_from=task.pk)
        end_open_children(child, actor=actor, now=now, reason=reason)
