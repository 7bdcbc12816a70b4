"""Two placers at once: nothing is created for a task that the other one has placed (R9, R25)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from delegation import placing, router
from delegation.delegation_history import DelegationHistory
from delegation.delegator import Delegator
from instances.lifecycle.actions import pause_instance, resume_instance
from instances.models import HopperInstance, Task
from scopes.decisions import CreateChild
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from scopes.decisions import Situation

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_decision_of_yesterday_creates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")
    task = TaskFactory(instance=web)
    Task.objects.filter(pk=task.pk).update(route_due=True)
    known = router.get_behavior_for_instance

    class Slow:
        """Decides while somebody else sends the task down."""

        def decide(self, situation: Any) -> CreateChild:
            Delegator(ALICE).delegate_task(task.pk, run.pk, accept="auto")
            monkeypatch.setattr(router, "get_behavior_for_instance", known)
            return CreateChild(("no run",), name="web-run-001", scope="ORCHESTRATION")

    monkeypatch.setattr(router, "get_behavior_for_instance", lambda _: Slow())
    placing.place_task(task.pk)
    assert not HopperInstance.objects.filter(pk="web-run-001").exists()
    assert Task.objects.get(pk=task.pk).instance_id == run.pk
    assert unsound() == []


def _resume(instance_id: str) -> None:
    try:
        resume_instance(instance_id, actor=ALICE)
    finally:
        connections.close_all()


@pytest.mark.postgres
def test_a_task_placed_while_its_facts_are_read_needs_no_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")
    pause_instance(run.pk, actor=ALICE)
    task = TaskFactory(instance=web)
    Task.objects.filter(pk=task.pk).update(complexity=5, route_due=True)
    read, looks = router.situation_of, []

    def read_late(task: Task, holder: HopperInstance, history: DelegationHistory) -> Situation:
        looks.append(task.pk)
        if len(looks) == 2:
            # Under the tree lock: the task was read, its facts are not yet.
            with ThreadPoolExecutor(1) as beside:
                beside.submit(_resume, run.pk).result()
        return read(task, holder, history)

    monkeypatch.setattr(router, "situation_of", read_late)
    placing.place_task(task.pk)
    assert not HopperInstance.objects.filter(pk="web-run-001").exists()
    assert Task.objects.get(pk=task.pk).instance_id == run.pk
    assert unsound() == []
