"""A change keeps the columns that another change wrote after the first one had read the row."""

from __future__ import annotations

from unittest import mock

import pytest

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.sweep import sweep
from hopper.errors import Conflict, LeaseLost, NotAccepting
from instances.lifecycle.actions import (
    pause_instance,
    resume_instance,
    stop_instance,
    terminate_instance,
)
from instances.models import HopperInstance, Task
from instances.tasks.creating import NewTask, create_task
from instances.tasks.dependencies import overlooked
from instances.tasks.ending import cancel_task
from instances.tasks.reopening import reopen_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task, complete_task, fail_task, release_task
from instances.tree.shape import move_instance
from instances.waiting import waiting_on
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@pytest.fixture
@kept
def top() -> HopperInstance:
    """A GLOBAL, a project that fits the tag x, and its run."""
    top: HopperInstance = InstanceFactory(name="top")
    project = InstanceFactory(
        scope="PROJECT", name="web", parent=top, config={"capabilities": ["x"]}
    )
    InstanceFactory(scope="ORCHESTRATION", name="run", parent=project)
    return top


def _task(top: HopperInstance, **values: object) -> Task:
    task: Task = TaskFactory(instance=top, tags=["x"], complexity=5, **values)
    assert task.instance_id == "run"
    return task


def test_a_cancelled_family_ends_once_though_a_grandchild_was_done(top: HopperInstance) -> None:
    parent = _task(top)
    child = TaskFactory(parent_id=parent.pk)
    done, left = TaskFactory(parent_id=child.pk), TaskFactory(parent_id=child.pk)
    lease = claim_task(done.pk, worker="bob", actor=ALICE)
    complete_task(done.pk, token=lease.token, actor=ALICE)
    cancel_task(parent.pk, actor=ALICE)
    states = {pk: Task.objects.get(pk=pk).status for pk in (parent.pk, child.pk, left.pk)}
    assert set(states.values()) == {"cancelled"}


@pytest.mark.parametrize("how", ["release", "fail"])
def test_work_taken_by_hand_before_it_was_placed_is_placed_when_given_back(
    how: str, top: HopperInstance
) -> None:
    pause_instance("top", actor=ALICE)
    task = TaskFactory(instance=top, tags=["x"], complexity=5)
    assert task.route_due
    set_status(task.pk, status="in_progress", owner="bob", actor=ALICE)
    if how == "release":
        release_task(task.pk, actor=ALICE)
    else:
        fail_task(task.pk, error="no", actor=ALICE)
    resume_instance("top", actor=ALICE)
    task.refresh_from_db()
    assert task.instance_id == "run"


def test_the_same_failure_reported_twice_counts_once(top: HopperInstance) -> None:
    task = _task(top)
    lease = claim_task(task.pk, worker="bob", actor=ALICE)
    for _ in range(2):
        assert fail_task(task.pk, token=lease.token, error="no", actor=ALICE).status == "pending"
    task.refresh_from_db()
    assert task.failures == 1


def test_no_child_is_created_where_its_parents_holder_takes_no_work(top: HopperInstance) -> None:
    parent = _task(top)
    claim_task(parent.pk, worker="bob", actor=ALICE)
    stop_instance("run", actor=ALICE)
    with pytest.raises(NotAccepting):
        create_task(NewTask(title="child", parent_id=parent.pk), actor=ALICE)


def test_a_lost_lease_completes_no_delegation(top: HopperInstance) -> None:
    task = _task(top)
    lease = claim_task(task.pk, worker="bob", actor=ALICE)
    set_status(task.pk, status="pending", force=True, actor=ALICE)
    last = TaskDelegation.objects.chain(task.pk).last()
    assert last is not None
    with pytest.raises(LeaseLost):
        Delegator(ALICE).complete_delegation(last.pk, token=lease.token)


def test_a_path_is_made_again_only_as_far_as_it_still_leads(top: HopperInstance) -> None:
    task = _task(top)
    lease = claim_task(task.pk, worker="bob", actor=ALICE)
    complete_task(task.pk, token=lease.token, actor=ALICE)
    InstanceFactory(scope="PROJECT", name="other", parent=top)
    move_instance("run", parent_id="other", actor=ALICE)
    reopen_task(task.pk, actor=ALICE)


