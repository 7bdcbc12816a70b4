"""Tasks come in and are edited."""

from __future__ import annotations

from instances.lifecycle import actions as lifecycle
from instances.models import HopperInstance
from tests.crash.acts.asking import Asked, act, new_task
from tests.crash.worlds import (
    project,
    queued,
    tree,
)
from tests.factories import ALICE, TaskFactory


@act
def creating_a_task_that_falls_to_a_run() -> Asked:
    tree()
    return new_task(tags=["web"], complexity=5)


@act
def creating_a_task_for_a_project_that_is_not_there_yet() -> Asked:
    tree()
    return new_task(project="mobile")


@act
def creating_a_task_that_waits_for_another() -> Asked:
    tree()
    return new_task(tags=["web"], complexity=5, depends_on=[queued().pk])


@act
def creating_a_task_that_no_child_may_take() -> Asked:
    tree()
    lifecycle.pause_instance("web", actor=ALICE)
    return new_task(project="web")


@act
def creating_a_task_that_its_project_hands_back() -> Asked:
    tree(manual_fallback=False, orchestration_threshold=1, create_orchestrations=False)
    lifecycle.pause_instance("run", actor=ALICE)
    return new_task(tags=["web"], executor_preference="orchestration")


@act
def adding_a_child_to_a_task() -> Asked:
    tree()
    parent = TaskFactory(instance=HopperInstance.objects.get(pk="run"), title="parent")
    return new_task(instance_id="run", parent_id=parent.pk)


@act
def decomposing_a_task() -> Asked:
    run = tree()
    parent = TaskFactory(instance=run.parent, title="parent")
    children = [
        {"key": "a", "title": "a", "instance_id": "run"},
        {"key": "b", "title": "b", "complexity": 5, "depends_on": ["a"]},
    ]
    return Asked("POST", f"/tasks/{parent.pk}/decompose", {"children": children})


@act
def editing_where_a_task_goes() -> Asked:
    tree()
    project("ops", capabilities=["ops"])
    task = TaskFactory(instance=HopperInstance.objects.get(pk="top"), title="edited")
    return Asked("PATCH", f"/tasks/{task.pk}", {"tags": ["ops"]})
