"""Eight workers on one queue: nothing is claimed twice, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from delegation.services.audit import audit
from delegation.services.sweep import sweep
from hopper.errors import LeaseLost
from instances.models import Attempt, Task
from instances.services.queue import claim_next, complete_task
from tests.concurrency.crowd import crowd
from tests.factories import ALICE, InstanceFactory, TaskFactory

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


def test_eight_workers_claim_every_task_exactly_once(
    child_environ: dict[str, str], storm: Callable[[int, int], int]
) -> None:
    run = _queue(max_concurrent_tasks=6)
    tasks = {TaskFactory(instance=run).pk for _ in range(storm(200, 2000))}

    claimed = crowd(
        child_environ,
        "tests.concurrency.members:work_off",
        [(run.pk, f"worker-{n}") for n in range(8)],
    )

    flat = [task_id for member in claimed for task_id in member]
    assert len(flat) == len(set(flat)), "claimed twice"
    assert set(flat) == tasks, "lost"
    assert set(Task.objects.values_list("status", flat=True)) == {"done"}
    assert audit() == []


def test_the_task_of_a_killed_worker_is_claimed_again_and_its_late_report_refused(
    child_environ: dict[str, str],
) -> None:
    run = _queue()
    task = TaskFactory(instance=run)
    script = (
        "import django; django.setup()\n"
        "from tests.concurrency.members import claim_and_hang\n"
        f"claim_and_hang({run.pk!r}, 60)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], env=child_environ, cwd=os.getcwd())
    while not Task.objects.filter(status="claimed").exists():
        time.sleep(0.05)
        assert worker.poll() is None
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()

    assert claim_next(run.pk, worker="carol", actor=ALICE).leases == []
    # The lease's 30 seconds, passed at once.
    Task.objects.filter(pk=task.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert sweep().leases_expired == 1

    (lease,) = claim_next(run.pk, worker="carol", actor=ALICE).leases
    assert lease.attempt == 2
    late = Attempt.objects.get(task=task, number=1)
    with pytest.raises(LeaseLost):
        complete_task(task.pk, token=late.lease_token, result={"late": True}, actor=ALICE)
    late.refresh_from_db()
    assert (late.outcome, late.artifact) == ("expired", {"late": True})
    complete_task(task.pk, token=lease.token, result={"by": "carol"}, actor=ALICE)
    assert audit() == []
