"""Offers that end in an unusual way do not stop what stands behind them."""

from __future__ import annotations

from typing import Any

import pytest

from delegation import router
from delegation.delegation_history import DelegationHistory
from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.sweep import sweep
from hopper.database.functions import Function
from hopper.errors import Conflict
from instances.lifecycle.actions import pause_instance, resume_instance
from instances.models import HopperInstance, Task
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


def test_an_unassigned_task_whose_key_is_open_at_the_target_is_refused_there() -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    TaskFactory(instance=web, unique_key="k")
    task = TaskFactory(unique_key="k")
    row = Delegator(ALICE).delegate_task(task.pk, web.pk).delegation
    with pytest.raises(Conflict) as refusal:
        Delegator(ALICE).accept_delegation(row.pk)
    assert refusal.value.code == "unique_key_taken"
    Delegator(ALICE).cancel_delegation(row.pk)


def test_an_answer_that_fails_keeps_the_others_from_none() -> None:
    web = InstanceFactory(scope="PROJECT", name="web")
    TaskFactory(instance=web, unique_key="k")
    pause_instance(web.pk, actor=ALICE)
    for task in (TaskFactory(unique_key="k"), other := TaskFactory()):
        Delegator(ALICE).delegate_task(task.pk, web.pk, accept="auto")
    resume_instance(web.pk, actor=ALICE)
    sweep()
    other.refresh_from_db()
    assert other.instance_id == "web"


def test_a_remote_that_is_not_configured_refuses_every_offer_at_once() -> None:
    top = InstanceFactory(name="top")
    far = InstanceFactory(scope="FEDERATED", name="far", parent=top)
    task = TaskFactory(instance=top)
    row = Delegator(ALICE).delegate_task(task.pk, far.pk).delegation
    assert (row.status, row.reason) == ("rejected", "no_remote")
    task.refresh_from_db()
    assert (task.instance_id, task.offered_to_id) == ("top", None)


def test_nothing_is_created_at_a_remote_that_is_not_configured() -> None:
    far = InstanceFactory(scope="FEDERATED", name="far", parent=InstanceFactory(name="top"))
    with pytest.raises(Conflict) as refusal:
        TaskFactory(instance=far)
    assert refusal.value.code == "no_remote"
    assert not Task.objects.exists()


def test_a_task_that_cannot_be_placed_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    top = InstanceFactory(name="top")
    InstanceFactory(scope="PROJECT", name="web", parent=top, config={"capabilities": ["x"]})
    pause_instance(top.pk, actor=ALICE)
    bad, good = TaskFactory(instance=top, tags=["x"]), TaskFactory(instance=top, tags=["x"])
    known = router.situation_of

    def broken(task: Task, holder: HopperInstance, history: DelegationHistory) -> Any:
        if task.pk == bad.pk:
            raise ValueError("a behaviour of somebody else's")
        return known(task, holder, history)

    monkeypatch.setattr(router, "situation_of", broken)
    resume_instance(top.pk, actor=ALICE)
    sweep()
    good.refresh_from_db()
    assert good.instance_id == "web"
    monkeypatch.undo()
    sweep()
    bad.refresh_from_db()
    assert bad.instance_id == "web"


def test_a_target_that_lost_a_capability_after_the_reading_gets_no_offer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", name="web", parent=top, config={"capabilities": ["x"]})
    known = router.situation_of

    def overtaken(*read: Any) -> Any:
        situation = known(*read)
        # The change took its moment before the reading and was committed after it.
        HopperInstance.objects.filter(pk=web.pk).update(config={"capabilities": []})
        return situation

    monkeypatch.setattr(router, "situation_of", overtaken)
    monkeypatch.setattr(Function, "is_kept", lambda function: False)
    TaskFactory(instance=top, project="web", required_capabilities=["x"])
    assert not TaskDelegation.objects.exists()


def test_an_offer_that_slipped_in_says_why_it_was_taken_back() -> None:
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", name="web", parent=top)
    run = InstanceFactory(scope="ORCHESTRATION", name="run", parent=web)
    task = TaskFactory(instance=web)
    row = Delegator(ALICE).delegate_task(task.pk, run.pk).delegation
    HopperInstance.objects.filter(pk=top.pk).update(status="stopped")
    assert sweep().offers_withdrawn == 1
    row.refresh_from_db()
    HopperInstance.objects.filter(pk=top.pk).update(status="running")
    sweep()
    assert (row.status, row.reason) == ("cancelled", "target_stopped")
    assert TaskDelegation.objects.count() == 1
