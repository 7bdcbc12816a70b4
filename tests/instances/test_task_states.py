"""Every pair of the task table by hand, and what refuses (R19)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from hopper.errors import Conflict, HopperError, Invalid, InvalidTransition
from hopper.protocol import TASK
from instances.choices import TERMINAL, TaskStatus
from instances.models import Event, Task
from instances.tasks.ending import cancel_task
from instances.tasks.status_by_hand import SETTABLE, set_status
from instances.tasks.worker import claim_next, claim_task, fail_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

if TYPE_CHECKING:
    from instances.models import HopperInstance

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sound"),
]


@pytest.fixture
@kept
def run() -> HopperInstance:
    """A queue that executes."""
    instance: HopperInstance = InstanceFactory(
        scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT")
    )
    return instance


def _in(status: str, run: HopperInstance) -> Task:
    task: Task = TaskFactory(instance=run)
    if status == "cancelled":
        return cancel_task(task.pk, actor=ALICE)
    if status == "failed":
        lease = claim_task(task.pk, worker="bob", actor=ALICE)
        return fail_task(task.pk, token=lease.token, retryable=False, error="no", actor=ALICE)
    return set_status(task.pk, status=status, owner="bob", actor=ALICE)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(TaskStatus.values, SETTABLE)))
def test_a_status_is_walked_to_or_refused(before: str, after: str, run: HopperInstance) -> None:
    task = _in(before, run)
    events = Event.objects.filter(task=task).count()
    if before == after:
        assert set_status(task.pk, status=after, actor=ALICE).status == after
        assert Event.objects.filter(task=task).count() == events
    elif before in TERMINAL:
        with pytest.raises(Conflict) as refusal:
            set_status(task.pk, status=after, actor=ALICE)
        assert refusal.value.extra["state"] == before
    else:
        assert set_status(task.pk, status=after, actor=ALICE).status == after
        steps = Event.objects.filter(task=task).exclude(before="").values_list("before", "status")
        assert all(one == two or TASK.permits(one, two) for one, two in steps)


@pytest.mark.parametrize("wrong", ["failed", "open", ""])
def test_a_field_that_cannot_be_set_is_named(wrong: str, run: HopperInstance) -> None:
    with pytest.raises(Invalid, match="allowed: pending"):
        set_status(TaskFactory(instance=run).pk, status=wrong, actor=ALICE)


@pytest.mark.parametrize(
    ("before", "after"), list(itertools.product(TaskStatus.values, TaskStatus.values))
)
def test_the_table_names_what_is_allowed(before: str, after: str) -> None:
    if TASK.permits(before, after):
        TASK.require(before, after)
        return
    with pytest.raises(InvalidTransition) as refusal:
        TASK.require(before, after, "task-1")
    assert refusal.value.extra["allowed"] == TASK.allowed(before)


def test_a_lease_is_overridden_only_by_force(run: HopperInstance) -> None:
    task = TaskFactory(instance=run)
    claim_next(run.pk, worker="bob", actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        set_status(task.pk, status="done", actor=ALICE)
    assert refusal.value.extra["worker"] == "bob"
    done = set_status(task.pk, status="done", force=True, actor=ALICE)
    assert done.status == "done"
    assert done.attempts.get().outcome == "evicted"


def test_unassigned_tasks_are_workable_by_hand() -> None:
    task = TaskFactory(instance=None)
    assert set_status(task.pk, status="in_progress", owner="carol", actor=ALICE).worker == "carol"
    assert set_status(task.pk, status="done", actor=ALICE).status == "done"


def test_cancelling_takes_open_descendants_along_and_leaves_finished_ones(
    run: HopperInstance,
) -> None:
    parent = TaskFactory(instance=run)
    done, child = (TaskFactory(parent_id=parent.pk) for _ in range(2))
    set_status(done.pk, status="done", actor=ALICE)
    grandchild = TaskFactory(parent_id=child.pk)
    cancel_task(parent.pk, reason="enough", actor=ALICE)
    states = Task.objects.in_bulk([parent.pk, done.pk, child.pk, grandchild.pk])
    assert [task.status for task in states.values()].count("cancelled") == 3
    assert states[done.pk].status == "done"
    assert cancel_task(parent.pk, actor=ALICE).status == "cancelled"


@pytest.mark.parametrize("ended", ["done", "failed"])
def test_an_ended_task_cannot_be_cancelled(ended: str, run: HopperInstance) -> None:
    with pytest.raises(HopperError) as refusal:
        cancel_task(_in(ended, run).pk, actor=ALICE)
    assert refusal.value.status == 409
