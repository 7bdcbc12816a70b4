"""Claim, start, heartbeat, complete, fail, release, and what a lease fences off (R15, R21)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone

from delegation.sweep import sweep
from hopper.errors import AlreadyEnded, Conflict, Gone, HopperError, LeaseLost
from instances.lifecycle.actions import pause_instance
from instances.models import Attempt, Event, InstanceLoad, Task
from instances.tasks import leases, worker
from instances.tasks.editing import update_task
from instances.tasks.ending import cancel_task
from instances.tasks.leases import expire_leases
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@pytest.fixture
@kept
def run() -> HopperInstance:
    """A queue of two places whose tasks may fail twice."""
    instance: HopperInstance = InstanceFactory(
        scope="ORCHESTRATION",
        parent=InstanceFactory(scope="PROJECT"),
        config={"max_concurrent_tasks": 2, "max_attempts": 2, "retry_backoff_seconds": 10},
    )
    return instance


@pytest.fixture
def later() -> Callable[[], None]:
    """Let claims look for lost leases again, as if ten seconds had passed."""
    return leases._rescued.clear


def _lease(run: HopperInstance, **values: object) -> worker.Lease:
    (lease,) = worker.claim_next(run.pk, worker="bob", actor=ALICE, **values).leases  # type: ignore[arg-type]
    return lease


def _run_out(task: Task) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Task.objects.filter(pk=task.pk).update(lease_expires_at=past)


def test_urgent_work_comes_first_then_age_and_priority_together(run: HopperInstance) -> None:
    low = TaskFactory(instance=run, priority="low")
    medium = TaskFactory(instance=run, priority="medium")
    high = TaskFactory(instance=run, priority="high")
    urgent = TaskFactory(instance=run, priority="urgent")
    # The low one has waited for an hour longer than high ones do now: it has aged to high.
    long_ago = timezone.now() - timedelta(hours=1, minutes=1)
    Task.objects.filter(pk=low.pk).update(queue_at=long_ago + timedelta(hours=1))
    order = []
    while leases := worker.claim_next(run.pk, worker="bob", actor=ALICE).leases:
        order.append(leases[0].task.pk)
        worker.complete_task(leases[0].task.pk, token=leases[0].token, actor=ALICE)
    assert order == [urgent.pk, low.pk, high.pk, medium.pk]


def test_a_task_with_not_before_has_waited_only_since_then(run: HopperInstance) -> None:
    now = timezone.now()
    planned = TaskFactory(instance=run, not_before=now + timedelta(hours=1))
    other = TaskFactory(instance=run)
    low = TaskFactory(instance=run, priority="low")
    with time_machine.travel(now + timedelta(hours=2)):
        sooner = TaskFactory(instance=run)
        order = [
            lease.task.pk
            for _ in range(2)
            for lease in worker.claim_next(run.pk, worker="bob", limit=2, actor=ALICE).leases
        ]
        assert order == [other.pk, low.pk]
        for lease in Task.objects.leased():
            worker.complete_task(lease.pk, token=lease.lease_token, actor=ALICE)
        rest = worker.claim_next(run.pk, worker="bob", limit=2, actor=ALICE).leases
        assert [lease.task.pk for lease in rest] == [planned.pk, sooner.pk]
        update_task(planned.pk, changes={"not_before": now + timedelta(hours=5)}, actor=ALICE)
    planned.refresh_from_db()
    assert planned.queue_at == now + timedelta(hours=5, minutes=30)


def test_a_batch_is_claimed_in_order_up_to_the_free_places(run: HopperInstance) -> None:
    tasks = [TaskFactory(instance=run).pk for _ in range(3)]
    claim = worker.claim_next(run.pk, worker="bob", limit=10, actor=ALICE)
    assert [lease.task.pk for lease in claim.leases] == tasks[:2]
    assert InstanceLoad.objects.get(pk=run.pk).running == 2
    none = worker.claim_next(run.pk, worker="carol", actor=ALICE)
    assert (none.leases, (none.waiting or {})["code"]) == ([], "AtCapacity")


@pytest.mark.parametrize(
    ("capabilities", "tags", "fits"),
    [
        (None, None, True),
        (["gpu", "web"], None, True),
        (["gpu"], None, False),
        ([], None, False),
        (None, ["red"], True),
        (None, ["blue"], False),
    ],
)
def test_a_worker_gets_what_fits_it(
    run: HopperInstance,
    capabilities: list[str] | None,
    tags: list[str] | None,
    fits: bool,
) -> None:
    TaskFactory(instance=run, required_capabilities=["gpu", "web"], tags=["red", "green"])
    claim = worker.claim_next(
        run.pk, worker="bob", capabilities=capabilities, tags=tags, actor=ALICE
    )
    assert bool(claim.leases) == fits
    if not fits:
        assert (claim.waiting or {})["code"] == "NothingFits"


def test_an_empty_queue_says_so(run: HopperInstance) -> None:
    claim = worker.claim_next(run.pk, worker="bob", actor=ALICE)
    assert (claim.waiting or {})["code"] == "Empty"


def test_nothing_is_claimed_where_the_scope_routes() -> None:
    top = InstanceFactory()
    with pytest.raises(Conflict, match="executes none"):
        worker.claim_next(top.pk, worker="bob", actor=ALICE)


def test_nothing_is_claimed_while_an_ancestor_is_paused(run: HopperInstance) -> None:
    TaskFactory(instance=run)
    assert run.parent_id is not None
    pause_instance(run.parent_id, actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        worker.claim_next(run.pk, worker="bob", actor=ALICE)
    assert refusal.value.extra["state"] == "paused"


def test_the_same_worker_asking_for_a_given_task_again_gets_the_same_lease(
    run: HopperInstance,
) -> None:
    task = TaskFactory(instance=run)
    first = worker.claim_task(task.pk, worker="bob", actor=ALICE)
    again = worker.claim_task(task.pk, worker="bob", actor=ALICE)
    assert (again.token, again.attempt) == (first.token, 1)
    with pytest.raises(Conflict, match="claimed by bob"):
        worker.claim_task(task.pk, worker="carol", actor=ALICE)


def test_a_given_task_is_refused_at_capacity(run: HopperInstance) -> None:
    for _ in range(2):
        worker.claim_task(TaskFactory(instance=run).pk, worker="bob", actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        worker.claim_task(TaskFactory(instance=run).pk, worker="bob", actor=ALICE)
    assert refusal.value.code == "at_capacity"


def test_a_heartbeat_extends_the_lease_and_keeps_checkpoint_and_progress(
    run: HopperInstance,
) -> None:
    TaskFactory(instance=run)
    lease = _lease(run, lease_seconds=60)
    _run_out(lease.task)
    beaten = worker.heartbeat(
        lease.task.pk, token=lease.token, checkpoint={"step": 3}, progress=0.4, actor=ALICE
    )
    assert beaten.lease_expires_at is not None
    assert beaten.lease_expires_at > timezone.now() + timedelta(seconds=55)
    assert sweep().leases_expired == 0
    attempt = Attempt.objects.get()
    assert (attempt.checkpoint, attempt.progress) == ({"step": 3}, 0.4)


@pytest.mark.parametrize("report", ["complete_task", "fail_task", "release_task", "start_task"])
def test_a_report_without_the_token_is_refused(run: HopperInstance, report: str) -> None:
    TaskFactory(instance=run)
    lease = _lease(run)
    with pytest.raises(Conflict) as refusal:
        getattr(worker, report)(lease.task.pk, actor=ALICE)
    assert refusal.value.code == "token_required"


@pytest.mark.parametrize(
    "report", ["complete_task", "fail_task", "release_task", "start_task", "heartbeat"]
)
def test_a_wrong_token_has_lost_the_lease(run: HopperInstance, report: str) -> None:
    TaskFactory(instance=run)
    lease = _lease(run)
    with pytest.raises(LeaseLost):
        getattr(worker, report)(lease.task.pk, token="9.wrong", actor=ALICE)


def test_completing_again_changes_nothing_and_failing_then_is_refused(
    run: HopperInstance,
) -> None:
    TaskFactory(instance=run)
    lease = _lease(run)
    worker.start_task(lease.task.pk, token=lease.token, actor=ALICE)
    worker.complete_task(lease.task.pk, token=lease.token, result=1, actor=ALICE)
    events = Event.objects.count()
    again = worker.complete_task(lease.task.pk, token=lease.token, result=1, actor=ALICE)
    assert (again.result, Event.objects.count()) == (1, events)
    assert worker.complete_task(lease.task.pk, actor=ALICE).result == 1
    with pytest.raises(AlreadyEnded):
        worker.fail_task(lease.task.pk, token=lease.token, actor=ALICE)


def test_a_failure_backs_off_and_the_last_one_is_final(run: HopperInstance) -> None:
    TaskFactory(instance=run)
    first = _lease(run)
    failed = worker.fail_task(first.task.pk, token=first.token, error="oops", actor=ALICE)
    assert (failed.status, failed.waiting_code) == ("pending", "RetryBackoff")
    assert worker.claim_next(run.pk, worker="bob", actor=ALICE).leases == []
    Task.objects.update(retry_at=timezone.now())
    second = _lease(run)
    final = worker.fail_task(second.task.pk, token=second.token, error="again", actor=ALICE)
    assert (final.status, final.error, final.failures) == ("failed", "again", 2)
    again = worker.fail_task(second.task.pk, token=second.token, actor=ALICE)
    assert again.status == "failed"


def test_a_failure_that_cannot_be_retried_is_final_at_once(run: HopperInstance) -> None:
    TaskFactory(instance=run)
    lease = _lease(run)
    final = worker.fail_task(
        lease.task.pk, token=lease.token, retryable=False, error="broken", actor=ALICE
    )
    assert final.status == "failed"


def test_a_release_is_not_counted_against_the_task(run: HopperInstance) -> None:
    TaskFactory(instance=run)
    lease = _lease(run)
    released = worker.release_task(lease.task.pk, token=lease.token, actor=ALICE)
    assert (released.status, released.failures) == ("pending", 0)
    assert _lease(run).attempt == 2


def test_lost_leases_are_claimable_at_once_and_fail_in_the_end(run: HopperInstance) -> None:
    task = TaskFactory(instance=run)
    for attempt in (1, 2):
        lease = _lease(run)
        assert lease.attempt == attempt
        _run_out(lease.task)
        assert expire_leases() == 1
    task.refresh_from_db()
    assert (task.status, task.error) == ("failed", "the lease of bob ran out")


def test_a_claim_takes_back_what_was_lost_before_it_looks_for_other_work(
    run: HopperInstance, later: Callable[[], None]
) -> None:
    urgent = TaskFactory(instance=run, priority="urgent")
    _run_out(_lease(run).task)
    TaskFactory(instance=run)
    later()
    again = _lease(run)
    assert (again.task.pk, again.attempt) == (urgent.pk, 2)


def test_claims_look_for_lost_leases_once_in_ten_seconds_and_whenever_they_find_nothing(
    run: HopperInstance,
) -> None:
    tasks = [TaskFactory(instance=run) for _ in range(2)]
    lost = _lease(run)
    _run_out(lost.task)
    assert _lease(run).task.pk == tasks[1].pk, "this soon nobody looks, while there is other work"
    assert _lease(run).task.pk == lost.task.pk, "whoever finds nothing looks"


def test_a_claim_under_a_key_takes_back_what_was_lost_after_its_commit(
    run: HopperInstance, later: Callable[[], None]
) -> None:
    TaskFactory(instance=run)
    lost = _lease(run)
    _run_out(lost.task)
    later()
    with transaction.atomic():
        assert not worker.claim_next(run.pk, worker="bob", actor=ALICE).leases
    assert _lease(run).attempt == 2


def test_a_given_task_is_taken_from_the_worker_whose_lease_ran_out(run: HopperInstance) -> None:
    task = TaskFactory(instance=run, max_attempts=9)
    lost = worker.claim_task(task.pk, worker="bob", actor=ALICE)
    with pytest.raises(Conflict, match="claimed by bob"):
        worker.claim_task(task.pk, worker="carol", actor=ALICE)
    assert worker.claim_task(task.pk, worker="bob", actor=ALICE).token == lost.token
    _run_out(task)
    anew = worker.claim_task(task.pk, worker="bob", actor=ALICE)
    assert (anew.attempt, anew.token != lost.token) == (2, True)
    assert anew.expires_at > timezone.now()
    _run_out(task)
    with transaction.atomic():
        # As under an Idempotency-Key.
        assert worker.claim_task(task.pk, worker="carol", actor=ALICE).attempt == 3


def test_a_given_task_gets_the_place_of_a_lease_that_ran_out(run: HopperInstance) -> None:
    for _ in range(2):
        _run_out(worker.claim_task(TaskFactory(instance=run).pk, worker="bob", actor=ALICE).task)
    task = TaskFactory(instance=run)
    assert worker.claim_task(task.pk, worker="carol", actor=ALICE).task.pk == task.pk


def test_a_worker_learns_of_a_cancellation_and_its_result_is_kept(run: HopperInstance) -> None:
    TaskFactory(instance=run)
    lease = _lease(run)
    cancel_task(lease.task.pk, reason="not needed", actor=ALICE)
    for report in ("heartbeat", "complete_task"):
        extra = {"result": {"late": True}} if report == "complete_task" else {}
        with pytest.raises(Gone):
            getattr(worker, report)(lease.task.pk, token=lease.token, actor=ALICE, **extra)
    assert Attempt.objects.get().artifact == {"late": True}


@pytest.mark.parametrize("verb", ["start_task", "complete_task", "fail_task"])
def test_a_task_that_nobody_claimed_cannot_be_reported_on(run: HopperInstance, verb: str) -> None:
    with pytest.raises(HopperError) as refusal:
        getattr(worker, verb)(TaskFactory(instance=run).pk, actor=ALICE)
    assert (refusal.value.status, refusal.value.extra["state"]) == (409, "pending")
