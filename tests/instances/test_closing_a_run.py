"""A run is closed when its work has ended, and its parent remembers it (R5)."""

from __future__ import annotations

import pytest

from hopper.errors import Conflict, RuleBroken
from instances.lifecycle.actions import pause_instance
from instances.lifecycle.closing import close_instance
from instances.models import HopperInstance, Task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

pytestmark = pytest.mark.django_db(transaction=True)


def _run() -> HopperInstance:
    project = InstanceFactory(scope="PROJECT", name="web")
    run: HopperInstance = InstanceFactory(
        scope="ORCHESTRATION", name="run", parent=project, instance_type="ephemeral"
    )
    return run


@pytest.mark.parametrize("paused", [False, True])
def test_a_finished_run_is_closed_and_its_parent_keeps_the_summary(paused: bool) -> None:
    run = _run()
    set_status(TaskFactory(instance=run).pk, status="done", actor=ALICE)
    if paused:
        pause_instance(run.pk, actor=ALICE)
    summary = close_instance(run.pk, actor=ALICE)
    assert (summary["tasks"], summary["cancelled"]) == ({"done": 1}, [])
    run.refresh_from_db()
    assert run.status == "terminated"
    web = HopperInstance.objects.get(pk="web")
    assert web.runtime_metadata["runs"]["run"] == summary
    assert close_instance(run.pk, actor=ALICE) == summary
    assert unsound() == []


def test_open_work_is_listed_and_cancelled_only_by_force() -> None:
    run = _run()
    tasks = {TaskFactory(instance=run).pk for _ in range(2)}
    claim_next(run.pk, worker="bob", actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        close_instance(run.pk, actor=ALICE)
    assert set(refusal.value.extra["open_tasks"]) == tasks
    assert set(close_instance(run.pk, force=True, actor=ALICE)["cancelled"]) == tasks
    assert set(Task.objects.values_list("status", flat=True)) == {"cancelled"}
    assert unsound() == []


def test_a_long_lived_instance_is_not_closed() -> None:
    with pytest.raises(RuleBroken):
        close_instance(InstanceFactory(scope="PROJECT").pk, actor=ALICE)
