"""Nothing waits for ever behind what cannot move, nor for a moment that has passed (R8, R9)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from delegation import router
from delegation.delegation_history import DelegationHistory
from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.sweep import sweep
from instances.lifecycle.actions import pause_instance, start_instance
from instances.models import Event, HopperInstance, Task
from instances.tasks.worker import claim_next
from instances.tree.shape import describe_instance
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]

ROUNDS = 200
"""Sweeps until a random beginning has certainly come round."""


@pytest.fixture
@kept
def top() -> HopperInstance:
    """A GLOBAL with one project that fits the tag x."""
    top: HopperInstance = InstanceFactory(name="top")
    InstanceFactory(scope="PROJECT", name="web", parent=top, config={"capabilities": ["x"]})
    return top


def _later() -> None:
    """Let more than a minute pass since whatever was placed again."""
    Event.objects.filter(kind="task.rerouted").update(at=timezone.now() - timedelta(minutes=2))


def test_tasks_at_a_holder_that_may_not_route_hold_up_no_other(top: HopperInstance) -> None:
    away = InstanceFactory(scope="PROJECT", name="away", parent=InstanceFactory(name="closed"))
    pause_instance("closed", actor=ALICE)
    waiting = [TaskFactory(instance=away) for _ in range(3)]
    task = TaskFactory(instance=top)
    Task.objects.filter(pk=task.pk).update(tags=["x"], tag_keys=["x"], route_due=True)
    assert sweep(limit=2).tasks_placed == 1
    assert Task.objects.get(pk=task.pk).instance_id == "web"
    assert Task.objects.filter(pk__in=[one.pk for one in waiting], route_due=True).count() == 3


def test_tasks_that_fail_to_be_placed_hold_up_no_other(
    top: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [TaskFactory(instance=top).pk for _ in range(4)]
    Task.objects.filter(pk__in=tasks).update(tags=["x"], tag_keys=["x"], route_due=True)
    known = router.situation_of

    def broken(task: Task, holder: HopperInstance, history: DelegationHistory) -> Any:
        if task.pk != tasks[-1]:
            raise ValueError("a behaviour of somebody else's")
        return known(task, holder, history)

    monkeypatch.setattr(router, "situation_of", broken)
    assert any(sweep(limit=1).tasks_placed for _ in range(ROUNDS))
    assert Task.objects.get(pk=tasks[-1]).instance_id == "web"
    monkeypatch.undo()
    sweep()


def test_offers_that_wait_for_a_person_hold_up_no_other(top: HopperInstance) -> None:
    describe_instance(
        "web", changes={"config": {"capabilities": ["x"], "accept": "manual"}}, actor=ALICE
    )
    for _ in range(3):
        TaskFactory(instance=top, tags=["x"])
    later = InstanceFactory(scope="PROJECT", name="later", parent=top, running=False)
    task = TaskFactory(instance=top)
    Delegator(ALICE).delegate_task(task.pk, later.pk, accept="auto")
    # As after a crash between the start and what follows it.
    HopperInstance.objects.filter(pk=later.pk).update(status="running", started_at=timezone.now())
    Event.objects.create(
        kind="instance.running", instance_id=later.pk, status="running", at=timezone.now()
    )
    assert sweep(limit=1).offers_answered == 1
    assert Task.objects.get(pk=task.pk).instance_id == "later"
    assert TaskDelegation.objects.filter(target_instance="web", status="pending").count() == 3


def test_an_offer_to_a_closed_target_is_taken_back_behind_any_number_of_others(
    top: HopperInstance,
) -> None:
    describe_instance("web", changes={"config": {"accept": "manual"}}, actor=ALICE)
    for _ in range(3):
        Delegator(ALICE).delegate_task(TaskFactory(instance=top).pk, "web")
    other = InstanceFactory(scope="PROJECT", name="other", parent=top)
    offer = Delegator(ALICE).delegate_task(TaskFactory(instance=top).pk, other.pk).delegation
    HopperInstance.objects.filter(pk=other.pk).update(status="stopping")
    assert sweep(limit=1).offers_withdrawn == 1
    offer.refresh_from_db()
    assert (offer.status, offer.reason) == ("cancelled", "target_stopped")


def test_stuck_tasks_are_placed_again_behind_any_number_that_stay_stuck(
    top: HopperInstance,
) -> None:
    for _ in range(3):
        assert TaskFactory(instance=top, required_capabilities=["gpu"]).status == "blocked"
    closed = InstanceFactory(name="other-top")
    web = InstanceFactory(scope="PROJECT", parent=closed, config={"capabilities": ["y"]})
    pause_instance(web.pk, actor=ALICE)
    task = TaskFactory(instance=closed, tags=["y"])
    assert task.waiting_code == "Unroutable"
    HopperInstance.objects.filter(pk=web.pk).update(
        status="running", updated_at=timezone.now(), started_at=timezone.now()
    )
    Event.objects.create(
        kind="instance.running", instance_id=web.pk, status="running", at=timezone.now()
    )
    assert any(sweep(limit=1).tasks_placed for _ in range(ROUNDS))
    assert Task.objects.get(pk=task.pk).instance_id == web.pk


def test_a_stuck_task_is_left_alone_while_nothing_changes(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, required_capabilities=["gpu"])
    _later()
    assert sweep().total() == 0
    assert Task.objects.get(pk=task.pk).epoch == task.epoch


def test_a_second_change_within_the_minute_is_made_up_for_by_the_sweep(
    top: HopperInstance,
) -> None:
    task = TaskFactory(instance=top, required_capabilities=["gpu"])
    describe_instance("web", changes={"config": {"capabilities": ["cpu"]}}, actor=ALICE)
    assert Task.objects.get(pk=task.pk).epoch == 2
    describe_instance("web", changes={"config": {"capabilities": ["gpu"]}}, actor=ALICE)
    assert sweep().tasks_placed == 0
    assert Task.objects.get(pk=task.pk).epoch == 2
    _later()
    assert sweep().tasks_placed == 1
    assert Task.objects.get(pk=task.pk).instance_id == "web"


def test_a_capability_stated_by_a_child_that_does_not_run_yet_places_the_task_again(
    top: HopperInstance,
) -> None:
    child = InstanceFactory(scope="PROJECT", name="later", parent=top, running=False)
    task = TaskFactory(instance=top, required_capabilities=["gpu"])
    describe_instance(child.pk, changes={"config": {"capabilities": ["gpu"]}}, actor=ALICE)
    task.refresh_from_db()
    assert (task.status, task.offered_to_id) == ("pending", "later")


def test_room_in_a_full_queue_takes_as_many_stuck_tasks_as_it_has_places(
    top: HopperInstance,
) -> None:
    web = HopperInstance.objects.get(pk="web")
    web.config["max_queued_tasks"] = 2
    HopperInstance.objects.filter(pk="web").update(config=web.config)
    tasks = [TaskFactory(instance=top, tags=["x"]) for _ in range(5)]
    assert [task.status for task in tasks] == ["pending"] * 2 + ["blocked"] * 3
    assert sweep().tasks_placed == 0
    claim_next("web", worker="bob", actor=ALICE)
    assert sweep().tasks_placed == 1
    stuck = Task.objects.filter(status="blocked", waiting__code="Unroutable")
    assert [task.epoch for task in stuck] == [1, 1]


def test_a_child_that_begins_to_run_while_a_decision_is_made_gets_the_task(
    top: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start began before the reading and was committed after it."""
    pause_instance("web", actor=ALICE)
    late = InstanceFactory(
        scope="PROJECT", name="late", parent=top, config={"capabilities": ["x"]}, running=False
    )
    HopperInstance.objects.filter(pk=late.pk).update(status="error")
    Event.objects.create(
        kind="instance.error", instance_id=late.pk, status="error", at=timezone.now()
    )
    known, first = router.situation_of, []

    def slow(task: Task, holder: HopperInstance, history: DelegationHistory) -> Any:
        situation = known(task, holder, history)
        if not first:
            first.append(task.pk)
            start_instance(late.pk, actor=ALICE)
            HopperInstance.objects.filter(pk=late.pk).update(updated_at=holder.updated_at)
        return situation

    monkeypatch.setattr(router, "situation_of", slow)
    task = TaskFactory(instance=top, tags=["x"])
    assert first == [task.pk]
    assert task.instance_id == "late"
