"""Servers whose clocks differ: the database's clock decides, leases hold, times stay ordered."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
import time_machine
from django.utils import timezone

from delegation.delegator import Delegator
from hopper.database import now
from instances.models import Attempt, Task
from instances.tasks.leases import expire_leases
from instances.tasks.worker import claim_next, claim_task, complete_task, fail_task, heartbeat
from tests.concurrency.crowd import crowd
from tests.concurrency.members import BOB
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from instances.models import HopperInstance

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]

HOUR = 3600
OFFSETS = (0, 5, -5, HOUR, -HOUR)


@pytest.fixture
def run() -> HopperInstance:
    """A queue with room for all."""
    made: HopperInstance = InstanceFactory(
        scope="ORCHESTRATION",
        parent=InstanceFactory(scope="PROJECT", name="project"),
        name="run",
        config={"max_concurrent_tasks": 100},
    )
    return made


@pytest.mark.postgres
def test_leases_hold_between_servers_and_a_sweeper_of_other_hours(
    child_environ: dict[str, str], storm: Callable[[int, int], int], run: HopperInstance
) -> None:
    rounds = storm(6, 60)
    for _ in range(rounds * len(OFFSETS)):
        TaskFactory(instance=run, max_attempts=1)
    calls = [(offset, rounds) for offset in OFFSETS] + [(HOUR, 0), (-HOUR, 0)]

    crowd(child_environ, "tests.concurrency.test_clocks:serve_or_sweep", calls, anew=True)

    assert set(Task.objects.values_list("status", flat=True)) == {"done"}
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"completed"}
    assert unsound() == []


def serve_or_sweep(offset: int, rounds: int) -> None:
    """Be a server (or, without rounds, a sweeper) whose clock is off by so many seconds."""
    with time_machine.travel(timezone.now() + timedelta(seconds=offset)):
        if not rounds:
            until = time.monotonic() + 3
            while time.monotonic() < until:
                expire_leases()
                time.sleep(0.02)
        for number in range(rounds):
            if number == rounds // 2:
                with time_machine.travel(timezone.now() - timedelta(hours=1)):
                    _work()
            else:
                _work()


def _work() -> None:
    """Claim a task and complete it; between them the lease only ever ends later."""
    (lease,) = claim_next("run", worker=f"w-{random.random()}", lease_seconds=30, actor=BOB).leases
    for _ in range(3):
        ends = Task.objects.values_list("lease_expires_at", flat=True).get(pk=lease.task.pk)
        time.sleep(random.uniform(0, 0.05))
        assert heartbeat(lease.task.pk, token=lease.token, actor=BOB).lease_expires_at >= ends
    complete_task(lease.task.pk, token=lease.token, result=1, actor=BOB)


@pytest.mark.parametrize("back", [5, HOUR])
@pytest.mark.usefixtures("sound")
def test_a_heartbeat_after_the_clock_stepped_back_shortens_no_lease(
    run: HopperInstance, back: int
) -> None:
    begin = timezone.now() + timedelta(days=1)
    with time_machine.travel(begin) as clock:
        TaskFactory(instance=run)
        (lease,) = claim_next("run", worker="bob", lease_seconds=60, actor=ALICE).leases
        ends = Task.objects.get(pk=lease.task.pk).lease_expires_at
        clock.shift(timedelta(seconds=-back))
        beaten = heartbeat(lease.task.pk, token=lease.token, actor=ALICE)
        assert beaten.lease_expires_at == ends
        assert Task.objects.get(pk=lease.task.pk).lease_expires_at == ends
        assert expire_leases() == 0
        clock.move_to(begin + timedelta(seconds=50))
        complete_task(lease.task.pk, token=lease.token, actor=ALICE)


@pytest.mark.usefixtures("sound")
def test_times_stay_ordered_where_the_clock_steps_back_again_and_again(
    run: HopperInstance,
) -> None:
    with time_machine.travel(timezone.now() + timedelta(days=1)) as clock:

        def step_back() -> None:
            clock.shift(timedelta(minutes=-10))

        task = TaskFactory(instance=run.parent)
        step_back()
        offer = Delegator(ALICE).delegate_task(task.pk, "run").delegation
        step_back()
        Delegator(ALICE).accept_delegation(offer.pk)
        step_back()
        lease = claim_task(task.pk, worker="bob", actor=ALICE)
        step_back()
        complete_task(task.pk, token=lease.token, actor=ALICE)
        step_back()
        assert unsound() == []


@pytest.mark.postgres
def test_back_off_is_measured_by_the_database(
    child_environ: dict[str, str], run: HopperInstance
) -> None:
    for _ in OFFSETS:
        TaskFactory(instance=run)
    for lease in claim_next("run", worker="bob", limit=len(OFFSETS), actor=ALICE).leases:
        fail_task(lease.task.pk, token=lease.token, error="once", actor=ALICE)
    Task.objects.update(retry_at=now() + timedelta(minutes=10))
    claiming = partial(crowd, child_environ, "tests.concurrency.test_clocks:claims", anew=True)
    assert claiming([(OFFSETS,)]) == [[0] * len(OFFSETS)]
    Task.objects.update(retry_at=now())
    assert claiming([(OFFSETS,)]) == [[1] * len(OFFSETS)]


def claims(offsets: Sequence[int]) -> list[int]:
    """Claim with clocks that are off; return how many leases came each time."""
    found = []
    for offset in offsets:
        with time_machine.travel(timezone.now() + timedelta(seconds=offset)):
            found.append(len(claim_next("run", worker="w", actor=BOB).leases))
    return found


def test_the_present_is_read_after_the_last_lock() -> None:
    earlier, later = now(), now()
    assert earlier <= later
    assert earlier.tzinfo is not None
    assert abs(earlier - timezone.now()) < timedelta(minutes=1)
