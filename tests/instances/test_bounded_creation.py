"""One request has limits: for predecessors, and for calls after its commit (R9, R23)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from delegation.delegator import decompose_task
from delegation.sweep import sweep
from hopper import database
from hopper.errors import Invalid
from instances.lifecycle.actions import terminate_instance
from instances.models import Task
from instances.tasks.creating import NewTask, create_task, create_tasks
from instances.tasks.decomposing import create_children
from instances.tasks.editing import update_task
from instances.tasks.ending import cancel_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.flows.rows import held_off

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sound"),
]


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


def test_calls_after_a_commit_end_after_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    top = InstanceFactory(name="top")
    monkeypatch.setattr(database, "AFTER_COMMIT_SECONDS", 0)
    create_tasks([NewTask("t", instance_id=top.pk) for _ in range(3)], actor=ALICE)
    assert Task.objects.filter(route_due=True, instance=top).count() == 3
    assert sweep().tasks_placed == 3


def test_a_decomposition_with_too_many_predecessors_names_the_limit() -> None:
    parent = TaskFactory(instance=InstanceFactory(scope="PROJECT"))
    keys = [f"k{n}" for n in range(200)]
    children = [NewTask(key, key=key, depends_on=keys[:place]) for place, key in enumerate(keys)]
    with pytest.raises(Invalid, match="at most 10,000 predecessors in one request"):
        create_children(parent.pk, children, terms={}, actor=ALICE)


def test_a_decomposition_with_too_many_targets_names_the_limit() -> None:
    project = InstanceFactory(scope="PROJECT")
    run = InstanceFactory(scope="ORCHESTRATION", parent=project)
    parent = TaskFactory(instance=project)
    children = [NewTask("c", instance_id=run.pk) for _ in range(101)]
    with pytest.raises(Invalid, match="at most 100 children"):
        decompose_task(parent.pk, children, actor=ALICE)
    assert Task.objects.count() == 1


def _statements(act: Callable[[], object]) -> int:
    seen: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        seen.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        act()
    return len(seen)


def test_a_request_for_many_tasks_costs_few_statements_a_task() -> None:
    run = InstanceFactory(
        scope="ORCHESTRATION",
        parent=InstanceFactory(scope="PROJECT"),
        config={"max_concurrent_tasks": 100},
    )
    first, parent = TaskFactory(instance=run), TaskFactory(instance=run)
    new = [NewTask("t", instance_id=run.pk, depends_on=[first.pk]) for _ in range(200)]
    plan = [NewTask("c", key=str(n), depends_on=[str(n - 1)][:n]) for n in range(200)]
    acts = {
        "create": lambda: create_tasks(new, actor=ALICE),
        "complete": lambda: set_status(first.pk, status="done", actor=ALICE),
        "decompose": lambda: create_children(parent.pk, plan, terms={}, actor=ALICE),
        "claim": lambda: claim_next(run.pk, worker="w", limit=50, actor=ALICE),
        "cancel": lambda: cancel_task(parent.pk, actor=ALICE),
    }
    spent = {name: _statements(act) for name, act in acts.items()}
    with held_off():
        # The placing of a hundred tasks follows.
        end = partial(terminate_instance, run.pk, cascade=True, actor=ALICE)
        spent["terminate"] = _statements(end)
    assert {name: number for name, number in spent.items() if number > 100} == {}


def _statements_at_the_end_of_a_chain(length: int) -> int:
    last = TaskFactory().pk
    for _ in range(length):
        last = create_task(NewTask("link", depends_on=[last]), actor=ALICE).task.pk
    return _statements(lambda: create_task(NewTask("end", depends_on=[last]), actor=ALICE))


def test_the_end_of_a_chain_costs_the_same_however_long_it_is() -> None:
    assert _statements_at_the_end_of_a_chain(3) == _statements_at_the_end_of_a_chain(30)


def _statements_of_an_edit(length: int) -> int:
    last = TaskFactory().pk
    for _ in range(length):
        last = create_task(NewTask("link", depends_on=[last]), actor=ALICE).task.pk
    awaited = TaskFactory()
    TaskFactory(depends_on=[awaited.pk])
    return _statements(lambda: update_task(awaited.pk, changes={"depends_on": [last]}, actor=ALICE))


def test_an_edit_of_predecessors_costs_the_same_however_long_their_chain_is() -> None:
    assert _statements_of_an_edit(3) == _statements_of_an_edit(30)
