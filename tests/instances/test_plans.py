"""Statements find their rows by an index, however many tasks have ended (PostgreSQL)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test import Client

from delegation.archive.batches import archive_step
from delegation.archive.retention import Retention
from delegation.models import TaskDelegation
from delegation.placing import place_task
from delegation.sweep import sweep
from hopper import database
from instances.models import SweepRecord
from instances.tasks.worker import claim_next, complete_task
from instances.tokens import create_token
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.plans import Plans, copies, plans

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]

OLD, READY = 30_000, 20_000
BIG = ("instances_task", "instances_attempt", "instances_event", "delegation_taskdelegation")
"""The tables that grow with the work that was done."""


@pytest.fixture(scope="module")
def run(django_db_setup: None, django_db_blocker: pytest.MonkeyPatch) -> Iterator[str]:
    """A run with thousands of ready tasks, and more that have ended; its id."""
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        top = InstanceFactory(name="plans-top")
        project = InstanceFactory(scope="PROJECT", parent=top, name="plans-project")
        made = InstanceFactory(
            scope="ORCHESTRATION",
            parent=project,
            name="plans-run",
            config={"max_concurrent_tasks": 100},
        )
        old = TaskFactory(instance=made).pk
        (lease,) = claim_next(made.pk, worker="w", actor=ALICE).leases
        complete_task(old, token=lease.token, actor=ALICE)
        ready = TaskFactory(instance=made).pk
        pk, place = "'old' || n", "source.id * 1000000 + n"
        copies("instances_task", OLD, f"id = '{old}'", id=pk, root_id=pk)
        copies("instances_task", READY, f"id = '{ready}'", id="'new' || n", root_id="'new' || n")
        copies("instances_attempt", OLD, f"task_id = '{old}'", task_id=pk)
        copies("instances_event", OLD, f"task_id = '{old}'", task_id=pk, position=place)
        hop = {"hop": 1, "epoch": 1, "delegated_at": database.now(), "status": "completed"}
        TaskDelegation.objects.create(id="del-0", task_id=old, target_instance=made, **hop)
        copies("delegation_taskdelegation", OLD, "id = 'del-0'", id="'del-' || n", task_id=pk)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        yield str(made.pk)
        with connection.cursor() as cursor:
            # No foreign key leads from the history to its objects.
            history = "instances_event, instances_attempt"
            cursor.execute(f"TRUNCATE instances_hopperinstance, instances_task, {history} CASCADE")


@pytest.mark.parametrize("wish", [{}, {"capabilities": ["x"]}, {"tags": ["x"]}, {"limit": 5}])
def test_a_claim_reads_no_big_table_whole(run: str, wish: dict[str, object]) -> None:
    with plans() as recorded:
        claim = claim_next(run, worker="w", actor=ALICE, **wish)  # type: ignore[arg-type]
    assert claim.leases or "tags" in wish
    assert recorded.reading_whole(*BIG) == []


def test_a_report_reads_no_big_table_whole(run: str) -> None:
    (lease,) = claim_next(run, worker="w", actor=ALICE).leases
    with plans() as recorded:
        complete_task(lease.task.pk, token=lease.token, result=1, actor=ALICE)
    assert recorded.reading_whole(*BIG) == []


def test_placing_reads_no_big_table_whole(run: str) -> None:
    top = InstanceFactory(name="placing-top")
    project = InstanceFactory(scope="PROJECT", parent=top, config={"capabilities": ["x"]})
    InstanceFactory(scope="ORCHESTRATION", parent=project, name="placing-run")
    with plans() as recorded:
        task = place_task(TaskFactory(instance=top, tags=["x"], complexity=5).pk)
    assert task.instance_id == "placing-run"
    assert recorded.reading_whole(*BIG) == []


LISTS = (
    "/tasks",
    "/tasks?status=pending",
    "/tasks?status=done",
    "/tasks?status=failed&status=blocked",
    "/tasks?open=true",
    "/tasks?open=false",
    "/tasks?search=work",
    "/tasks?under=plans-top",
    "/tasks?dead_letter=true",
    "/tasks?project=web",
    "/tasks?parent_id=old1",
    "/tasks?instance_id=plans-run&status=pending",
    "/tasks?ready=true",
    "/tasks?under=plans-top&status=blocked",
    "/tasks/old1",
    "/tasks/old1/events",
    "/tasks/old1/attempts",
    "/instances/plans-run",
    "/instances/plans-run/tasks",
    "/instances/plans-run/tasks?status=pending",
    "/instances/plans-run/events",
    "/events",
    "/events?task_id=old1",
    "/delegations",
    "/instances/plans-run/delegations",
)
PAGE = 500
"""The most rows of a page. To find them a list sorts no more."""


def rows_of(recorded: Plans) -> list[str]:
    """Return the statements that read a big table whole.

    One with a limit ends early. One that counts by groups, such as by status, may read all.
    """
    whole = recorded.reading_whole(*BIG)
    return [sql for sql in whole if " LIMIT " not in sql and " GROUP BY " not in sql]


@pytest.mark.parametrize("path", LISTS)
def test_a_list_reads_no_big_table_whole(run: str, path: str) -> None:
    client = Client(**{"hopper.local_operator": "ada", "HTTP_HOST": "localhost"})
    with plans() as recorded:
        answer = client.get(f"/api/v1{path}")
    assert answer.status_code == 200, answer.content
    assert rows_of(recorded) == []
    assert [sql for rows, sql in recorded.sorts if rows > PAGE] == []


@pytest.mark.parametrize(
    "path",
    ["/tasks", "/tasks?status=done", "/tasks?under=plans-small", "/events", "/delegations"],
)
def test_a_caller_that_sees_few_rows_reads_them_by_an_index(run: str, path: str) -> None:
    place = InstanceFactory(scope="PROJECT", name="plans-small")
    _, secret = create_token("few", role="viewer", instance_id=place.pk)
    client = Client(HTTP_AUTHORIZATION=f"Bearer {secret}", HTTP_HOST="localhost")
    with plans() as recorded:
        answer = client.get(f"/api/v1{path}")
    assert answer.status_code == 200, answer.content
    assert recorded.reading_whole(*BIG) == []
    orders = {"instances_task_pkey", "event_position", "delegation_taskdelegation_pkey"}
    read = [sql for index, sql in recorded.through if index in orders]
    assert [sql for sql in read if sql.startswith("SELECT")] == []


def test_a_sweep_reads_no_big_table_whole(run: str) -> None:
    with plans() as recorded:
        sweep()
    assert rows_of(recorded) == []


def test_a_step_of_the_archive_reads_no_big_table_whole(run: str, tmp_path: Path) -> None:
    now = database.now()
    SweepRecord.note_counted(10**12, now)
    retention = Retention(now)
    retention.before = {run: now + timedelta(days=1)}
    with plans() as recorded:
        step = archive_step(tmp_path, retention, "o", most=50)
    assert step is not None
    assert step.file is not None
    assert step.file.tasks == 50
    assert recorded.reading_whole(*BIG) == []
