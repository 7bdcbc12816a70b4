"""The small worlds that acts are prepared in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from instances.history import instance_event, record
from instances.models import HopperInstance, Task
from instances.tasks.worker import Lease, claim_next
from tests.factories import ALICE, InstanceFactory, TaskFactory


def tree(**config: Any) -> HopperInstance:
    """Make top > web > run, all running, and return the run; `config` is web's."""
    top = InstanceFactory(name="top")
    web = InstanceFactory(
        scope="PROJECT", parent=top, name="web", config={"capabilities": ["web"], **config}
    )
    run: HopperInstance = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")
    return run


def project(name: str, **config: Any) -> HopperInstance:
    """Make one more project below the top."""
    top = HopperInstance.objects.get(pk="top")
    made: HopperInstance = InstanceFactory(scope="PROJECT", parent=top, name=name, config=config)
    return made


def queued(title: str = "queued", **values: Any) -> Task:
    """Make a task that came from the top into the run's queue."""
    top = HopperInstance.objects.get(pk="top")
    made: Task = TaskFactory(instance=top, title=title, tags=["web"], complexity=5, **values)
    return made


def leased(worker: str = "bob") -> Lease:
    """Let a worker claim the next task of the run."""
    (lease,) = claim_next("run", worker=worker, actor=ALICE).leases
    return lease


def family(children: int = 2, **values: Any) -> Task:
    """Make a decomposed task in the run, with its children beside it."""
    run = HopperInstance.objects.get(pk="run")
    parent: Task = TaskFactory(instance=run, title="parent", **values)
    for number in range(children):
        TaskFactory(title=f"child {number}", parent_id=parent.pk)
    return parent


def offered(target: str = "ops") -> TaskDelegation:
    """Make a task that rests at the top and is offered to a project, which has not answered."""
    task = TaskFactory(instance=HopperInstance.objects.get(pk="top"), title="offered")
    return Delegator(ALICE).delegate_task(task.pk, target).delegation


def past(**ago: float) -> Any:
    """Return a moment so long ago; one second by default."""
    return timezone.now() - timedelta(**(ago or {"seconds": 1}))


def without_effects(instance_id: str, status: str) -> None:
    """Change an instance's status as a process does that dies before it has done what follows."""
    instance = HopperInstance.objects.get(pk=instance_id)
    instance.status = status
    instance.save(update_fields=["status"])
    record(instance_event(instance, f"instance.{status}", actor=ALICE, now=timezone.now()))


def leased_token(title: str) -> str:
    """Return the token of the live lease on the task of that title."""
    return str(Task.objects.get(title=title).lease_token)
