"""A task at work, or blocked, whose predecessor does not stay done (R23)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import pytest

from delegation.sweep import sweep
from instances.models import Task
from instances.tasks.dependencies import overlooked
from instances.tasks.reopening import reopen_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next, claim_task, complete_task, fail_task, release_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from instances.models import HopperInstance
    from instances.tasks.worker import Lease

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


@pytest.fixture
def first(run: HopperInstance) -> Task:
    """A task that is done."""
    task = TaskFactory(instance=run)
    lease = claim_task(task.pk, worker="bob", actor=ALICE)
    return complete_task(task.pk, token=lease.token, actor=ALICE)


@pytest.fixture
def after(run: HopperInstance, first: Task) -> Task:
    """A task that may begin, since `first` is done."""
    return TaskFactory(instance=run, depends_on=[first.pk])


@pytest.fixture
def lease(after: Task) -> Lease:
    """The work on `after`."""
    return claim_task(after.pk, worker="carol", actor=ALICE)


def _claimable(run: HopperInstance) -> Iterator[str]:
    while leases := claim_next(run.pk, worker="dave", actor=ALICE).leases:
        yield leases[0].task.pk


def _unknown_to_dependants(task: Task, status: str) -> None:
    """Change a task as if the process had died with the commit."""
    with (
        mock.patch("instances.tasks.reopening.reevaluate_dependants"),
        mock.patch("delegation.completion.reevaluate_dependants"),
    ):
        set_status(task.pk, status=status, force=True, actor=ALICE)


def test_a_task_given_back_while_its_predecessor_is_redone_waits_for_the_predecessor(
    run: HopperInstance, first: Task, after: Task, lease: Lease
) -> None:
    reopen_task(first.pk, actor=ALICE)
    after.refresh_from_db()
    assert (after.status, after.ready) == ("claimed", False)
    release_task(after.pk, token=lease.token, actor=ALICE)
    assert list(_claimable(run)) == [first.pk]
    complete_task(first.pk, token=Task.objects.get(pk=first.pk).lease_token, actor=ALICE)
    assert list(_claimable(run)) == [after.pk]


def test_work_goes_on_while_a_predecessor_is_redone(first: Task, after: Task, lease: Lease) -> None:
    reopen_task(first.pk, actor=ALICE)
    assert complete_task(after.pk, token=lease.token, actor=ALICE).status == "done"


def test_a_task_given_back_after_its_predecessor_failed_is_blocked(
    run: HopperInstance, first: Task, after: Task, lease: Lease
) -> None:
    reopen_task(first.pk, actor=ALICE)
    redone = claim_task(first.pk, worker="bob", actor=ALICE)
    fail_task(first.pk, token=redone.token, retryable=False, actor=ALICE)
    release_task(after.pk, token=lease.token, actor=ALICE)
    assert list(_claimable(run)) == []
    sweep()
    after.refresh_from_db()
    assert (after.status, after.waiting_code) == ("blocked", "DependencyFailed")
    assert sweep().tasks_reevaluated == 0


def test_an_unblocked_task_waits_for_its_predecessor(
    run: HopperInstance, first: Task, after: Task
) -> None:
    set_status(after.pk, status="blocked", reason="which one?", actor=ALICE)
    reopen_task(first.pk, actor=ALICE)
    after.refresh_from_db()
    assert (after.status, after.waiting_code, after.ready) == ("blocked", "InputRequired", False)
    set_status(after.pk, status="pending", actor=ALICE)
    assert list(_claimable(run)) == [first.pk]


@pytest.mark.parametrize("now", ["pending", "cancelled"])
@pytest.mark.parametrize("at_work", [False, True])
def test_the_sweep_finds_what_is_still_ready(
    now: str, at_work: bool, run: HopperInstance, first: Task, after: Task
) -> None:
    if at_work:
        set_status(after.pk, status="in_progress", actor=ALICE)
    _unknown_to_dependants(first, now)
    assert Task.objects.get(pk=after.pk).ready
    assert sweep().tasks_reevaluated == 1
    after.refresh_from_db()
    blocked = now == "cancelled" and not at_work
    assert (after.ready, after.status == "blocked") == (False, blocked)
    assert sweep().tasks_reevaluated == 0
    assert not any(rows.exists() for rows in overlooked())


def test_any_end_of_a_predecessor_leaves_a_task_with_any_terminal_ready(
    run: HopperInstance, first: Task
) -> None:
    after = TaskFactory(instance=run, depends_on=[first.pk], dependency_rule="any_terminal")
    _unknown_to_dependants(first, "cancelled")
    assert not any(rows.exists() for rows in overlooked())
    assert list(_claimable(run)) == [after.pk]
