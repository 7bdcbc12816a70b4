"""An instance moves while its tasks end: each end is told to the line at that moment (R17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from instances.models import Event, Task
from instances.tasks.worker import claim_next
from tests.concurrency.crowd import crowd
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]

WORKERS = 6
PLACES = ("to-a", "to-b")


def test_every_end_is_reported_to_the_ancestors_of_its_moment(
    child_environ: dict[str, str], storm: Callable[[int, int], int]
) -> None:
    rounds = storm(25, 300)
    top = InstanceFactory(name="top")
    first, _ = [InstanceFactory(scope="PROJECT", parent=top, name=name) for name in PLACES]
    many = {"max_concurrent_tasks": 10_000, "max_queued_tasks": 10_000}
    run = InstanceFactory(scope="ORCHESTRATION", parent=first, name="run", config=many)
    leases = []
    for _ in range(rounds * WORKERS):
        TaskFactory(instance=run)
    while len(leases) < rounds * WORKERS:
        leases += claim_next(run.pk, worker="bob", limit=100, actor=ALICE).leases
    lots = [(lease.task.pk, lease.token) for lease in leases]
    moves = [(run.pk, PLACES[(number + 1) % 2]) for number in range(rounds)]

    shares = [*(lots[n::WORKERS] for n in range(WORKERS)), moves]
    member = "tests.concurrency.members:complete_and_move"
    outcomes = crowd(child_environ, member, [(share,) for share in shares])

    assert {said for one in outcomes for said in one} == {"ok"}
    moved = Event.objects.filter(kind="instance.moved").order_by("at")
    history = list(moved.values_list("at", "data__parent_id"))
    for task in Task.objects.filter(status="done"):
        line = [place for at, place in history if task.finished_at and at < task.finished_at]
        told = Event.objects.filter(task=task, ending=True, instance_id__in=PLACES)
        assert [event.instance_id for event in told] == [line[-1] if line else "to-a"]
    assert unsound() == []
