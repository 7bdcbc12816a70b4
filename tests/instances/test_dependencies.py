"""Tasks wait for their predecessors (R23)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from delegation.sweep import sweep
from hopper.errors import Conflict, Invalid, RuleBroken
from instances.models import Task
from instances.tasks.editing import update_task
from instances.tasks.ending import cancel_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next, complete_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

if TYPE_CHECKING:
    from instances.models import HopperInstance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@pytest.fixture
@kept
def run() -> HopperInstance:
    """A queue that executes."""
    instance: HopperInstance = InstanceFactory(
        scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT")
    )
    return instance


def test_work_is_claimed_in_the_order_of_its_dependencies(run: HopperInstance) -> None:
    first = TaskFactory(instance=run)
    left = TaskFactory(instance=run, depends_on=[first.pk], priority="urgent")
    right = TaskFactory(instance=run, depends_on=[first.pk])
    last = TaskFactory(instance=run, depends_on=[left.pk, right.pk], priority="urgent")
    order = []
    while leases := claim_next(run.pk, worker="bob", actor=ALICE).leases:
        order.append(leases[0].task.pk)
        complete_task(leases[0].task.pk, token=leases[0].token, actor=ALICE)
    assert order == [first.pk, left.pk, right.pk, last.pk]


def test_unmet_dependencies_do_not_prevent_routing() -> None:
    top = InstanceFactory()
    project = InstanceFactory(scope="PROJECT", parent=top, config={"capabilities": ["x"]})
    run = InstanceFactory(scope="ORCHESTRATION", parent=project)
    first = TaskFactory(instance=top)
    second = TaskFactory(instance=top, tags=["x"], complexity=5, depends_on=[first.pk])
    assert (second.instance_id, second.ready) == (run.pk, False)
    set_status(first.pk, status="done", actor=ALICE)
    second.refresh_from_db()
    assert second.ready


def test_a_predecessor_that_is_not_done_blocks_what_waits_for_it(run: HopperInstance) -> None:
    first = TaskFactory(instance=run)
    second = TaskFactory(instance=run, depends_on=[first.pk])
    cancel_task(first.pk, actor=ALICE)
    second.refresh_from_db()
    assert (second.status, second.waiting_code) == ("blocked", "DependencyFailed")
    update_task(second.pk, changes={"depends_on": []}, actor=ALICE)
    second.refresh_from_db()
    assert (second.status, second.ready) == ("pending", True)


@pytest.mark.parametrize("how", ["done", "cancelled"])
def test_any_end_of_its_predecessors_will_do_where_a_task_says_so(
    run: HopperInstance, how: str
) -> None:
    first, second = TaskFactory(instance=run), TaskFactory(instance=run)
    last = TaskFactory(
        instance=run, depends_on=[first.pk, second.pk], dependency_rule="any_terminal"
    )
    cancel_task(first.pk, actor=ALICE)
    last.refresh_from_db()
    assert (last.status, last.ready) == ("pending", False)
    set_status(second.pk, status=how, actor=ALICE)
    last.refresh_from_db()
    assert (last.status, last.ready) == ("pending", True)
    late = TaskFactory(instance=run, depends_on=[first.pk], dependency_rule="any_terminal")
    assert late.ready


def test_the_rule_may_be_changed_afterwards(run: HopperInstance) -> None:
    first = TaskFactory(instance=run)
    second = TaskFactory(instance=run, depends_on=[first.pk])
    cancel_task(first.pk, actor=ALICE)
    for rule, expected in (
        ("any_terminal", ("pending", "", True)),
        ("done", ("blocked", "DependencyFailed", False)),
    ):
        update_task(second.pk, changes={"dependency_rule": rule}, actor=ALICE)
        second.refresh_from_db()
        assert (second.status, second.waiting_code, second.ready) == expected


def test_a_wait_for_the_children_of_a_predecessor_is_a_cycle_too(run: HopperInstance) -> None:
    parent = TaskFactory(instance=run)
    other = TaskFactory(instance=run, depends_on=[parent.pk])
    with pytest.raises(RuleBroken):
        TaskFactory(parent_id=parent.pk, depends_on=[other.pk])
    child = TaskFactory(parent_id=parent.pk)
    with pytest.raises(RuleBroken):
        update_task(child.pk, changes={"depends_on": [parent.pk]}, actor=ALICE)
    sibling = TaskFactory(parent_id=parent.pk, depends_on=[child.pk])
    assert not sibling.ready


def test_the_sweep_finds_what_a_crash_left_not_ready(run: HopperInstance) -> None:
    first = TaskFactory(instance=run)
    second = TaskFactory(instance=run, depends_on=[first.pk])
    set_status(first.pk, status="done", actor=ALICE)
    Task.objects.filter(pk=second.pk).update(ready=False)
    assert sweep().tasks_reevaluated == 1
    second.refresh_from_db()
    assert second.ready


def test_a_cycle_is_refused(run: HopperInstance) -> None:
    first = TaskFactory(instance=run)
    second = TaskFactory(instance=run, depends_on=[first.pk])
    third = TaskFactory(instance=run, depends_on=[second.pk])
    for target in (first, second, third):
        with pytest.raises(RuleBroken):
            update_task(first.pk, changes={"depends_on": [third.pk, target.pk]}, actor=ALICE)


def test_an_unknown_predecessor_is_named(run: HopperInstance) -> None:
    with pytest.raises(Invalid, match="task-nowhere"):
        TaskFactory(instance=run, depends_on=["task-nowhere"])
    assert Task.objects.count() == 0


def test_a_unique_key_returns_the_open_task_and_may_be_used_again_after_it(
    run: HopperInstance,
) -> None:
    first = TaskFactory(instance=run, unique_key="nightly")
    assert TaskFactory(instance=run, unique_key="nightly").pk == first.pk
    with pytest.raises(Conflict) as refusal:
        TaskFactory(instance=run, unique_key="nightly", on_conflict="reject")
    assert refusal.value.extra["task_id"] == first.pk
    set_status(first.pk, status="done", actor=ALICE)
    assert TaskFactory(instance=run, unique_key="nightly").pk != first.pk
    assert TaskFactory(unique_key="nightly").pk != first.pk
