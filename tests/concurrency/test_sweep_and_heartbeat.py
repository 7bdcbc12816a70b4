"""A lease has run out; heartbeat and sweepers come at once, and one of them has its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from instances.models import InstanceLoad, Task
from instances.tasks.worker import claim_next
from tests.concurrency.crowd import crowd
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance
    from instances.tasks.worker import Lease

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]


def _leased(number: int) -> tuple[HopperInstance, list[Lease]]:
    """Return an instance and the leases of all its tasks, `number` of them."""
    run = InstanceFactory(
        scope="ORCHESTRATION",
        parent=InstanceFactory(scope="PROJECT"),
        config={"max_concurrent_tasks": number, "max_queued_tasks": number},
    )
    for _ in range(number):
        TaskFactory(instance=run)
    leases: list[Lease] = []
    while len(leases) < number:
        leases += claim_next(run.pk, worker="bob", limit=100, actor=ALICE).leases
    return run, leases


def test_a_heartbeat_that_was_answered_keeps_its_lease_and_one_refused_has_lost_it_for_good(
    child_environ: dict[str, str], storm: Callable[[int, int], int]
) -> None:
    rounds = storm(50, 1000)
    run, leases = _leased(rounds)
    beats, *swept = crowd(
        child_environ,
        "tests.concurrency.members:beat_or_sweep",
        [
            ("beat", [(lease.task.pk, lease.token) for lease in leases], 1),
            ("sweep", rounds, 2),
            ("sweep", rounds, 3),
        ],
    )

    now = timezone.now()
    for step, (lease, beat, *took) in enumerate(zip(leases, beats, *swept, strict=True)):
        task = Task.objects.get(pk=lease.task.pk)
        attempt = task.attempts.get()
        if beat == "ok":
            assert sum(took) == 0
            assert (task.status, task.lease_token) == ("claimed", lease.token)
            assert task.lease_expires_at is not None
            assert task.lease_expires_at > now
            assert (attempt.outcome, attempt.checkpoint) == (None, {"step": step})
        else:
            assert beat == "lease_lost"
            assert sum(took) == 1
            assert (task.status, task.lease_token) == ("pending", None)
            assert (attempt.outcome, attempt.checkpoint) == ("expired", None)
    # On a busy machine one side may win all of a few rounds.
    assert rounds < 1000 or set(beats) == {"ok", "lease_lost"}, "the race was none"
    assert InstanceLoad.objects.get(pk=run.pk).running == beats.count("ok")
    assert unsound() == []
