"""Nobody leases where a stop has been answered, whenever the claim was judged (R3, R5)."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, transaction

from hopper.database import lock_row
from hopper.errors import Conflict
from instances.lifecycle import actions as lifecycle
from instances.lifecycle.actions import stop_instance
from instances.models import HopperInstance, Task
from instances.tasks import worker
from instances.tasks.worker import claim_next, claim_task, complete_task
from tests.concurrency.waiting import until_it_waits
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db(transaction=True)


def _places() -> tuple[HopperInstance, HopperInstance]:
    web = InstanceFactory(scope="PROJECT")
    return web, InstanceFactory(scope="ORCHESTRATION", parent=web)


def _beside(act: Callable[[], Any]) -> threading.Thread:
    """Do it in another thread, on a connection of its own."""

    def run() -> None:
        try:
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_a_claim_that_was_judged_before_a_stop_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, above: bool, given: bool
) -> None:
    web, run = _places()
    task = TaskFactory(instance=run)
    judge = worker._require_claiming

    def slow(instance_id: str) -> Any:
        judged = judge(instance_id)
        monkeypatch.setattr(worker, "_require_claiming", judge)
        stopped = stop_instance((web if above else run).pk, force=True, actor=ALICE)
        assert stopped.status == "stopped"
        return judged

    monkeypatch.setattr(worker, "_require_claiming", slow)
    claim = partial(claim_task, task.pk) if given else partial(claim_next, run.pk)
    with pytest.raises(Conflict) as refusal:
        claim(worker="bob", actor=ALICE)
    assert refusal.value.code == "not_claiming"
    assert not Task.objects.leased().exists()
    assert unsound() == []


@pytest.mark.postgres
def test_a_claim_that_waits_inside_its_statement_sees_the_stop() -> None:
    web, run = _places()
    task = TaskFactory(instance=run)
    outcome: list[object] = []

    def claim() -> None:
        try:
            outcome.append(claim_task(task.pk, worker="bob", actor=ALICE))
        except Conflict as refusal:
            outcome.append(refusal.code)

    with transaction.atomic():
        lock_row(Task, task.pk)
        claiming = _beside(claim)
        until_it_waits(claiming)
        _beside(lambda: stop_instance(web.pk, force=True, actor=ALICE)).join(timeout=60)
        assert HopperInstance.objects.get(pk=web.pk).status == "stopped"
    claiming.join(timeout=60)
    assert outcome == ["not_claiming"]
    assert not Task.objects.leased().exists()
    assert unsound() == []


@pytest.mark.postgres
def test_a_lease_granted_during_a_stop_is_taken_back_after_its_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, run = _places()
    family, early = TaskFactory(), TaskFactory(instance=run)
    late = TaskFactory(parent_id=family.pk, instance=run)
    sibling = TaskFactory(parent_id=family.pk, instance=run)
    claim_task(early.pk, worker="bob", actor=ALICE)
    barred = lifecycle.change_instance

    def after_a_claim(*args: Any, **stop: Any) -> None:
        # The leased ones have been read, the counter is not held yet.
        _beside(lambda: claim_task(late.pk, worker="eve", actor=ALICE)).join(timeout=60)
        barred(*args, **stop)

    monkeypatch.setattr(lifecycle, "change_instance", after_a_claim)
    with transaction.atomic():
        # As under an Idempotency-Key.
        assert stop_instance(run.pk, force=True, actor=ALICE).status == "stopping"
        with_the_counter_held = _beside(lambda: _look_at(sibling))
        with_the_counter_held.join(timeout=60)
        assert not with_the_counter_held.is_alive()
    assert HopperInstance.objects.get(pk=run.pk).status == "stopped"
    assert not Task.objects.leased().exists()
    assert unsound() == []


def _look_at(task: Task) -> None:
    with transaction.atomic():
        lock_row(Task, task.root_id)
        lock_row(Task, task.pk)


@pytest.mark.postgres
def test_a_report_while_a_stop_holds_the_counter_lets_the_stop_end() -> None:
    _, run = _places()
    lease = claim_task(TaskFactory(instance=run).pk, worker="bob", actor=ALICE)
    with transaction.atomic():
        assert stop_instance(run.pk, actor=ALICE).status == "stopping"
        report = _beside(lambda: complete_task(lease.task.pk, token=lease.token, actor=ALICE))
        until_it_waits(report)
        assert report.is_alive()
    report.join(timeout=60)
    assert HopperInstance.objects.get(pk=run.pk).status == "stopped"
    assert unsound() == []
