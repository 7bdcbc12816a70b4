"""A claim costs the same however many tasks that it cannot grant stand in front (R22)."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.utils import timezone

from hopper.ids import new_id
from instances.models import Task
from instances.tasks.worker import claim_next, release_task
from tests.factories import ALICE, InstanceFactory

if TYPE_CHECKING:
    from instances.models import HopperInstance

pytestmark = [pytest.mark.slow, pytest.mark.unmeasured, pytest.mark.django_db(transaction=True)]

IN_FRONT = 20_000 if os.environ.get("HOPPER_STORM") == "1" else 8_000
MOST = 5.0
"""The allowed ratio of a claim's time behind so many tasks; reading past 20,000 takes 20 to 150."""
ROUNDS = 10
"""How often to measure, at most."""

Fields = dict[str, Any]

GPU: Fields = {"required_capabilities": ["gpu"]}
ALSO_SHELL: Fields = {"required_capabilities": ["web", "shell"]}
OTHER_TAG: Fields = {"tags": ["slow", "other"]}
OTHER_HANDS: Fields = {"tags": ["quick"], "required_capabilities": ["gpu"]}
OWN_HANDS: Fields = {"tags": ["slow"], "required_capabilities": ["web"]}


def _not_mine(n: int) -> Fields:
    return ({"required_capabilities": ["gpu", f"card-{n % 50}"]}, GPU)[n % 2]


def _not_so_tagged(n: int) -> Fields:
    return (OTHER_TAG, OTHER_HANDS, OWN_HANDS)[n % 3]


def _not_yet(n: int) -> Fields:
    return {"not_before": timezone.now() + timedelta(hours=2)}


def _queue(name: str, number: int, unfit: Callable[[int], Fields]) -> HopperInstance:
    """Return a queue of so many tasks that do not fit, and behind them a few that do."""
    run: HopperInstance = InstanceFactory(
        scope="ORCHESTRATION",
        name=name,
        parent=InstanceFactory(scope="PROJECT"),
        config={"max_queued_tasks": 2 * IN_FRONT},
    )
    fit: Fields = {"required_capabilities": ["web"], "tags": ["quick"]}
    rows = [_task(run, unfit(n)) for n in range(number)]
    # Of two kinds, both behind: a worker who fits both gets them in their order.
    rows += [_task(run, fit | extra) for _ in range(3) for extra in ({}, ALSO_SHELL)]
    Task.objects.bulk_create(rows, batch_size=2000)
    return run


def _task(run: HopperInstance, values: Fields) -> Task:
    now, pk = timezone.now(), new_id("task")
    task = Task(
        id=pk, root_id=pk, title="t", instance=run, origin=run, created_at=now, updated_at=now
    )
    for name, value in values.items():
        setattr(task, name, value)
    task.queue_from(now)
    return task


def _seconds(run: HopperInstance, wish: dict[str, Any]) -> float:
    """Return the least time of a claim in seconds.

    SQLite works in this process, whose CPU time other processes do not change.
    """
    clock = time.process_time if connection.vendor == "sqlite" else time.perf_counter
    spans = []
    for _ in range(9):
        began = clock()
        (lease,) = claim_next(run.pk, worker="bob", actor=ALICE, **wish).leases
        spans.append(clock() - began)
        release_task(lease.task.pk, token=lease.token, actor=ALICE)
    return min(spans)


@pytest.mark.parametrize(
    ("unfit", "wishes"),
    [
        (_not_mine, [{"capabilities": ["web"]}, {"capabilities": ["web", "shell"]}]),
        (_not_so_tagged, [{"tags": ["quick"], "capabilities": ["web"]}]),
        (_not_yet, [{}, {"tags": ["quick"]}]),
    ],
)
def test_a_claim_reads_no_task_that_cannot_be_granted(
    unfit: Callable[[int], Fields], wishes: list[dict[str, Any]]
) -> None:
    # As many kinds stand in front of both: what their number costs is not the question.
    few, many = _queue("few", 150, unfit), _queue("many", IN_FRONT, unfit)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE instances_task")
    for wish in wishes:
        assert _is_cheap(few, many, wish), wish


def _is_cheap(few: HopperInstance, many: HopperInstance, wish: dict[str, Any]) -> bool:
    """Compare the least times. Other programs make a time longer and never shorter."""
    shorter = longer = math.inf
    for _ in range(ROUNDS):
        shorter, longer = min(shorter, _seconds(few, wish)), min(longer, _seconds(many, wish))
        if longer / shorter < MOST:
            return True
    return False
