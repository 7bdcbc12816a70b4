"""Many tasks at the same moment for a target that does not exist make it once (R25)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connections

from delegation.sweep import sweep
from instances.models import HopperInstance, Task
from instances.tasks.creating import NewTask, create_task
from tests.factories import ALICE, InstanceFactory
from tests.soundness import unsound

pytestmark = [pytest.mark.unmeasured, pytest.mark.django_db(transaction=True)]

AT_ONCE = 20


def all_at_once(make: Callable[[int], NewTask]) -> list[Task]:
    """Create twenty tasks, each in a thread of its own, and return them as they rest."""
    barrier = Barrier(AT_ONCE)

    def one(number: int) -> str:
        try:
            barrier.wait(timeout=30)
            return str(create_task(make(number), actor=ALICE).task.pk)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        ids = list(pool.map(one, range(AT_ONCE)))
    return list(Task.objects.filter(pk__in=ids))


def test_twenty_tasks_for_a_new_project_make_one_project() -> None:
    InstanceFactory(name="top")
    spelled = ("payments", "Payments")
    tasks = all_at_once(lambda n: NewTask(f"t{n}", instance_id="top", project=spelled[n % 2]))
    assert HopperInstance.objects.filter(created_by="router").count() == 1
    assert {task.instance_id for task in tasks} == {"payments"}
    assert sweep().total() == 0
    assert unsound() == []


def test_twenty_hard_tasks_at_a_project_without_a_run_make_no_more_than_they_need() -> None:
    InstanceFactory(scope="PROJECT", name="web")
    tasks = all_at_once(lambda n: NewTask(f"t{n}", instance_id="web", complexity=5))
    assert HopperInstance.objects.filter(created_by="router").count() == 1
    assert {task.instance_id for task in tasks} == {"web-run-001"}
    assert unsound() == []
