"""A status forced on a task that ends at this very moment (R6, R18, R19)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING

import pytest
from django.db import connections, transaction

from hopper.errors import Conflict
from instances.lifecycle.actions import terminate_instance
from instances.models import Task
from instances.tasks import status_by_hand
from instances.tasks.changes import lock_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import complete_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from concurrent.futures import Future

    from instances.models import HopperInstance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


@pytest.fixture
def run() -> HopperInstance:
    return InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))


def _finish(task_id: str) -> None:
    try:
        complete_task(task_id, actor=ALICE)
    finally:
        connections.close_all()


def test_a_task_that_ends_while_it_is_forced_open_is_not_left_at_an_instance_that_ends(
    run: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TaskFactory(instance=run)
    set_status(task.pk, status="in_progress", owner="al", actor=ALICE)
    ended, opened = Event(), Event()

    def end_the_run() -> None:
        try:
            # Refused where the task was opened first.
            with suppress(Conflict), transaction.atomic():
                terminate_instance(run.pk, actor=ALICE)
                ended.set()
                opened.wait(60)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as beside:
        ending: list[Future[None]] = []

        def lock_late(task_id: str) -> Task:
            beside.submit(_finish, task_id).result()
            ending.append(beside.submit(end_the_run))
            ended.wait(0.5)
            return lock_task(task_id)

        monkeypatch.setattr(status_by_hand, "lock_ending_task", lock_late)
        set_status(task.pk, status="pending", force=True, actor=ALICE)
        opened.set()
        ending[0].result()
    task.refresh_from_db()
    run.refresh_from_db()
    assert (task.status, task.epoch, task.instance_id) == ("pending", 2, run.pk)
    assert run.status == "running"
    assert unsound() == []


def test_a_task_that_ends_while_it_is_cancelled_by_force_is_cancelled_all_the_same(
    run: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TaskFactory(instance=run)
    set_status(task.pk, status="in_progress", owner="al", actor=ALICE)

    def lock_late(task_id: str) -> Task:
        with ThreadPoolExecutor(1) as beside:
            beside.submit(_finish, task_id).result()
        return lock_task(task_id)

    monkeypatch.setattr(status_by_hand, "lock_ending_task", lock_late)
    set_status(task.pk, status="cancelled", force=True, actor=ALICE)
    task.refresh_from_db()
    assert (task.status, task.epoch) == ("cancelled", 2)
    assert unsound() == []
