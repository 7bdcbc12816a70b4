"""The database counts the open tasks of each instance itself (R9, R22)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from django.db import connection, transaction

from delegation.facts import around
from instances.models import Task
from instances.tasks.ending import cancel_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next, complete_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from instances.models import HopperInstance

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run() -> HopperInstance:
    project = InstanceFactory(scope="PROJECT", name="project")
    run: HopperInstance = InstanceFactory(scope="ORCHESTRATION", parent=project, name="run")
    return run


def _counts(instance: HopperInstance) -> tuple[int, int]:
    """Return the open tasks at and below an instance, and the tasks that wait at it."""
    here = around(instance.pk)
    return here.unfinished[instance.pk], here.own.waiting


def test_a_decision_reads_the_open_and_the_waiting_tasks_of_this_moment(
    run: HopperInstance,
) -> None:
    tasks = [TaskFactory(instance=run) for _ in range(4)]
    assert _counts(run) == (4, 4)
    (lease,) = claim_next(run.pk, worker="bob", actor=ALICE).leases
    assert _counts(run) == (4, 3)
    complete_task(lease.task.pk, token=lease.token, actor=ALICE)
    others = [task.pk for task in tasks if task.pk != lease.task.pk]
    set_status(others[0], status="blocked", actor=ALICE)
    assert _counts(run) == (3, 2)
    cancel_task(others[1], actor=ALICE)
    assert _counts(run) == (2, 1)
    set_status(others[1], status="pending", force=True, actor=ALICE)
    assert _counts(run) == (3, 2)
    assert unsound() == []


def test_a_task_counts_at_its_holder_alone(run: HopperInstance) -> None:
    project = run.parent
    assert project is not None
    staying = TaskFactory(instance=project, executor_preference="human")
    going = TaskFactory(instance=project, complexity=5)
    assert (staying.instance_id, going.instance_id) == (project.pk, run.pk)
    assert _counts(project) == (2, 1)
    assert _counts(run) == (1, 1)


def test_statements_about_many_tasks_count_them_all(run: HopperInstance) -> None:
    project = run.parent
    assert project is not None
    first = TaskFactory(instance=run)
    ids = [f"copy-{n}" for n in range(5)]
    copies = [Task(**{**_values(first), "id": pk, "root_id": pk}) for pk in ids]
    with transaction.atomic():
        Task.objects.bulk_create(copies)
    assert _counts(run) == (6, 6)
    Task.objects.filter(pk__startswith="copy").update(instance=project)
    assert (_counts(run), _counts(project)) == ((1, 1), (6, 5))
    Task.objects.filter(pk__startswith="copy")._raw_delete("default")
    assert (_counts(run), _counts(project)) == ((1, 1), (1, 0))


def _values(task: Task) -> dict[str, object]:
    return {field.attname: getattr(task, field.attname) for field in Task._meta.concrete_fields}


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has one writer at a time")
def test_a_change_waits_for_no_other_change_of_the_same_count(run: HopperInstance) -> None:
    def create() -> None:
        TaskFactory(instance=run)
        connection.close()

    creating = threading.Thread(target=create)
    with transaction.atomic():
        TaskFactory(instance=run)
        creating.start()
        creating.join(timeout=60)
        assert not creating.is_alive()
    TaskFactory(instance=run)
    assert _counts(run) == (3, 3)
    assert unsound() == []
