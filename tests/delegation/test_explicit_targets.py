"""A project named explicitly takes the task, is created, or nobody does (R9, R25)."""

from __future__ import annotations

from typing import Any

import pytest

from delegation import router
from delegation.delegation_history import DelegationHistory
from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.placing import place_task
from instances.lifecycle.actions import pause_instance, resume_instance, terminate_instance
from instances.models import Event, HopperInstance, Task
from instances.tasks.creating import NewTask, create_task
from instances.tree.shape import describe_instance
from scopes.behaviors import explicit
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sound"),
]


@pytest.fixture
@kept
def top() -> HopperInstance:
    """A GLOBAL with two projects that fit the tag x, one of which answers by hand."""
    top: HopperInstance = InstanceFactory(name="top")
    can = {"capabilities": ["x"]}
    InstanceFactory(scope="PROJECT", name="shy", parent=top, config=can | {"accept": "manual"})
    InstanceFactory(scope="PROJECT", name="eager", parent=top, config=can)
    return top


def test_a_task_that_its_named_project_refuses_goes_to_no_other(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, project="shy", tags=["x"])
    (offer,) = TaskDelegation.objects.filter(target_instance="shy", status="pending")
    Delegator(ALICE).reject_delegation(offer.pk, reason="no time")
    task.refresh_from_db()
    assert (task.status, task.instance_id) == ("blocked", "top")
    assert task.waiting_code == "ExplicitTargetRefused"
    assert [one["rejection_reason"] for one in task.waiting["refusals"]] == ["no time"]
    assert not TaskDelegation.objects.filter(target_instance="eager").exists()
    assert not HopperInstance.objects.filter(created_by="router").exists()


def test_while_the_named_project_cannot_receive_nobody_else_does_and_then_it_gets_it(
    top: HopperInstance,
) -> None:
    pause_instance("eager", actor=ALICE)
    task = TaskFactory(instance=top, project="eager", tags=["x"])
    assert (task.status, task.waiting_code, task.instance_id) == ("blocked", "Unroutable", "top")
    resume_instance("eager", actor=ALICE)
    assert Task.objects.get(pk=task.pk).instance_id == "eager"


def test_a_task_named_by_a_lower_level_is_not_handed_up_to_be_sent_elsewhere(
    top: HopperInstance,
) -> None:
    family = InstanceFactory(scope="FAMILY", name="us", parent=top)
    InstanceFactory(scope="PROJECT", name="groceries", parent=family)
    task = TaskFactory(instance=top)
    Task.objects.filter(pk=task.pk).update(project="groceries", project_key="groceries")
    pause_instance("groceries", actor=ALICE)
    Delegator(ALICE).delegate_task(task.pk, "us", accept="auto")
    task.refresh_from_db()
    assert (task.status, task.waiting_code, task.instance_id) == ("blocked", "Unroutable", "us")
    assert not HopperInstance.objects.filter(created_by="router").exists()
    resume_instance("groceries", actor=ALICE)
    assert Task.objects.get(pk=task.pk).instance_id == "groceries"


def test_a_typing_error_creates_nothing_and_says_what_was_meant(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, project="eagr")
    assert (task.status, task.waiting_code) == ("blocked", "AmbiguousTarget")
    assert "did you mean eager?" in task.waiting["detail"]
    assert HopperInstance.objects.count() == 3


def test_a_new_name_is_created_running_and_gets_the_task(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, project="Payments")
    made = HopperInstance.objects.get(pk="payments")
    assert task.instance_id == made.pk
    assert (made.scope, made.status, made.instance_type, made.created_by, made.parent_id) == (
        "PROJECT",
        "running",
        "persistent",
        "router",
        "top",
    )


def test_a_terminated_name_is_for_an_operator(top: HopperInstance) -> None:
    terminate_instance("eager", actor=ALICE)
    task = TaskFactory(instance=top, project="eager", tags=["x"])
    assert (task.status, task.waiting_code) == ("blocked", "ExplicitTargetMissing")


@pytest.mark.parametrize(
    ("first", "second", "made"), [("payments", "payment", 1), ("team-a", "team-b", 2)]
)
def test_of_two_names_nearly_alike_at_the_same_moment_one_is_made(
    top: HopperInstance, monkeypatch: pytest.MonkeyPatch, first: str, second: str, made: int
) -> None:
    """Both had looked before either was created."""
    known, seen = router.situation_of, []

    def slow(task: Task, holder: HopperInstance, history: DelegationHistory) -> Any:
        situation = known(task, holder, history)
        if not seen:
            seen.append(task.pk)
            create_task(NewTask("other", instance_id="top", project=second), actor=ALICE)
        return situation

    monkeypatch.setattr(router, "situation_of", slow)
    task = TaskFactory(instance=top, project=first)
    assert HopperInstance.objects.filter(created_by="router").count() == made
    assert task.waiting_code == ("AmbiguousTarget" if made == 1 else "")


def test_no_more_are_made_in_an_hour_than_may_be(
    top: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explicit, "CREATED_AN_HOUR", 2)
    tasks = [TaskFactory(instance=top, project=f"area-{letter}") for letter in "abc"]
    assert HopperInstance.objects.filter(created_by="router").count() == 2
    assert tasks[-1].waiting_code == "ExplicitTargetMissing"


def test_why_a_refusal_was_overridden_is_kept(top: HopperInstance) -> None:
    task = TaskFactory(instance=top)
    delegator = Delegator(ALICE)
    offer = delegator.delegate_task(task.pk, "shy").delegation
    delegator.reject_delegation(offer.pk, reason="no time")
    again = delegator.delegate_task(
        task.pk, "shy", notes="by Friday", force=True, reason="the boss says so"
    ).delegation
    assert (again.forced, again.notes) == (True, "by Friday; the boss says so")
    delegator.accept_delegation(again.pk, notes="very well")
    offered = Event.objects.get(kind="delegation.offered", delegation_id=again.pk)
    assert offered.data["words"] == "by Friday; the boss says so"


def test_hopping_ends_after_sixteen_offers_of_an_epoch() -> None:
    top = InstanceFactory(name="wide")
    for number in range(17):
        config = {"capabilities": ["x"], "accept": "manual"}
        InstanceFactory(scope="PROJECT", name=f"p{number:02}", parent=top, config=config)
    task = TaskFactory(instance=top, tags=["x"])
    asked = []
    while task.offered_to_id:
        asked.append(task.offered_to_id)
        (offer,) = TaskDelegation.objects.filter(
            target_instance=task.offered_to_id, status="pending"
        )
        Delegator(ALICE).reject_delegation(offer.pk, reason="no")
        task.refresh_from_db()
    assert asked == [f"p{number:02}" for number in range(16)]
    assert (task.status, task.waiting_code, task.instance_id) == ("blocked", "HopLimit", "wide")
    assert len(task.waiting["refusals"]) == 16


def test_withdrawn_offers_do_not_count_towards_the_limit(top: HopperInstance) -> None:
    describe_instance("top", changes={"config": {"max_offers": 1}}, actor=ALICE)
    task = TaskFactory(instance=top)
    for _ in range(3):
        offer = Delegator(ALICE).delegate_task(task.pk, "shy").delegation
        Delegator(ALICE).cancel_delegation(offer.pk)
    Task.objects.filter(pk=task.pk).update(tags=["x"], tag_keys=["x"], route_due=True)
    assert place_task(task.pk).instance_id == "eager"
