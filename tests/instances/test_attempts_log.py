"""The log of attempts has each attempt's error and its late value (R15, R21)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hopper.errors import Gone, LeaseLost
from instances.lifecycle.actions import stop_instance
from instances.models import Attempt, Task
from instances.tasks.creating import NewTask
from instances.tasks.decomposing import create_children
from instances.tasks.ending import cancel_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task, complete_task, fail_task, release_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.tasks.worker import Lease

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sound"),
]

FAILED = "disk full"

ENDS: dict[str, tuple[Callable[[Lease], object], str]] = {
    "completed": (lambda lease: _report(complete_task, lease, result=1), ""),
    "failed": (lambda lease: _report(fail_task, lease, error="no network"), "no network"),
    "failed without a word": (lambda lease: _report(fail_task, lease), ""),
    "released": (lambda lease: _report(release_task, lease, reason="shift ends"), ""),
    "evicted": (lambda lease: stop_instance("run", force=True, actor=ALICE), ""),
    "taken by force": (lambda lease: _force(lease, "in_progress"), ""),
    "blocked by force": (lambda lease: _force(lease, "blocked"), ""),
    "cancelled": (lambda lease: _cancel(lease, "not needed"), "not needed"),
    "cancelled without a word": (lambda lease: _cancel(lease, ""), ""),
    "decomposed": (
        lambda lease: create_children(
            lease.task.pk, [NewTask("c")], terms={}, token=lease.token, actor=ALICE
        ),
        "",
    ),
}


def _report(verb: Callable[..., Task], lease: Lease, **words: Any) -> Task:
    return verb(lease.task.pk, token=lease.token, actor=ALICE, **words)


def _force(lease: Lease, status: str) -> Task:
    return set_status(lease.task.pk, status=status, force=True, actor=ALICE)


def _cancel(lease: Lease, reason: str) -> Task:
    return cancel_task(lease.task.pk, reason=reason, actor=ALICE)


@pytest.fixture
def task() -> Task:
    web = InstanceFactory(scope="PROJECT", name="web")
    run = InstanceFactory(
        scope="ORCHESTRATION", parent=web, name="run", config={"retry_backoff_seconds": 1}
    )
    return TaskFactory(instance=run, max_attempts=9)


def _claim(task: Task) -> Lease:
    Task.objects.filter(pk=task.pk).update(retry_at=None)
    return claim_task(task.pk, worker="bob", actor=ALICE)


@pytest.mark.parametrize("end", ENDS)
def test_an_attempt_bears_no_error_of_another(task: Task, end: str) -> None:
    act, expected = ENDS[end]
    _report(fail_task, _claim(task), error=FAILED)
    act(_claim(task))
    errors = task.attempts.order_by("number").values_list("error", flat=True)
    assert list(errors) == [FAILED, expected]


LATE: dict[str, Callable[[Lease], Task]] = {
    "another result": lambda lease: _report(complete_task, lease, result="another"),
    "no result": lambda lease: _report(complete_task, lease),
    "an error": lambda lease: _report(fail_task, lease, error="no network"),
    "a failure without a word": lambda lease: _report(fail_task, lease),
    "a release": lambda lease: _report(release_task, lease, reason="shift ends"),
}


@pytest.mark.parametrize("later", LATE)
@pytest.mark.parametrize("over", ["evicted", "cancelled"])
def test_a_late_result_is_kept_whatever_comes_after_it(task: Task, over: str, later: str) -> None:
    lease = _claim(task)
    ENDS[over][0](lease)
    for report in (lambda lease: _report(complete_task, lease, result=[1, 2]), LATE[later]):
        with pytest.raises((LeaseLost, Gone)):
            report(lease)
    assert Attempt.objects.get().artifact == [1, 2]


@pytest.mark.parametrize("first", ["no result", "a failure without a word"])
def test_a_late_report_that_brings_nothing_keeps_the_place_free(task: Task, first: str) -> None:
    lease = _claim(task)
    ENDS["evicted"][0](lease)
    for report in (LATE[first], LATE["another result"]):
        with pytest.raises(LeaseLost):
            report(lease)
    assert Attempt.objects.get().artifact == "another"