def test_an_unassigned_task_survives_the_end_of_its_target(top: HopperInstance) -> None:
    task = TaskFactory()
    row = Delegator(ALICE).delegate_task(task.pk, "run", accept="auto").delegation
    assert row.status == "accepted"
    terminate_instance("run", cascade=True, actor=ALICE)
    task.refresh_from_db()
    row.refresh_from_db()
    assert task.instance_id == "web"
    assert row.status == "failed"


def test_a_task_after_a_failed_one_is_blocked_as_soon_as_it_is_placed(top: HopperInstance) -> None:
    before = _task(top)
    cancel_task(before.pk, actor=ALICE)
    task = _task(top, depends_on=[before.pk])
    assert (task.status, task.waiting_code) == ("blocked", "DependencyFailed")
    reopen_task(before.pk, actor=ALICE)
    task.refresh_from_db()
    assert (task.status, task.ready) == ("pending", False)


def test_a_task_blocked_by_a_person_is_not_reassigned(top: HopperInstance) -> None:
    InstanceFactory(scope="ORCHESTRATION", name="run2", parent=HopperInstance.objects.get(pk="web"))
    task = TaskFactory(instance=top, tags=["x"], complexity=5)
    set_status(task.pk, status="blocked", actor=ALICE)
    other = "run2" if task.instance_id == "run" else "run"
    with pytest.raises(Conflict):
        Delegator(ALICE).delegate_task(task.pk, other, delegation_type="reassign", force=True)


def test_a_refused_reassignment_is_placed_again(top: HopperInstance) -> None:
    InstanceFactory(scope="ORCHESTRATION", name="run2", parent=HopperInstance.objects.get(pk="web"))
    task = TaskFactory(instance=top, tags=["x"], complexity=5)
    other = "run2" if task.instance_id == "run" else "run"
    d = Delegator(ALICE).delegate_task(task.pk, other, delegation_type="reassign").delegation
    Delegator(ALICE).reject_delegation(d.pk, reason="no")
    task.refresh_from_db()
    assert task.instance_id in ("run", "run2")


def test_a_stopping_run_is_stopped_when_its_last_work_is_escalated(top: HopperInstance) -> None:
    task = _task(top)
    claim_task(task.pk, worker="bob", actor=ALICE)
    stop_instance("run", actor=ALICE)
    Delegator(ALICE).escalate_task(task.pk, reason="x")
    assert HopperInstance.objects.get(pk="run").status == "stopped"


@pytest.mark.parametrize("end", ["done", "cancelled"])
def test_the_sweep_looks_again_at_what_waits_for_a_reopened_task(
    end: str, top: HopperInstance
) -> None:
    first = _task(top)
    after = _task(top, depends_on=[first.pk])
    set_status(first.pk, status=end, actor=ALICE)
    after.refresh_from_db()
    was = {"done": ("pending", True), "cancelled": ("blocked", False)}
    assert (after.status, after.ready) == was[end]
    assert not any(rows.exists() for rows in overlooked())
    with mock.patch("instances.tasks.reopening.reevaluate_dependants"):
        # As if the process had died with the commit.
        reopen_task(first.pk, actor=ALICE)
    assert sweep().tasks_reevaluated == 1
    after.refresh_from_db()
    assert (after.status, after.ready) == ("pending", False)
    assert waiting_on([after])[after.pk]["object"] == first.pk
    assert sweep().tasks_reevaluated == 0


def test_a_task_that_waits_for_two_names_the_one_that_still_has_failed(top: HopperInstance) -> None:
    first, second = _task(top), _task(top)
    after = _task(top, depends_on=[first.pk, second.pk])
    for task in (first, second):
        cancel_task(task.pk, actor=ALICE)
    named = []
    for _ in range(2):
        named.append(Task.objects.get(pk=after.pk).waiting["object"])
        reopen_task(named[-1], actor=ALICE)
    assert sorted(named) == sorted([first.pk, second.pk])
    assert Task.objects.get(pk=after.pk).status == "pending"
