"""/runs: an orchestration for a run, with its project and its tasks, made in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from hopper.actors import Actor
from hopper.errors import FieldError, Invalid
from hopper.rest.described import extend_schema
from hopper.rest.fields import Line, List, Object, StrictSerializer, Text
from hopper.task_fields import CHILD
from instances.api.base import Answering
from instances.api.instance_serializers import (
    MAX_DESCRIPTION,
    InstanceSerializer,
    Slug,
    require_sound_config,
)
from instances.api.permissions import (
    require_creation,
    require_references,
    require_role,
    visible_instances,
)
from instances.api.shown import shown_instance, shown_now
from instances.api.task_serializers import TaskBody, TaskSerializer
from instances.choices import HopperScope
from instances.lessons import named_by
from instances.lifecycle.runs import NewRun, StartedRun, start_run
from instances.models import HopperInstance
from instances.tree.status import no_instance

MAX_TASKS = 200
"""The most tasks of one call."""


class RunTask(TaskBody):
    """A task of a run: the fields of a task, and its name in the run."""

    moment = CHILD
    ignored = frozenset()

    key = Line(max_length=90, help_text="The task's name in the run, for depends_on.")

    def get_fields(self) -> dict[str, Any]:
        """Return the fields. The run itself is the instance of each task."""
        found = super().get_fields()
        del found["instance_id"]
        return found


class RunBody(StrictSerializer):
    """A run: its project by id or name, its own id and name, its tasks in order of dependency."""

    project = Line(max_length=200)
    parent_id = Line(
        required=False,
        allow_null=True,
        help_text="Where a missing project is created; the one live GLOBAL if left out.",
        **Slug,
    )
    id = Line(**Slug)
    name = Line(required=False, max_length=200)
    description = Text(required=False, max_length=MAX_DESCRIPTION)
    config = Object(required=False)
    tasks = List(child=RunTask(), required=False, max_length=MAX_TASKS)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the fields. Raises ValidationError for a wrong config."""
        require_sound_config(attrs)
        return attrs


class RunSerializer(serializers.Serializer[Any]):
    """A started run. `known` are the ids of the tasks that existed before."""

    project = InstanceSerializer()
    instance = InstanceSerializer()
    tasks = serializers.DictField(child=TaskSerializer())
    known = serializers.ListField(child=serializers.CharField())


class RunViewSet(Answering):
    """Runs."""

    queryset = HopperInstance.objects.none()
    serializer_class = RunSerializer

    @extend_schema(request=RunBody, responses={201: RunSerializer, 200: RunSerializer})
    def create(self, request: Request) -> Response:
        """Create and start a run with its tasks, all or nothing. Repeating it changes nothing."""
        new = _permitted(self.actor, self.body(RunBody))
        started = start_run(new, actor=self.actor)
        is_known = len(started.known) == len(started.tasks) and bool(started.known)
        code = status.HTTP_200_OK if is_known else status.HTTP_201_CREATED
        return self.fresh(lambda: _shown(started), code)


def _permitted(actor: Actor, data: Mapping[str, Any]) -> NewRun:
    """Return the run of a body. Raises for names that the caller may not see or use so.

    A new project takes the role that its creation takes; the rest takes an operator at the project.
    """
    keys = _keys(data.get("tasks", ()))
    project = _project(actor, data["project"])
    new_project: dict[str, Any] = {}
    if project is None:
        parent_id = data.get("parent_id") or _the_global(actor)
        require_creation(actor, HopperScope.PROJECT, parent_id)
        new_project = {"name": data["project"], "parent_id": parent_id}
    else:
        require_role(actor, "operator", [project.pk])
        _require_parent(actor, project, data.get("parent_id"))
    tasks = data.get("tasks", ())
    require_references(actor, tasks, new=False, listed="tasks.", siblings=keys)
    return NewRun(
        id=data["id"],
        name=data.get("name") or data["id"],
        project=project.pk if project else None,
        new_project=new_project,
        tasks=tasks,
        description=data.get("description", ""),
        config=data.get("config"),
    )


def _keys(tasks: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the keys of tasks. Raises Invalid for one given twice or needed before its task."""
    all_keys = {task["key"] for task in tasks}
    before: set[str] = set()
    for place, task in enumerate(tasks):
        later = (all_keys - before) & {*task.get("depends_on", ())}
        if task["key"] in before or later:
            name, words = (
                ("depends_on", f"{min(later)} stands later")
                if later
                else ("key", f"{task['key']} is given twice")
            )
            field = f"tasks.{place}.{name}"
            raise Invalid(f"{field}: {words}", errors=[FieldError(field, "invalid", words)])
        before.add(task["key"])
    return before


def _project(actor: Actor, word: str) -> HopperInstance | None:
    """Return the visible live PROJECT of that id or name. Raises Invalid where it names several."""
    seen = visible_instances(actor).live().filter(scope=HopperScope.PROJECT)
    found = named_by(word, seen)
    if len(found) > 1:
        ids = ", ".join(sorted(one.pk for one in found))
        raise Invalid.field("project", f"{word} names several projects, give an id: {ids}")
    return found[0] if found else None


def _require_parent(actor: Actor, project: HopperInstance, parent_id: str | None) -> None:
    """Raise Invalid if a body names another parent than that of its project."""
    if parent_id in (None, project.parent_id):
        return
    if not visible_instances(actor).filter(pk=parent_id).exists():
        raise no_instance(str(parent_id), field="parent_id")
    raise Invalid.field("parent_id", f"the project {project.pk} is not under {parent_id}")


def _the_global(actor: Actor) -> str | None:
    """Return the id of the one live GLOBAL that the caller sees; None for no GLOBAL or several."""
    tops = visible_instances(actor).live().filter(scope=HopperScope.GLOBAL)
    found = list(tops.values_list("pk", flat=True)[:2])
    return found[0] if len(found) == 1 else None


def _shown(started: StartedRun) -> dict[str, Any]:
    rows = dict(zip(started.tasks, shown_now(list(started.tasks.values())), strict=True))
    return {
        "project": shown_instance(started.project),
        "instance": shown_instance(started.run),
        "tasks": rows,
        "known": sorted(started.known),
    }
