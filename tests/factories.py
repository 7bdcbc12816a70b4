"""Instances and tasks for tests, made through the services, never by hand."""

from __future__ import annotations

from typing import Any

import factory

from hopper.actors import Actor
from instances.lifecycle.actions import start_instance
from instances.models import HopperInstance, Task
from instances.tasks.creating import NewTask, create_task
from instances.tree.shape import create_instance

ALICE = Actor("alice", {"*": "admin"})


class InstanceFactory(factory.django.DjangoModelFactory[HopperInstance]):
    """A running instance; `running=False` leaves it created."""

    class Meta:
        model = HopperInstance

    name = factory.Sequence(lambda n: f"instance-{n}")
    scope = "GLOBAL"

    @classmethod
    def _create(
        cls, model_class: type[HopperInstance], *args: Any, **values: Any
    ) -> HopperInstance:
        running = values.pop("running", True)
        parent = values.pop("parent", None)
        made = create_instance(
            values.pop("name"), parent_id=parent.pk if parent else None, actor=ALICE, **values
        )
        return start_instance(made.pk, actor=ALICE) if running else made


class TaskFactory(factory.django.DjangoModelFactory[Task]):
    """A task, placed as far as it goes; `instance=None` leaves it unassigned."""

    class Meta:
        model = Task

    title = factory.Sequence(lambda n: f"task {n}")

    @classmethod
    def _create(cls, model_class: type[Task], *args: Any, **values: Any) -> Task:
        instance = values.pop("instance", None)
        new = NewTask(instance_id=instance.pk if instance else None, **values)
        return create_task(new, actor=ALICE).task
