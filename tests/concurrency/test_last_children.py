"""Two last children finish at once: their parent ends, and once, because they meet at its root."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from instances.models import Event, Task
from instances.tasks.worker import claim_task
from tests.concurrency.crowd import crowd
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance

pytestmark = [pytest.mark.postgres, pytest.mark.storm, pytest.mark.django_db(transaction=True)]

Lease = tuple[str, str]


@pytest.fixture
def run() -> HopperInstance:
    """A queue with room for all."""
    room = {"max_concurrent_tasks": 10_000, "max_queued_tasks": 10_000}
    instance: HopperInstance = InstanceFactory(
        scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"), config=room
    )
    return instance


def _families(run: HopperInstance, number: int) -> tuple[list[str], list[Lease], list[Lease]]:
    """Return parents, and the leases of their first and of their second children."""
    parents, first, second = [], [], []
    for _ in range(number):
        parents.append(TaskFactory(instance=run).pk)
        for leases in (first, second):
            child = TaskFactory(parent_id=parents[-1])
            lease = claim_task(child.pk, worker="bob", actor=ALICE)
            leases.append((child.pk, lease.token))
    return parents, first, second


def _finish_at_once(
    environ: dict[str, str], run: HopperInstance, rounds: int, *, naive: bool
) -> list[str]:
    """Let two processes finish the two children of every parent; return the parents."""
    parents, first, second = _families(run, rounds)
    outcomes = crowd(
        environ,
        "tests.concurrency.members:finish_siblings",
        [(first, naive), (second, naive)],
    )
    assert {code for member in outcomes for code in member} == {"ok"}
    return parents


def _assert_each_ended_once(parents: list[str], run: HopperInstance) -> None:
    found = Task.objects.in_bulk(parents)
    stuck = [pk for pk in parents if found[pk].status != "done"]
    assert stuck == [], f"{len(stuck)} of {len(parents)} parents wait for ever"
    endings = Event.objects.filter(task__in=parents, ending=True, instance=run)
    assert set(Counter(endings.values_list("task_id", flat=True)).values()) == {1}
    assert {found[pk].result["done"] for pk in parents} == {2}


def test_the_parent_is_done_exactly_once(
    child_environ: dict[str, str], storm: Callable[[int, int], int], run: HopperInstance
) -> None:
    parents = _finish_at_once(child_environ, run, storm(60, 1000), naive=False)
    _assert_each_ended_once(parents, run)
    assert unsound() == []


def test_children_that_do_not_meet_leave_parents_behind(
    child_environ: dict[str, str], storm: Callable[[int, int], int], run: HopperInstance
) -> None:
    parents = _finish_at_once(child_environ, run, storm(60, 1000), naive=True)
    with pytest.raises(AssertionError, match="parents wait for ever"):
        _assert_each_ended_once(parents, run)
    assert {finding.invariant for finding in unsound()} == {"I13"}
