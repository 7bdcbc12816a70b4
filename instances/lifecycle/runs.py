"""Starting a run: its project, its ORCHESTRATION and its tasks, all in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from hopper.actors import Actor
from hopper.errors import Conflict
from instances.choices import HopperScope, InstanceStatus, InstanceType
from instances.lifecycle.actions import start_instance
from instances.models import HopperInstance, Task
from instances.tasks.creating import NewTask, create_task
from instances.tasks.dependencies import require_few_edges
from instances.tree.locks import lock_trees
from instances.tree.shape import create_instance


@dataclass(frozen=True)
class NewRun:
    """The content of a run.

    `project` is the id of a live PROJECT. Without it, `new_project` has the fields of the PROJECT
    to be created. `tasks` are bodies of tasks with their `key` in the run; a body may depend on the
    keys of bodies before it.
    """

    id: str
    name: str
    project: str | None
    new_project: Mapping[str, Any]
    tasks: Sequence[Mapping[str, Any]] = ()
    description: str = ""
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class StartedRun:
    """The ids of the project, of the run, and of its tasks by key; which tasks existed before."""

    project: str
    run: str
    tasks: Mapping[str, str]
    known: frozenset[str]


def start_run(new: NewRun, *, actor: Actor) -> StartedRun:
    """Create and start what is missing of a run, all or nothing.

    A repeated call changes nothing: the run is found by its id, a task by its key, ended or not.
    Raises Conflict for a closed run, and for an id that belongs to another instance.
    """
    require_few_edges(len(body.get("depends_on", ())) for body in new.tasks)
    with transaction.atomic():
        above = new.project or new.new_project.get("parent_id")
        lock_trees(above, roots=above is None)
        project = _project(new, actor)
        run = _run(new, project, actor)
        for instance in (project, run):
            if instance.status == InstanceStatus.CREATED:
                start_instance(instance.pk, actor=actor)
        known = _known(run)
        tasks: dict[str, str] = {}
        for body in new.tasks:
            key = f"{run.pk}/{body['key']}"
            tasks[body["key"]] = known.get(key) or _create(body, key, run, tasks, actor)
    return StartedRun(project.pk, run.pk, tasks, frozenset(known.values()) & set(tasks.values()))


def _project(new: NewRun, actor: Actor) -> HopperInstance:
    if new.project is None:
        return create_instance(**new.new_project, scope=HopperScope.PROJECT, actor=actor)
    return HopperInstance.objects.get(pk=new.project)


def _run(new: NewRun, project: HopperInstance, actor: Actor) -> HopperInstance:
    """Return the run's ORCHESTRATION in a locked tree. Creates a missing one."""
    found = HopperInstance.objects.filter(pk=new.id).first()
    if found is None:
        return create_instance(
            new.name,
            id=new.id,
            scope=HopperScope.ORCHESTRATION,
            instance_type=InstanceType.EPHEMERAL,
            parent_id=project.pk,
            description=new.description,
            config=dict(new.config or {}),
            actor=actor,
        )
    if found.scope != HopperScope.ORCHESTRATION or found.parent_id != project.pk:
        # The id alone is named: the caller may not see the instance.
        raise Conflict(f"id: {new.id} is taken by an instance that is no run of {project.pk}.")
    if found.status == InstanceStatus.TERMINATED:
        raise Conflict(f"The run {new.id} is closed: give the next one another id.")
    return found


def _known(run: HopperInstance) -> dict[str | None, str]:
    """Return the tasks that came into the run under a key, ended or not; of several the latest."""
    keyed = Task.objects.filter(origin=run, unique_key__startswith=f"{run.pk}/")
    return dict(keyed.order_by("created_at", "pk").values_list("unique_key", "pk"))


def _create(
    body: Mapping[str, Any],
    key: str,
    run: HopperInstance,
    tasks: Mapping[str, str],
    actor: Actor,
) -> str:
    fields = {name: value for name, value in body.items() if name != "key"}
    fields["depends_on"] = [tasks.get(word, word) for word in body.get("depends_on", ())]
    new = NewTask(**fields, instance_id=run.pk, unique_key=key)
    return create_task(new, actor=actor).task.pk
