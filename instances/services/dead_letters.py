"""Dead letters: what failed for good, until somebody retries or discards it (R15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from hopper.errors import Conflict
from instances.choices import TaskStatus as T
from instances.services.history import record, task_event
from instances.services.transitions import lock_task, save_task

if TYPE_CHECKING:
    from hopper.actors import Actor
    from instances.models import Task


def discard_task(task_id: str, *, reason: str = "", actor: Actor) -> Task:
    """Take a failed task out of the dead letters; it stays failed, and again changes nothing (R15).

    A retry is possible still. Raises Conflict for a task that has not failed.
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
            now = timezone.now()
            task.discarded_at = now
            save_task(task, now)
            before = task.status
            record(
                task_event(
                    task, "task.discarded", actor=actor, now=now, before=before, reason=reason
                )
            )
    return task
