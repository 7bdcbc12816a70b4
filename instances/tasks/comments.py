"""Commenting on a task."""

from __future__ import annotations

from django.db import transaction

from hopper import database
from hopper.actors import Actor
from hopper.ids import new_id
from instances.history import record, task_event
from instances.models import Comment
from instances.tasks.changes import lock_task


def add_comment(task_id: str, *, text: str, actor: Actor) -> Comment:
    """Write a comment on a task, finished or not, with its event. Raises NotFound."""
    with transaction.atomic():
        task = lock_task(task_id)
        now = database.now()
        comment = Comment.objects.create(
            id=new_id("com"),
            task=task,
            text=text,
            created_by=actor.name,
            created_by_id=actor.id,
            created_at=now,
        )
        record(task_event(task, "task.commented", actor=actor, now=now, comment=comment.pk))
    return comment
