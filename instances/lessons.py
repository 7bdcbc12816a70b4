"""Filing lessons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hopper import database
from hopper.ids import new_id
from instances.choices import Confidence
from instances.models import Lesson

if TYPE_CHECKING:
    from hopper.actors import Actor
    from instances.models import Task


def file_lesson(
    title: str,
    *,
    task: Task | None = None,
    domain: str = "",
    confidence: str = Confidence.MEDIUM,
    description: str = "",
    project: str = "",
    actor: Actor,
) -> Lesson:
    """Write a lesson and return it. Without a project the lesson gets the project of its task."""
    return Lesson.objects.create(
        id=new_id("lesson"),
        task=task,
        title=title,
        domain=domain,
        confidence=confidence,
        description=description,
        project=project or (task.project if task else ""),
        created_by=actor.name,
        created_by_id=actor.id,
        created_at=database.now(),
    )
