"""A claim grants the tasks that fit, in order, as many as there is room for (R21, R22)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from delegation.delegator import Delegator
from delegation.sweep import sweep
from hopper.errors import Conflict
from instances.models import Attempt, Event, InstanceLoad, Task
from instances.tasks import worker
from instances.tasks.leases import expire_leases
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

if TYPE_CHECKING:
    from instances.models import HopperInstance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]

HOUR = timedelta(hours=1)


@pytest.fixture
@kept
def run() -> HopperInstance:
    """A queue with room for five."""
    instance: HopperInstance = InstanceFactory(
        scope="ORCHESTRATION",
        parent=InstanceFactory(scope="PROJECT"),
        config={"max_concurrent_tasks": 5},
    )
    return instance


def _claim(run: HopperInstance, limit: int = 1, **wish: Any) -> list[worker.Lease]:
    return worker.claim_next(run.pk, worker="bob", limit=limit, actor=ALICE, **wish).leases


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"not_before": -HOUR},
        {"not_before": HOUR},
        {"retry_at": -HOUR},
        {"retry_at": HOUR},
        {"cap_key": "python"},
    ],
    ids=str,
)
def test_the_statement_claims_what_the_reading_calls_claimable(
    run: HopperInstance, state: dict[str, Any]
) -> None:
    task = TaskFactory(instance=run)
    now = timezone.now()
    values = {
        name: now + value if isinstance(value, timedelta) else value
        for name, value in state.items()
    }
    Task.objects.filter(pk=task.pk).update(**values)
    claimable = Task.objects.claimable(now).filter(pk=task.pk).exists()

    if claimable:
        assert worker.claim_task(task.pk, worker="bob", actor=ALICE).task.pk == task.pk
    else:
        assert _claim(run) == []
        with pytest.raises(Conflict, match="cannot be claimed"):
            worker.claim_task(task.pk, worker="bob", actor=ALICE)


def test_a_leased_task_is_not_granted_again(run: HopperInstance) -> None:
    tasks = [TaskFactory(instance=run).pk for _ in range(2)]
    assert [one.task.pk for _ in range(3) for one in _claim(run)] == tasks
    with pytest.raises(Conflict, match="claimed by bob"):
        worker.claim_task(tasks[0], worker="carol", actor=ALICE)


def test_an_offered_task_is_not_granted(run: HopperInstance) -> None:
    web = run.parent
    assert web is not None
    task = TaskFactory(instance=web)
    offer = Delegator(ALICE).delegate_task(task.pk, run.pk).delegation

    assert _claim(web) == []
    with pytest.raises(Conflict, match="offered to"):
        worker.claim_task(task.pk, worker="bob", actor=ALICE)

    Delegator(ALICE).reject_delegation(offer.pk, reason="busy")
    assert [one.task.pk for one in _claim(web)] == [task.pk]


def test_a_task_still_being_placed_is_not_granted(run: HopperInstance) -> None:
    web = run.parent
    assert web is not None
    task = TaskFactory(instance=web)
    # As a crash between creating and placing leaves it.
    Task.objects.filter(pk=task.pk).update(route_due=True)

    assert _claim(web) == []
    with pytest.raises(Conflict, match="cannot be claimed"):
        worker.claim_task(task.pk, worker="bob", actor=ALICE)

    sweep()
    assert [one.task.pk for one in _claim(web)] == [task.pk]


def test_tasks_that_wait_for_others_are_not_granted(run: HopperInstance) -> None:
    first = TaskFactory(instance=run)
    second = TaskFactory(instance=run, depends_on=[first.pk])

    (lease,) = _claim(run, 5)
    assert lease.task.pk == first.pk
    worker.complete_task(first.pk, token=lease.token, actor=ALICE)
    assert [one.task.pk for one in _claim(run, 5)] == [second.pk]


def test_a_batch_writes_an_attempt_and_an_event_for_each_and_counts_them_once(
    run: HopperInstance,
) -> None:
    tasks = [TaskFactory(instance=run).pk for _ in range(8)]

    leases = _claim(run, 100)

    assert [lease.task.pk for lease in leases] == tasks[:5]
    assert InstanceLoad.objects.get(pk=run.pk).running == 5
    assert Attempt.objects.filter(outcome__isnull=True).count() == 5
    assert Event.objects.filter(kind="task.claimed", data={"worker": "bob"}).count() == 5
    again = worker.claim_next(run.pk, worker="bob", limit=100, actor=ALICE)
    assert again.waiting is not None
    assert again.waiting["code"] == "AtCapacity"


def test_a_worker_who_can_do_several_kinds_gets_them_in_the_order_of_the_queue(
    run: HopperInstance,
) -> None:
    kinds: list[list[str]] = [["a"], [], ["b"], ["z"], ["a", "b"], ["a"], ["z", "a"]]
    tasks = [TaskFactory(instance=run, required_capabilities=kind).pk for kind in kinds]

    fitting = _claim(run, 5, capabilities=["a", "b", "c"])

    assert [lease.task.pk for lease in fitting] == [tasks[n] for n in (0, 1, 2, 4, 5)]


def test_tags_and_capabilities_narrow_together(run: HopperInstance) -> None:
    TaskFactory(instance=run, tags=["slow"], required_capabilities=["a"])
    wanted = TaskFactory(instance=run, tags=["quick", "x"], required_capabilities=["a"])
    TaskFactory(instance=run, tags=["quick"], required_capabilities=["z"])
    TaskFactory(instance=run, tags=["quick"])

    (lease,) = _claim(run, capabilities=["a"], tags=["quick", "other"])

    assert lease.task.pk == wanted.pk


HAN = [chr(0x4E00 + n * 7919 % 0x5000) for n in range(450)]
"""Signs of three bytes each, in no order that could be packed."""


@pytest.mark.parametrize(
    "words",
    [
        [f"{n:03}" * 30 for n in range(40)],
        ["".join(HAN[n : n + 45]) for n in range(0, 450, 45)],
        ["two\nlines", "a\fpage"],
        ["\u00fcml\u00e4ut"],
    ],
)
def test_words_that_make_no_key_are_compared_one_by_one(
    run: HopperInstance, words: list[str]
) -> None:
    task = TaskFactory(instance=run, required_capabilities=words, tags=words)
    TaskFactory(instance=run, required_capabilities=["z"], tags=["z"])

    assert _claim(run, capabilities=[*words[1:], "y"], tags=["y"]) == []
    (lease,) = _claim(run, capabilities=[*words, "y"], tags=[words[-1]])

    assert lease.task.pk == task.pk


def test_the_next_claim_carries_the_checkpoint_of_the_lost_attempt(run: HopperInstance) -> None:
    task = TaskFactory(instance=run)
    (first,) = _claim(run)
    assert first.checkpoint is None
    worker.heartbeat(task.pk, token=first.token, checkpoint={"step": 3}, actor=ALICE)
    _lose(task)
    (second,) = _claim(run)
    assert second.checkpoint == {"step": 3}
    _lose(task)

    third = worker.claim_task(task.pk, worker="bob", actor=ALICE)

    assert third.checkpoint == {"step": 3}
    assert worker.claim_task(task.pk, worker="bob", actor=ALICE) == third


def _lose(task: Task) -> None:
    past: datetime = timezone.now() - HOUR
    Task.objects.filter(pk=task.pk).update(lease_expires_at=past)
    assert expire_leases() == 1
