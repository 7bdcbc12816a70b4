"""Eight workers on one queue: nothing claimed twice, nothing lost, and never more than fit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from django.db import connection, transaction

from instances.models import InstanceLoad, Task
from instances.tasks.worker import Claim, claim_next
from tests.concurrency.crowd import crowd
from tests.concurrency.waiting import until_it_waits
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]


def _queue(**config: int) -> HopperInstance:
    project = InstanceFactory(scope="PROJECT", name="project")
    instance: HopperInstance = InstanceFactory(
        scope="ORCHESTRATION", parent=project, name="run", config=config
    )
    return instance


# A claim by tags takes the general way, any other one the database's function.
@pytest.mark.parametrize("tags", [None, ["web"]], ids=["any", "by tags"])
def test_eight_workers_claim_every_task_exactly_once(
    child_environ: dict[str, str], storm: Callable[[int, int], int], tags: list[str] | None
) -> None:
    run = _queue(max_concurrent_tasks=6)
    tasks = {TaskFactory(instance=run, tags=["web"]).pk for _ in range(storm(100, 2000))}

    claimed = crowd(
        child_environ,
        "tests.concurrency.members:work_off",
        [(run.pk, f"worker-{n}", tags) for n in range(8)],
    )

    flat = [task_id for member in claimed for task_id in member]
    assert len(flat) == len(set(flat)), "claimed twice"
    assert set(flat) == tasks, "lost"
    assert set(Task.objects.values_list("status", flat=True)) == {"done"}
    assert unsound() == []


def _deadlocks() -> int:
    """Return how many deadlocks this database has resolved; SQLite has one writer, and so none."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def test_no_moment_sees_more_leases_than_there_is_room_for(
    child_environ: dict[str, str], storm: Callable[[int, int], int]
) -> None:
    limit = 5
    run = _queue(max_concurrent_tasks=limit)
    for _ in range(storm(15, 150)):
        # Families beside single tasks: their ends reach further, and lock more.
        parent = TaskFactory(instance=run)
        for _ in range(4):
            TaskFactory(parent_id=parent.pk)
        for _ in range(6):
            TaskFactory(instance=run)
    before = _deadlocks()

    seen = crowd(
        child_environ,
        "tests.concurrency.members:crowd_in",
        [(run.pk, f"worker-{n}", n) for n in range(8)],
    )

    assert max(peak for peak, _ in seen) == limit, "too many, or no crowd"
    assert sum(got for _, got in seen) >= Task.objects.filter(decomposed=False).count()
    assert not Task.objects.open().exists()
    assert InstanceLoad.objects.get(pk=run.pk).running == 0
    assert _deadlocks() == before
    assert unsound() == []


@pytest.mark.postgres
def test_a_claim_that_has_waited_for_the_last_place_gets_nothing() -> None:
    run = _queue(max_concurrent_tasks=1)
    for _ in range(2):
        TaskFactory(instance=run)
    late: list[Claim] = []

    def claim() -> None:
        late.append(claim_next(run.pk, worker="ben", actor=ALICE))
        connection.close()

    claiming = threading.Thread(target=claim)
    with transaction.atomic():
        assert len(claim_next(run.pk, worker="ann", actor=ALICE).leases) == 1
        claiming.start()
        until_it_waits(claiming)
    claiming.join(timeout=60)
    assert late == [Claim([], {"code": "AtCapacity", "detail": "1 of 1 slots are taken"})]
    assert unsound() == []
