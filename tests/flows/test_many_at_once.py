"""Many tasks change as each alone would: every row, and every task's events in their order."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from delegation import completion, instance_changes
from delegation.sweep import sweep
from hopper import database
from hopper.database.functions import Function
from instances.lifecycle.actions import stop_instance, terminate_instance
from instances.lifecycle.closing import close_instance
from instances.models import Event, HopperInstance, Task
from instances.tasks import creating, decomposing, dependencies, ending, leases
from instances.tasks.creating import NewTask, create_task, create_tasks
from instances.tasks.decomposing import create_children
from instances.tasks.ending import cancel_task
from instances.tasks.status_by_hand import set_status
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.flows.forest import Forest
from tests.flows.rows import Copy, everything, held_off

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sound"),
]

SEEDS = range(40 if os.environ.get("HOPPER_STORM") else 1)
GATHERING = (completion, instance_changes, ending, leases, dependencies)
"""The modules that let the changes of many tasks be written together."""

Outcome = tuple[dict[Any, Any], dict[str, list[Any]]]


@contextmanager
def _each_alone() -> Iterator[None]:
    yield


def outcome(act: Callable[[], Any], *, follow: bool = True) -> Outcome:
    """Carry out an action; return all rows, and the events of each task in their order."""
    with held_off() as following:
        act()
    for call in following if follow else ():
        call()
    events: dict[str, list[Any]] = {}
    for row in Event.objects.order_by("id").values():
        del row["id"], row["position"]
        events.setdefault(str(row["task_id"] or row["instance_id"]), []).append(row)
    # Rows that the database numbers have no other name.
    named = {key: row for key, row in everything().items() if not key[1].isdigit()}
    return named, events


def compare(
    monkeypatch: pytest.MonkeyPatch, before: Copy, act: Callable[[], Any], *, follow: bool = True
) -> None:
    """Carry out an action in both ways on the same rows, at the same moment."""
    moment = database.now()
    monkeypatch.setattr(database, "now", lambda: moment)
    with pytest.MonkeyPatch.context() as alone:
        for module in GATHERING:
            alone.setattr(module, "gathered", _each_alone)
        rows, events = outcome(act, follow=follow)
    before.put_back()
    together, its_events = outcome(act, follow=follow)
    assert together == rows
    assert its_events == events


def _terminate(forest: Forest) -> Callable[[], Any]:
    return lambda: terminate_instance("p0", cascade=True, actor=ALICE)


def _stop(forest: Forest) -> Callable[[], Any]:
    return lambda: stop_instance("p0", force=True, evacuate=True, actor=ALICE)


def _close(forest: Forest) -> Callable[[], Any]:
    ephemeral = HopperInstance.objects.live().filter(instance_type="ephemeral")
    run = forest.die.choice(sorted(ephemeral.values_list("pk", flat=True)))
    return lambda: close_instance(run, force=True, actor=ALICE)


def _cancel(forest: Forest) -> Callable[[], Any]:
    for _ in range(8):
        forest.decomposed()
    task = Task.objects.open().filter(decomposed=True, parent=None).earliest("pk")
    return lambda: cancel_task(task.pk, actor=ALICE)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [_terminate, _stop, _close, _cancel])
def test_tasks_that_end_together_end_as_each_alone(
    kind: Callable[[Forest], Callable[[], Any]], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    forest = Forest(random.Random(seed), projects=2, runs=2)
    forest.grow(50)
    act = kind(forest)
    # Placing makes rows with ids of their own.
    compare(monkeypatch, Copy(), act, follow=False)
    sweep()


def test_dependants_change_together_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    first, other = TaskFactory(instance=run), TaskFactory(instance=run)
    needs = ([first.pk], [first.pk, other.pk], [other.pk])
    for depends_on in needs:
        TaskFactory(instance=run, depends_on=depends_on)
        TaskFactory(instance=run, depends_on=depends_on, dependency_rule="any_terminal")
        by_hand = TaskFactory(instance=run, depends_on=depends_on)
        set_status(by_hand.pk, status="in_progress", actor=ALICE)
    before = Copy()
    for end in ("done", "cancelled"):
        act = _ending(first.pk, end)
        compare(monkeypatch, before, act)
        before.put_back()


def _ending(task_id: str, status: str) -> Callable[[], Any]:
    return lambda: set_status(task_id, status=status, actor=ALICE)


def _numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the ids of new tasks be the same in both ways."""
    numbers = count()
    for module in (creating, decomposing):
        monkeypatch.setattr(module, "new_id", lambda kind: f"{kind}-{next(numbers):05}")


def test_tasks_are_created_together_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    web = InstanceFactory(scope="PROJECT")
    run, other = (InstanceFactory(scope="ORCHESTRATION", parent=web) for _ in range(2))
    parent, first, lost = (TaskFactory(instance=run) for _ in range(3))
    set_status(lost.pk, status="cancelled", actor=ALICE)
    kept = TaskFactory(instance=run, unique_key="kept")
    many = [
        NewTask("plain", instance_id=run.pk),
        NewTask("nowhere"),
        NewTask("child", parent_id=parent.pk, depends_on=[first.pk]),
        NewTask("after", instance_id=run.pk, depends_on=[first.pk, first.pk, kept.pk]),
        NewTask("lost", instance_id=run.pk, depends_on=[lost.pk]),
        NewTask("ready", instance_id=run.pk, depends_on=[lost.pk], dependency_rule="any_terminal"),
        NewTask("kept", instance_id=run.pk, unique_key="kept"),
        NewTask("new", instance_id=run.pk, unique_key="new"),
        NewTask("new", instance_id=run.pk, unique_key="new"),
        NewTask("other origin", instance_id=other.pk, unique_key="new"),
        NewTask("child", parent_id=parent.pk),
    ]
    moment = database.now()
    monkeypatch.setattr(database, "now", lambda: moment)
    # A function of the database reads the clock itself.
    monkeypatch.setattr(Function, "is_kept", lambda function: False)
    before = Copy()
    _numbered(monkeypatch)
    alone = outcome(lambda: [create_task(new, actor=ALICE) for new in many])
    before.put_back()
    _numbered(monkeypatch)
    together = outcome(lambda: create_tasks(many, actor=ALICE))
    assert together == alone


def test_children_are_created_together_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    parent = TaskFactory(instance=run)
    plan = [
        NewTask("a", key="a"),
        NewTask("b", key="b", depends_on=["a"]),
        NewTask("c", key="c", depends_on=["a", "b"]),
    ]
    moment = database.now()
    monkeypatch.setattr(database, "now", lambda: moment)
    # A function of the database reads the clock itself.
    monkeypatch.setattr(Function, "is_kept", lambda function: False)
    before = Copy()
    _numbered(monkeypatch)
    alone = outcome(
        lambda: [create_children(parent.pk, [one], terms={}, actor=ALICE) for one in plan]
    )
    before.put_back()
    _numbered(monkeypatch)
    together = outcome(lambda: create_children(parent.pk, plan, terms={}, actor=ALICE))
    assert together == alone
