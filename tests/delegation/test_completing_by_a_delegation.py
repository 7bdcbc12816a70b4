"""A task is finished by the last hop of its path, and by no other (R7)."""

from __future__ import annotations

import pytest

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from hopper.errors import AlreadyDelegated, Conflict, LeaseLost
from instances.models import Attempt, HopperInstance, Task
from instances.tasks.worker import claim_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@pytest.fixture
@kept
def web() -> HopperInstance:
    """A project under a top, with a run below it."""
    project: HopperInstance = InstanceFactory(
        scope="PROJECT", name="web", parent=InstanceFactory(name="top")
    )
    InstanceFactory(scope="ORCHESTRATION", name="run", parent=project)
    return project


def _handed_to(web: HopperInstance) -> tuple[Task, TaskDelegation]:
    assert web.parent is not None
    task = TaskFactory(instance=web.parent)
    return task, Delegator(ALICE).delegate_task(task.pk, web.pk, accept="auto").delegation


def test_a_source_that_passed_the_task_on_learns_the_holder(web: HopperInstance) -> None:
    task, first = _handed_to(web)
    Delegator(ALICE).delegate_task(task.pk, "run", accept="auto")
    with pytest.raises(Conflict) as refusal:
        Delegator(ALICE).complete_delegation(first.pk)
    assert (refusal.value.code, refusal.value.extra["instance_id"]) == ("held_further_down", "run")
    assert Task.objects.get(pk=task.pk).status == "pending"


def test_while_somebody_is_being_asked_it_is_not_finished(web: HopperInstance) -> None:
    task, first = _handed_to(web)
    Delegator(ALICE).delegate_task(task.pk, "run")
    with pytest.raises(AlreadyDelegated):
        Delegator(ALICE).complete_delegation(first.pk)
    assert Task.objects.get(pk=task.pk).status == "pending"


def test_the_last_hop_finishes_it_and_all_hops_with_it(web: HopperInstance) -> None:
    task, first = _handed_to(web)
    # Pending: accepted and completed in one.
    last = Delegator(ALICE).delegate_task(task.pk, "run").delegation
    done = Delegator(ALICE).complete_delegation(last.pk, result={"n": 1}, notes="well")
    first.refresh_from_db()
    assert {(row.status, row.result["n"]) for row in (first, done)} == {("completed", 1)}
    assert done.accepted_at is not None
    assert done.notes == "well"
    assert Task.objects.get(pk=task.pk).status == "done"


def test_a_worker_at_it_is_named_and_a_lost_lease_finishes_nothing(web: HopperInstance) -> None:
    task, first = _handed_to(web)
    lease = claim_task(task.pk, worker="bob", actor=ALICE)
    with pytest.raises(Conflict, match="leased to bob"):
        Delegator(ALICE).complete_delegation(first.pk)
    with pytest.raises(LeaseLost):
        Delegator(ALICE).complete_delegation(first.pk, token="0.gone")
    Delegator(ALICE).complete_delegation(first.pk, token=lease.token, result=1)
    assert Attempt.objects.get(task=task).outcome == "completed"
