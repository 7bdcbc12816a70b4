"""Filing lessons, and the instance where a lesson belongs."""

from __future__ import annotations

from collections.abc import Sequence

from hopper import database
from hopper.actors import Actor
from hopper.errors import Invalid, NotAllowed
from hopper.ids import new_id
from hopper.words import bearers, key_of
from instances.choices import Confidence, HopperScope
from instances.models import HopperInstance, InstanceQuerySet, Lesson, LineageRow, Task, lineages


def file_lesson(
    title: str,
    *,
    task: Task | None = None,
    domain: str = "",
    confidence: str = Confidence.MEDIUM,
    description: str = "",
    project: str = "",
    seen: InstanceQuerySet,
    actor: Actor,
) -> Lesson:
    """Write a lesson and return it. Without a project the lesson gets the project of its task.

    `seen` are the instances that the actor sees. Raises NotAllowed for a project where the actor
    may not work, Invalid for a project that names several of them.
    """
    project = project or (task.project if task else "")
    return Lesson.objects.create(
        id=new_id("lesson"),
        task=task,
        instance_id=_place(task, project, seen, actor),
        title=title,
        domain=domain,
        confidence=confidence,
        description=description,
        project=project,
        domain_key=key_of(domain),
        project_key=key_of(project),
        created_by=actor.name,
        created_by_id=actor.id,
        created_at=database.now(),
    )


def named_by(project: str, seen: InstanceQuerySet) -> list[HopperInstance]:
    """Return the instances in `seen` that a project names (R25), of many only some."""
    key = key_of(project)
    by_name = seen.live().filter(name_key=key)[:3]
    found = {one.pk: one for one in (*seen.filter(pk__in=(project, key)), *by_name)}
    return bearers(project, found.values())


def _place(task: Task | None, project: str, seen: InstanceQuerySet, actor: Actor) -> str | None:
    """Return the instance of a lesson, one where the actor may work; None for an unplaced one.

    The instance is the one that the project names. Without a name it is the lowest instance that is
    no run, of the task's holder and the instances above; else the holder.
    """
    named = lineages(one.pk for one in named_by(project, seen)) if project else {}
    mine = [pk for pk, line in named.items() if actor.holds("worker", [one.id for one in line])]
    if len(mine) == 1:
        return mine[0]
    if task is not None and task.instance_id is not None:
        line = lineages([task.instance_id])[task.instance_id]
        ids = [one.id for one in line]
        own = [one for at, one in enumerate(line) if actor.holds("worker", ids[: at + 1])]
        return _lowest_lasting(own) or task.instance_id
    if mine:
        words = f"{project} names several instances: {', '.join(mine)}"
        raise Invalid.field("project", words, "ambiguous")
    if named:
        raise NotAllowed(f"This takes the role worker at {', '.join(named)}.", role="worker")
    return None


def _lowest_lasting(line: Sequence[LineageRow]) -> str | None:
    """Return the lowest instance of a line that is no run; None where there is none."""
    return next((one.id for one in reversed(line) if one.scope != HopperScope.ORCHESTRATION), None)
