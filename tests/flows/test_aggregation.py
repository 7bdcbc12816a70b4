"""A decomposed task ends as its children and its policy say (R13, R14, R16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hopper.errors import Conflict
from instances.models import Event, Task
from instances.tasks.ending import cancel_task
from instances.tasks.reopening import reopen_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next, claim_task, complete_task, fail_task
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


def _family(run: HopperInstance, children: int, **values: object) -> tuple[Task, list[Task]]:
    parent = TaskFactory(instance=run, **values)
    return parent, [TaskFactory(parent_id=parent.pk) for _ in range(children)]


def _finish(task: Task, how: str) -> None:
    if how == "done":
        set_status(task.pk, status="done", actor=ALICE)
    elif how == "cancelled":
        cancel_task(task.pk, actor=ALICE)
    elif how == "failed":
        lease = claim_task(task.pk, worker="bob", actor=ALICE)
        fail_task(task.pk, token=lease.token, retryable=False, error="no", actor=ALICE)


@pytest.mark.parametrize(
    ("policy", "quorum", "ends", "expected"),
    [
        ("wait_all", 1, ["done", "done"], "done"),
        ("wait_all", 1, ["done", "open"], "in_progress"),
        ("wait_all", 1, ["failed", "open"], "in_progress"),
        ("wait_all", 1, ["failed", "done"], "failed"),
        ("wait_all", 1, ["cancelled", "done"], "done"),
        ("wait_all", 1, ["cancelled", "cancelled"], "pending"),
        ("fail_fast", 1, ["failed", "open", "open"], "failed"),
        ("fail_fast", 1, ["done", "done"], "done"),
        ("best_effort", 1, ["failed", "done"], "done"),
        ("best_effort", 2, ["failed", "done"], "failed"),
        ("resume", 1, ["failed", "done"], "pending"),
        ("resume", 1, ["done", "done"], "pending"),
    ],
)
def test_policies(
    run: HopperInstance, policy: str, quorum: int, ends: list[str], expected: str
) -> None:
    parent, children = _family(run, len(ends), failure_policy=policy, quorum=quorum)
    for child, how in zip(children, ends, strict=True):
        _finish(child, how)
    parent.refresh_from_db()
    assert parent.status == expected
    if policy == "fail_fast" and expected == "failed":
        assert {task.status for task in parent.children.all()} == {"failed", "cancelled"}
    if parent.is_terminal:
        assert Event.objects.filter(task=parent, ending=True, instance=run).count() == 1


@pytest.mark.parametrize(
    ("policy", "quorum", "means", "ends", "expected"),
    [
        ("wait_all", 1, {0: "fail_fast"}, ["failed", "open"], "failed"),
        ("wait_all", 1, {0: "best_effort"}, ["failed", "done"], "done"),
        ("wait_all", 1, {0: "best_effort"}, ["failed", "failed", "done"], "failed"),
        ("wait_all", 1, {0: "resume"}, ["failed", "done"], "pending"),
        ("fail_fast", 1, {0: "wait_all"}, ["failed", "open"], "in_progress"),
        ("fail_fast", 1, {0: "wait_all"}, ["failed", "done"], "failed"),
        ("best_effort", 1, {0: "wait_all"}, ["failed", "done"], "failed"),
        ("best_effort", 2, {0: "resume"}, ["failed", "done"], "pending"),
        ("best_effort", 2, {0: "resume"}, ["failed", "failed", "done"], "failed"),
        ("resume", 1, {0: "fail_fast"}, ["done", "open"], "in_progress"),
        ("resume", 1, {1: "fail_fast"}, ["failed", "failed", "open"], "failed"),
    ],
)
def test_a_child_may_say_what_its_own_failure_means(
    run: HopperInstance,
    policy: str,
    quorum: int,
    means: dict[int, str],
    ends: list[str],
    expected: str,
) -> None:
    parent = TaskFactory(instance=run, failure_policy=policy, quorum=quorum)
    children = [
        TaskFactory(parent_id=parent.pk, failure_means=means.get(place, "as_parent"))
        for place in range(len(ends))
    ]
    for child, how in zip(children, ends, strict=True):
        _finish(child, how)
    parent.refresh_from_db()
    assert parent.status == expected


@pytest.mark.parametrize(
    ("policy", "expected", "siblings", "at_last"),
    [
        ("wait_all", "failed", "done", "done"),
        ("fail_fast", "failed", "cancelled", "done"),
        ("best_effort", "done", "done", "done"),
        ("resume", "pending", "done", "pending"),
    ],
)
def test_a_failing_child_and_its_retry_under_each_policy(
    run: HopperInstance, policy: str, expected: str, siblings: str, at_last: str
) -> None:
    parent, (bad, *good) = _family(run, 3, failure_policy=policy)
    _finish(bad, "failed")
    for child in good:
        child.refresh_from_db()
        assert child.status == ("cancelled" if policy == "fail_fast" else "pending")
        if not child.is_terminal:
            _finish(child, "done")
    parent.refresh_from_db()
    assert parent.status == expected
    assert {task.status for task in parent.children.exclude(pk=bad.pk)} == {siblings}
    assert parent.result["failed"] == 1
    assert bool(parent.result.get("partial")) == (policy == "best_effort")

    reopen_task(bad.pk, actor=ALICE)
    parent.refresh_from_db()
    assert (parent.status, parent.waiting_code) == ("in_progress", "WaitingChildren")
    assert {task.status for task in parent.children.exclude(pk=bad.pk)} == {siblings}
    _finish(bad, "done")
    parent.refresh_from_db()
    assert (parent.status, parent.error) == (at_last, "")
    assert (parent.result["failed"], parent.result.get("partial")) == (0, None)


@pytest.mark.parametrize("policy", ["wait_all", "fail_fast", "best_effort", "resume"])
def test_a_parent_whose_children_were_all_cancelled_is_work_again(
    run: HopperInstance, policy: str
) -> None:
    parent, children = _family(run, 3, failure_policy=policy)
    for child in children:
        _finish(child, "cancelled")
    parent.refresh_from_db()
    assert (parent.status, parent.instance_id) == ("pending", run.pk)
    leased = [lease.task.pk for lease in claim_next(run.pk, worker="bob", actor=ALICE).leases]
    assert leased == [parent.pk]


@pytest.mark.parametrize("failing", [0, 1])
def test_a_parent_that_resumes_goes_back_to_its_holder_with_the_results(
    run: HopperInstance, failing: int
) -> None:
    parent, (child, *bad) = _family(
        run, 1 + failing, completion="resume", failure_policy="best_effort"
    )
    for other in bad:
        _finish(other, "failed")
    lease = claim_task(child.pk, worker="bob", actor=ALICE)
    complete_task(child.pk, token=lease.token, result={"n": 1}, actor=ALICE)
    (claimed,) = claim_next(run.pk, worker="carol", actor=ALICE).leases
    assert claimed.task.pk == parent.pk
    assert claimed.task.result["children"][0]["result"] == {"n": 1}


def test_completion_rises_through_three_levels(run: HopperInstance) -> None:
    parent, (child,) = _family(run, 1)
    grandchild = TaskFactory(parent_id=child.pk)
    _finish(grandchild, "done")
    assert {task.status for task in Task.objects.all()} == {"done"}
    assert Task.objects.get(pk=parent.pk).result["done"] == 1


def test_a_parent_is_not_finished_over_open_children_even_by_force(run: HopperInstance) -> None:
    parent, (child,) = _family(run, 1)
    with pytest.raises(Conflict) as refusal:
        set_status(parent.pk, status="done", force=True, actor=ALICE)
    assert refusal.value.extra["children"] == [child.pk]


def test_a_worker_that_decomposes_its_task_gives_its_lease_back(run: HopperInstance) -> None:
    parent = TaskFactory(instance=run)
    lease = claim_task(parent.pk, worker="bob", actor=ALICE)
    TaskFactory(parent_id=parent.pk)
    parent.refresh_from_db()
    assert (parent.status, parent.lease_token, parent.waiting_code) == (
        "in_progress",
        None,
        "WaitingChildren",
    )
    assert parent.attempts.get(number=lease.attempt).outcome == "released"


def test_tasks_are_decomposed_at_most_five_levels_deep(run: HopperInstance) -> None:
    task = TaskFactory(instance=run)
    for _ in range(4):
        task = TaskFactory(parent_id=task.pk)
    with pytest.raises(Exception, match="at most 5 levels"):
        TaskFactory(parent_id=task.pk)
