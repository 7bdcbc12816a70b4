"""An unplaced task is looked at again when the tree below its holder changes (R9)."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

import pytest
from django.utils import timezone

from delegation.choices import DelegationType
from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.sweep import sweep
from instances.lifecycle.actions import pause_instance, resume_instance, stop_instance
from instances.models import Event, Task
from scopes.models import RoutingDecision
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@pytest.fixture
def stuck() -> Task:
    """A task at the top that matches one project, which is paused."""
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", name="web", parent=top, config={"domains": ["css"]})
    pause_instance(web.pk, actor=ALICE)
    task: Task = TaskFactory(instance=top, title="css")
    assert (task.status, task.waiting_code) == ("blocked", "Unroutable")
    return task


def test_a_crash_right_after_the_start_leaves_it_to_the_sweep(stuck: Task) -> None:
    with mock.patch("delegation.sweep.wake"):
        resume_instance("web", actor=ALICE)
    assert Task.objects.get(pk=stuck.pk).status == "blocked"
    sweep()
    assert Task.objects.get(pk=stuck.pk).instance_id == "web"


def test_the_sweep_leaves_stuck_tasks_without_a_change_alone(stuck: Task) -> None:
    epoch = stuck.epoch
    assert sweep().tasks_placed == 0
    assert Task.objects.get(pk=stuck.pk).epoch == epoch


def test_a_stuck_task_is_placed_again_at_most_once_a_minute(stuck: Task) -> None:
    for number in range(3):
        InstanceFactory(scope="PROJECT", name=f"other-{number}", parent=stuck.instance)
    assert Event.objects.filter(task=stuck, kind="task.rerouted").count() == 1
    Event.objects.filter(task=stuck, kind="task.rerouted").update(
        at=timezone.now() - timedelta(seconds=61)
    )
    InstanceFactory(scope="PROJECT", name="one more", id="one-more", parent=stuck.instance)
    assert Event.objects.filter(task=stuck, kind="task.rerouted").count() == 2


def test_an_offer_below_a_stopped_instance_is_not_taken_for_a_refusal() -> None:
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", name="web", parent=top, running=False)
    task = TaskFactory(instance=top)
    offer = Delegator(ALICE).delegate_task(task.pk, web.pk, accept="auto").delegation
    assert offer.is_pending
    stop_instance(top.pk, actor=ALICE)
    slipped = TaskDelegation.objects.create(
        id="slipped",
        task=task,
        source_instance=top,
        target_instance=web,
        delegation_type=DelegationType.ROUTE,
        hop=1,
        epoch=1,
        delegated_at=timezone.now(),
    )
    assert Delegator(ALICE).answer_waiting(slipped.pk).is_pending
    Task.objects.filter(pk=task.pk).update(offered_to=web, route_due=False)
    sweep()
    slipped.refresh_from_db()
    assert (slipped.status, slipped.reason) == ("cancelled", "target_stopped")


def test_at_the_last_level_of_a_tree_work_is_done_by_hand() -> None:
    place = InstanceFactory(name="l1")
    for level, scope in enumerate(
        ("FAMILY", "PERSONAL", "PROJECT", "EVENT", "PROJECT", "EVENT", "PROJECT"), start=2
    ):
        end = {"expires_at": timezone.now() + timedelta(days=1)} if scope == "EVENT" else {}
        place = InstanceFactory(scope=scope, name=f"l{level}", parent=place, **end)
    task = TaskFactory(instance=place, complexity=5)
    assert (task.route_due, task.instance_id) == (False, "l8")
    decision = RoutingDecision.objects.get(task=task)
    assert decision.reasons[-1] == "no run is created: l8 stands on the last of 8 levels"
