"""With `on_failure: escalate` a task that would fail for good is handed up instead (R15)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from django.db import transaction
from django.utils import timezone

from delegation.models import TaskDelegation
from delegation.placing import place_task
from delegation.sweep import sweep
from hopper.errors import Conflict
from instances.lifecycle.actions import stop_instance, terminate_instance
from instances.models import HopperInstance, Task
from instances.tasks.editing import update_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task, complete_task, fail_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]

UP = {"on_failure": "escalate"}


@pytest.fixture
@kept
def web() -> HopperInstance:
    """A project of a GLOBAL, with two runs; a failure at the runs goes up."""
    top = InstanceFactory(name="top")
    project: HopperInstance = InstanceFactory(
        scope="PROJECT", name="web", parent=top, config={"capabilities": ["x"]}
    )
    for name in ("run-1", "run-2"):
        InstanceFactory(scope="ORCHESTRATION", name=name, parent=project, config=UP)
    return project


@pytest.fixture
def placing_dies() -> Iterator[None]:
    """The process dies after each commit: no task is placed."""
    with mock.patch("delegation.placing.try_to_place"):
        yield


def _fail(task: Task, **values: bool) -> str:
    lease = claim_task(task.pk, worker="bob", actor=ALICE)
    fail_task(task.pk, token=lease.token, error="no disk", actor=ALICE, **values)
    return lease.token


def _placed(**values: object) -> Task:
    top = HopperInstance.objects.get(pk="top")
    task: Task = TaskFactory(instance=top, tags=["x"], complexity=5, **values)
    return task


def test_the_project_gives_a_task_that_one_run_failed_to_the_other_with_fresh_attempts(
    web: HopperInstance,
) -> None:
    task = _placed(max_attempts=2)
    assert task.instance_id == "run-1"
    _fail(task)
    task.refresh_from_db()
    assert (task.status, task.instance_id, task.failures) == ("pending", "run-1", 1)
    Task.objects.filter(pk=task.pk).update(retry_at=None)
    _fail(task)
    task.refresh_from_db()
    assert (task.status, task.instance_id, task.failures) == ("pending", "run-2", 0)
    up = TaskDelegation.objects.get(task=task, delegation_type="escalate")
    assert (up.source_instance_id, up.target_instance_id) == ("run-1", "web")
    assert (up.status, up.reason, up.notes) == ("accepted", "task_failed", "no disk")
    left = TaskDelegation.objects.get(task=task, target_instance="run-1")
    assert (left.status, left.reason) == ("failed", "escalated")
    assert [attempt.outcome for attempt in task.attempts.order_by("number")] == ["failed"] * 2
    lease = claim_task(task.pk, worker="carol", actor=ALICE)
    complete_task(task.pk, token=lease.token, actor=ALICE)


def test_where_every_run_has_failed_it_the_project_keeps_it_for_people(
    web: HopperInstance,
) -> None:
    task = _placed(executor_preference="orchestration")
    HopperInstance.objects.filter(pk="web").update(
        config={"capabilities": ["x"], "create_orchestrations": False}
    )
    for _ in range(2):
        _fail(task, retryable=False)
    task.refresh_from_db()
    assert (task.status, task.instance_id) == ("pending", "web")
    set_status(task.pk, status="in_progress", actor=ALICE)
    fail_task(task.pk, retryable=False, error="nor can I", actor=ALICE)
    task.refresh_from_db()
    assert task.status == "failed"


def test_at_a_root_it_is_blocked_for_a_person(web: HopperInstance) -> None:
    alone = InstanceFactory(scope="PROJECT", name="alone", config=UP)
    task = TaskFactory(instance=alone)
    token = _fail(task, retryable=False)
    task.refresh_from_db()
    assert (task.status, task.waiting_code) == ("blocked", "InputRequired")
    assert task.waiting["detail"] == "no disk"
    again = fail_task(task.pk, token=token, error="no disk", retryable=False, actor=ALICE)
    assert again.status == "blocked"


def test_the_last_lease_that_is_lost_goes_up_too(web: HopperInstance) -> None:
    task = _placed(max_attempts=1)
    claim_task(task.pk, worker="bob", actor=ALICE)
    Task.objects.filter(pk=task.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert sweep().leases_expired == 1
    task.refresh_from_db()
    assert (task.status, task.instance_id) == ("pending", "run-2")


def test_a_child_that_goes_up_has_not_failed_its_parent(web: HopperInstance) -> None:
    parent = TaskFactory(instance=web, failure_policy="fail_fast")
    child = TaskFactory(parent_id=parent.pk, complexity=5)
    _fail(child, retryable=False)
    parent.refresh_from_db()
    child.refresh_from_db()
    assert (parent.status, child.instance_id) == ("in_progress", "run-2")


@pytest.mark.usefixtures("placing_dies")
class TestWhenTheProcessDiesInBetween:
    """The failure is written, the handing up is not."""

    def given_up(self) -> Task:
        task = _placed()
        place_task(task.pk, actor=ALICE)
        _fail(task, retryable=False)
        task.refresh_from_db()
        assert (task.status, task.instance_id, task.awaits_escalation) == ("pending", "run-1", True)
        with pytest.raises(Conflict):
            claim_task(task.pk, worker="bob", actor=ALICE)
        return task

    def test_the_sweep_escalates_a_task_that_failed_for_good(self, web: HopperInstance) -> None:
        task = self.given_up()
        assert sweep().tasks_placed == 1
        task.refresh_from_db()
        assert (task.status, task.instance_id) == ("pending", "run-2")

    def test_a_task_is_handed_up_from_a_stopped_run_too(self, web: HopperInstance) -> None:
        task = self.given_up()
        stop_instance("run-1", evacuate=True, actor=ALICE)
        sweep()
        task.refresh_from_db()
        assert (task.status, task.instance_id) == ("pending", "run-2")

    def test_a_task_goes_up_once_where_its_holder_ends_first(self, web: HopperInstance) -> None:
        task = self.given_up()
        terminate_instance("run-1", cascade=True, actor=ALICE)
        task.refresh_from_db()
        assert (task.instance_id, task.awaits_escalation) == ("web", False)
        sweep()
        task.refresh_from_db()
        assert task.instance_id == "run-2"

    def test_an_edit_does_not_bring_it_back(self, web: HopperInstance) -> None:
        task = self.given_up()
        update_task(task.pk, changes={"tags": ["x", "y"]}, actor=ALICE)
        sweep()
        task.refresh_from_db()
        assert task.instance_id == "run-2"

    def test_somebody_may_take_it_by_hand(self, web: HopperInstance) -> None:
        task = self.given_up()
        with transaction.atomic():
            set_status(task.pk, status="done", actor=ALICE)
        sweep()
        task.refresh_from_db()
        assert task.status == "done"
