"""Two placers at once: nothing is created for a task that the other one has placed (R9, R25)."""

from __future__ import annotations

from typing import Any

import pytest

from delegation.services import dispatch
from delegation.services.audit import audit
from delegation.services.delegator import Delegator
from instances.models import HopperInstance, Task
from scopes.decisions import CreateChild
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_decision_of_yesterday_creates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")
    task = TaskFactory(instance=web)
    Task.objects.filter(pk=task.pk).update(route_due=True)
    known = dispatch.get_behavior_for_instance

    class Slow:
        """Decides while somebody else sends the task down."""

        def decide(self, situation: Any) -> CreateChild:
            Delegator(ALICE).delegate_task(task.pk, run.pk, accept="auto")
            monkeypatch.setattr(dispatch, "get_behavior_for_instance", known)
            return CreateChild(("no run",), name="web-run-001", scope="ORCHESTRATION")

    monkeypatch.setattr(dispatch, "get_behavior_for_instance", lambda _: Slow())
    dispatch.place_task(task.pk)
    assert not HopperInstance.objects.filter(pk="web-run-001").exists()
    assert Task.objects.get(pk=task.pk).instance_id == run.pk
    assert audit() == []
