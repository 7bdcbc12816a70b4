"""A task falls from GLOBAL to a worker, and its completion rises."""

from __future__ import annotations

import pytest

from delegation.models import TaskDelegation
from instances.models import Event
from instances.tasks.worker import claim_next, complete_task, heartbeat
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_task_falls_to_the_right_orchestration_and_its_completion_rises() -> None:
    top = InstanceFactory(name="hopper-global")
    web = InstanceFactory(scope="PROJECT", parent=top, name="web", config={"capabilities": ["web"]})
    ops = InstanceFactory(scope="PROJECT", parent=top, name="ops", config={"capabilities": ["ops"]})
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="web-run")
    InstanceFactory(scope="ORCHESTRATION", parent=ops, name="ops-run")

    task = TaskFactory(instance=top, tags=["web"], complexity=4)
    assert task.instance_id == run.pk

    (lease,) = claim_next(run.pk, worker="bob", actor=ALICE).leases
    assert lease.task.pk == task.pk
    heartbeat(task.pk, token=lease.token, progress=0.5, actor=ALICE)
    done = complete_task(task.pk, token=lease.token, result={"ok": True}, actor=ALICE)
    assert done.status == "done"
    again = complete_task(task.pk, token=lease.token, result={"ok": True}, actor=ALICE)
    assert again.result == {"ok": True}

    hops = list(TaskDelegation.objects.for_task(task.pk))
    assert [hop.status for hop in hops] == ["completed", "completed"]
    endings = Event.objects.filter(task=task, ending=True)
    assert sorted(endings.values_list("instance_id", flat=True)) == sorted([top.pk, web.pk, run.pk])
    assert unsound() == []
