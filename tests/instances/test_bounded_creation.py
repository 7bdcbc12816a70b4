"""One request has limits: for predecessors, and for calls after its commit (R9, R23)."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from delegation.sweep import sweep
from hopper.errors import Invalid
from instances.models import Task
from instances.tasks.creating import NewTask, create_task, create_tasks
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


def test_a_request_with_too_many_predecessors_names_the_limit() -> None:
    before = [TaskFactory().pk for _ in range(11)]
    many = [NewTask(f"t{n}", depends_on=before) for n in range(1000)]
    with pytest.raises(Invalid, match="at most 10,000 predecessors in one request"):
        create_tasks(many, actor=ALICE)
    assert Task.objects.count() == len(before)


def test_a_bulk_call_places_a_hundred_tasks_and_the_sweep_the_others() -> None:
    top = InstanceFactory(name="top")
    create_tasks([NewTask(f"t{n}", instance_id=top.pk) for n in range(120)], actor=ALICE)
    assert Task.objects.filter(route_due=True, instance=top).count() == 20
    assert sweep().tasks_placed == 20
    assert not Task.objects.filter(route_due=True).exists()


def _statements_at_the_end_of_a_chain(length: int) -> int:
    last = TaskFactory().pk
    for _ in range(length):
        last = create_task(NewTask("link", depends_on=[last]), actor=ALICE).task.pk
    with CaptureQueriesContext(connection) as seen:
        create_task(NewTask("end", depends_on=[last]), actor=ALICE)
    return len(seen)


def test_the_end_of_a_chain_costs_the_same_however_long_it_is() -> None:
    assert _statements_at_the_end_of_a_chain(3) == _statements_at_the_end_of_a_chain(30)
