"""An ended task begins again at its holder (R18)."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from delegation.models import TaskDelegation
from hopper.errors import Conflict
from instances.lifecycle.actions import terminate_instance
from instances.models import HopperInstance, Task
from instances.tasks.editing import update_task
from instances.tasks.ending import cancel_task
from instances.tasks.reopening import reopen_task
from instances.tasks.status_by_hand import SETTABLE, set_status
from instances.tasks.worker import claim_next, claim_task, complete_task, fail_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

if TYPE_CHECKING:
    from collections.abc import Callable

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


def _ended(task: Task, how: str) -> Task:
    if how == "cancelled":
        return cancel_task(task.pk, actor=ALICE)
    lease = claim_task(task.pk, worker="bob", actor=ALICE)
    if how == "failed":
        return fail_task(task.pk, token=lease.token, retryable=False, error="no", actor=ALICE)
    return complete_task(task.pk, token=lease.token, result=1, actor=ALICE)


@pytest.mark.parametrize("how", ["done", "failed", "cancelled"])
def test_the_path_is_made_again_and_completion_rises_again(top: HopperInstance, how: str) -> None:
    task = _ended(TaskFactory(instance=top, tags=["x"], complexity=5), how)
    reopened = reopen_task(task.pk, actor=ALICE)
    assert (reopened.status, reopened.instance_id, reopened.epoch) == ("pending", "run", 2)
    fresh = TaskDelegation.objects.chain(task.pk)
    assert list(fresh.values_list("target_instance_id", "reason")) == [
        ("web", "reopened"),
        ("run", "reopened"),
    ]
    (lease,) = claim_next("run", worker="carol", actor=ALICE).leases
    complete_task(task.pk, token=lease.token, result=2, actor=ALICE)
    rows = TaskDelegation.objects.filter(task=task, epoch=2)
    assert set(rows.values_list("status", flat=True)) == {"completed"}


def test_the_hops_of_a_task_are_listed_in_their_order_whatever_their_ids(
    top: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = count(9_999, -1)
    for module in ("delegation.completion", "delegation.offers"):
        monkeypatch.setattr(f"{module}.new_id", lambda kind: f"{kind}-{next(falling)}")
    task = _ended(TaskFactory(instance=top, tags=["x"], complexity=5), "done")
    reopen_task(task.pk, actor=ALICE)
    listed = TaskDelegation.objects.for_task(task.pk)
    way = list(listed.values_list("epoch", "target_instance_id"))
    assert way == [(1, "web"), (1, "run"), (2, "web"), (2, "run")]
    assert [row.target_instance_id for row in listed.chain(task.pk)] == ["web", "run"]


def test_reopening_what_is_open_changes_nothing(top: HopperInstance) -> None:
    task = TaskFactory(instance=top)
    assert reopen_task(task.pk, actor=ALICE).epoch == 1


def test_a_task_whose_holder_is_gone_begins_above_it(top: HopperInstance) -> None:
    task = _ended(TaskFactory(instance=top, tags=["x"], complexity=5), "done")
    terminate_instance("web", cascade=True, actor=ALICE)
    assert reopen_task(task.pk, actor=ALICE).instance_id == "top"


def test_parents_that_ended_with_their_children_wait_for_them_again(top: HopperInstance) -> None:
    parent = TaskFactory(instance=top, tags=["x"], complexity=5)
    child = TaskFactory(parent_id=parent.pk)
    grandchild = TaskFactory(parent_id=child.pk)
    _ended(grandchild, "failed")
    assert set(Task.objects.values_list("status", flat=True)) == {"failed"}
    reopen_task(grandchild.pk, actor=ALICE)
    states = dict(Task.objects.values_list("pk", "status"))
    assert states == {
        parent.pk: "in_progress",
        child.pk: "in_progress",
        grandchild.pk: "pending",
    }
    _ended(grandchild, "done")
    assert set(Task.objects.values_list("status", flat=True)) == {"done"}


def test_a_parent_that_was_closed_by_hand_refuses(top: HopperInstance) -> None:
    parent = TaskFactory(instance=top)
    child = TaskFactory(parent_id=parent.pk)
    cancel_task(parent.pk, actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        reopen_task(child.pk, actor=ALICE)
    assert refusal.value.extra["parent_id"] == parent.pk


def test_a_key_that_is_in_use_again_refuses(top: HopperInstance) -> None:
    task = _ended(TaskFactory(instance=top, unique_key="k", tags=["x"]), "cancelled")
    TaskFactory(instance=top, unique_key="k")
    with pytest.raises(Conflict) as refusal:
        reopen_task(task.pk, actor=ALICE)
    assert refusal.value.code == "unique_key_taken"


@pytest.mark.parametrize("how", ["done", "failed", "cancelled"])
@pytest.mark.parametrize("status", SETTABLE)
def test_by_force_any_status_follows_any_end(top: HopperInstance, how: str, status: str) -> None:
    task = _ended(TaskFactory(instance=top, tags=["x"], complexity=5), how)
    with pytest.raises(Conflict) if status != how else pytest.MonkeyPatch.context():
        set_status(task.pk, status=status, actor=ALICE)
    assert set_status(task.pk, status=status, force=True, actor=ALICE).status == status


def test_the_log_says_where_a_reopened_task_went(top: HopperInstance) -> None:
    task = _ended(TaskFactory(instance=top, tags=["x"], complexity=5), "done")
    terminate_instance("run", actor=ALICE)
    reopened = reopen_task(task.pk, actor=ALICE)
    moved = reopened.events.get(kind="task.moved")
    assert (moved.data["was"], moved.data["reason"]) == ("run", "reopened")
    assert moved.holder_id == "web"


@pytest.mark.parametrize(
    "open_again",
    [
        lambda pk: reopen_task(pk, actor=ALICE),
        lambda pk: set_status(pk, status="pending", force=True, actor=ALICE),
    ],
    ids=["reopened", "forced"],
)
def test_a_task_is_not_opened_again_to_wait_for_its_own_parent(
    top: HopperInstance, open_again: Callable[[str], Task]
) -> None:
    run = HopperInstance.objects.get(pk="run")
    before, parent = TaskFactory(instance=run), TaskFactory(instance=run)
    child = TaskFactory(parent_id=parent.pk, depends_on=[before.pk])
    TaskFactory(parent_id=parent.pk)
    for task in (before, child):
        _ended(task, "done")
    reopen_task(before.pk, actor=ALICE)
    # Nobody waits for the child any more: there is no cycle yet.
    update_task(before.pk, changes={"depends_on": [parent.pk]}, actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        open_again(child.pk)
    assert (refusal.value.code, refusal.value.extra["parent_id"]) == ("cycle", parent.pk)
    update_task(before.pk, changes={"depends_on": []}, actor=ALICE)
    assert open_again(child.pk).status == "pending"


def test_a_reopen_is_refused_where_its_ended_parent_is_waited_for(top: HopperInstance) -> None:
    run = HopperInstance.objects.get(pk="run")
    before, above = TaskFactory(instance=run), TaskFactory(instance=run)
    parent = TaskFactory(parent_id=above.pk, depends_on=[before.pk])
    TaskFactory(parent_id=above.pk)
    _ended(before, "done")
    child = TaskFactory(parent_id=parent.pk)
    _ended(child, "done")
    assert Task.objects.get(pk=parent.pk).status == "done"
    reopen_task(before.pk, actor=ALICE)
    update_task(before.pk, changes={"depends_on": [above.pk]}, actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        reopen_task(child.pk, actor=ALICE)
    assert (refusal.value.code, refusal.value.extra["parent_id"]) == ("cycle", above.pk)
    assert Task.objects.get(pk=parent.pk).status == "done"
