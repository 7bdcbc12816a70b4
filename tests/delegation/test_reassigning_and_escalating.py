"""Work moves sideways and up (R10 to R12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from hopper.errors import AlreadyDelegated, Conflict, LeaseLost
from instances.lifecycle.actions import pause_instance, resume_instance
from instances.models import Task
from instances.tasks.worker import claim_next
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

if TYPE_CHECKING:
    from instances.models import HopperInstance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@pytest.fixture
@kept
def top() -> HopperInstance:
    """A GLOBAL with two projects that fit the tag x; the first has a run."""
    top: HopperInstance = InstanceFactory(name="top")
    for name in ("one", "two"):
        project = InstanceFactory(
            scope="PROJECT", name=name, parent=top, config={"capabilities": ["x"]}
        )
        InstanceFactory(scope="ORCHESTRATION", name=f"{name}-run", parent=project)
    return top


def _by(task: Task) -> list[tuple[str, str, str]]:
    rows = TaskDelegation.objects.for_task(task.pk)
    return list(rows.values_list("target_instance_id", "status", "reason"))


def test_accepted_work_is_moved_sideways_by_its_source(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, tags=["x"])
    assert task.instance_id == "one"
    handed = Delegator(ALICE).delegate_task(
        task.pk, "two", delegation_type="reassign", accept="auto"
    )
    task.refresh_from_db()
    assert (handed.delegation.status, task.instance_id) == ("accepted", "two")
    assert _by(task) == [("one", "cancelled", "reassigned"), ("two", "accepted", "")]


def test_running_work_is_reassigned_only_by_force(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, tags=["x"])
    claim_next("one", worker="bob", actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        Delegator(ALICE).delegate_task(task.pk, "two", delegation_type="reassign")
    assert refusal.value.extra["worker"] == "bob"
    Delegator(ALICE).delegate_task(
        task.pk, "two", delegation_type="reassign", force=True, accept="auto"
    )
    task.refresh_from_db()
    assert (task.status, task.instance_id) == ("pending", "two")
    assert task.attempts.get().outcome == "evicted"


def test_a_task_that_came_by_no_delegation_cannot_be_reassigned(top: HopperInstance) -> None:
    task = TaskFactory(instance=top)
    with pytest.raises(Conflict):
        Delegator(ALICE).delegate_task(task.pk, "two", delegation_type="reassign")


def test_an_escalated_task_is_placed_without_the_instance_that_escalated_it(
    top: HopperInstance,
) -> None:
    task = TaskFactory(instance=top, tags=["x"])
    claim_next("one", worker="bob", actor=ALICE)
    Delegator(ALICE).escalate_task(task.pk, reason="too hard", severity="high")
    task.refresh_from_db()
    assert (task.status, task.instance_id) == ("pending", "two")
    assert _by(task) == [
        ("one", "failed", "escalated"),
        ("top", "accepted", "escalated"),
        ("two", "accepted", ""),
    ]
    assert task.attempts.get().outcome == "released"


def test_a_repeated_escalation_with_an_ended_lease_takes_the_task_no_further_up(
    top: HopperInstance,
) -> None:
    task = TaskFactory(instance=top, tags=["x"])
    (lease,) = claim_next("one", worker="bob", actor=ALICE).leases
    Delegator(ALICE).escalate_task(task.pk, token=lease.token)
    (other,) = claim_next("two", worker="carol", actor=ALICE).leases
    with pytest.raises(LeaseLost):
        Delegator(ALICE).escalate_task(task.pk, token=lease.token)
    task.refresh_from_db()
    assert (task.instance_id, task.lease_token) == ("two", other.token)


def test_an_escalation_waits_for_a_parent_that_does_not_run(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, tags=["x"])
    pause_instance(top.pk, actor=ALICE)
    row = Delegator(ALICE).escalate_task(task.pk, reason="help")
    assert row is not None
    assert row.status == "pending"
    with pytest.raises(Conflict):
        Delegator(ALICE).reject_delegation(row.pk, reason="no")
    with pytest.raises(AlreadyDelegated):
        Delegator(ALICE).escalate_task(task.pk)
    resume_instance(top.pk, actor=ALICE)
    task.refresh_from_db()
    assert task.instance_id == "two"


def test_at_a_root_an_escalation_asks_a_person(top: HopperInstance) -> None:
    task = TaskFactory(instance=top)
    assert Delegator(ALICE).escalate_task(task.pk, reason="which one?") is None
    task.refresh_from_db()
    assert (task.status, task.waiting_code) == ("blocked", "InputRequired")


def test_when_all_refuse_the_task_is_unroutable_and_a_new_project_gets_it(
    top: HopperInstance,
) -> None:
    for name in ("one", "two"):
        instance = top.children.get(pk=name)
        instance.__class__.objects.filter(pk=name).update(
            config={"capabilities": ["x"], "accept": "manual"}
        )
    task = TaskFactory(instance=top, tags=["x"])
    for _ in range(2):
        offer = TaskDelegation.objects.filter(
            target_instance=Task.objects.get(pk=task.pk).offered_to_id or "", status="pending"
        )
        Delegator(ALICE).reject_delegation(offer[0].pk, reason="busy")
    task.refresh_from_db()
    assert (task.status, task.waiting_code) == ("blocked", "Unroutable")
    assert [one["rejection_reason"] for one in task.waiting["refusals"]] == ["busy", "busy"]
    three = InstanceFactory(
        scope="PROJECT", name="three", parent=top, config={"capabilities": ["x"]}
    )
    task.refresh_from_db()
    assert (task.status, task.epoch) == ("pending", 2)
    assert task.offered_to_id is not None or task.instance_id == three.pk
