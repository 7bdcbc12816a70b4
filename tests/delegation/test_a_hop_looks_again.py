"""One call carries out a decision only while the task and its target are as they were (R9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from delegation import router
from delegation.delegator import Delegator
from delegation.hop_sql import hopping, resting
from delegation.placing import reroute_task
from hopper import database
from hopper.database import engine
from hopper.database.functions import Function
from hopper.errors import NotAccepting
from instances.lifecycle.actions import pause_instance, stop_instance
from instances.models import HopperInstance, Task
from instances.tasks.creating import NewTask, create_task
from instances.tasks.ending import cancel_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sound"),
    pytest.mark.skipif("not engine().keeps_functions", reason="this database keeps none"),
]
assert engine

Change = Callable[[Task], object]


def refuse(task: Task) -> None:
    """Offer the task to its target by hand, which refuses it."""
    offer = Delegator(ALICE).delegate_task(task.pk, "web").delegation
    Delegator(ALICE).reject_delegation(offer.pk, reason="no")


ROOM = {"max_queued_tasks": 1, "capabilities": ["x"]}
CHANGES: dict[str, Change] = {
    # Only the row: a change that is announced would place the task at once.
    "the target changes": lambda task: HopperInstance.objects.filter(pk="web").update(
        updated_at=database.now()
    ),
    # A change that took its moment before the reading and was committed after it.
    "the configuration of the target changes": lambda task: HopperInstance.objects.filter(
        pk="web"
    ).update(config={**ROOM, "accept": "manual"}),
    "an instance above pauses": lambda task: pause_instance("top", actor=ALICE),
    "the queue fills": lambda task: TaskFactory(instance=HopperInstance.objects.get(pk="web")),
    "the task ends": lambda task: cancel_task(task.pk, actor=ALICE),
    "the task begins anew": lambda task: reroute_task(task.pk, actor=ALICE),
    "the target refuses": refuse,
}


@pytest.fixture
def top() -> HopperInstance:
    top = InstanceFactory(name="top", id="top")
    InstanceFactory(scope="PROJECT", name="web", id="web", parent=top, config=ROOM)
    InstanceFactory(scope="PROJECT", name="other", id="other", parent=top)
    return top


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The calls of the functions for decisions, with the number of rows that each returned."""
    found: list[tuple[str, int]] = []
    call = Function.call

    def noted(function: Function, *args: Any, **values: Any) -> Any:
        made = call(function, *args, **values)
        if function in (hopping(), resting()):
            found.append((function.title, len(made)))
        return made

    monkeypatch.setattr(Function, "call", noted)
    return found


def change_after_reading(monkeypatch: pytest.MonkeyPatch, change: Callable[[Task], object]) -> None:
    """Let something change once, between the first decision and its look again."""
    read, changed = router.situation_of, []

    def overtaken(task: Task, *rest: Any) -> Any:
        situation = read(task, *rest)
        if not changed:
            changed.append(task.pk)
            change(task)
        return situation

    monkeypatch.setattr(router, "situation_of", overtaken)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_hop_is_not_made_from_what_no_longer_holds(
    top: HopperInstance,
    calls: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
) -> None:
    change_after_reading(monkeypatch, change)
    create_task(NewTask("x", instance_id="top", tags=["x"]), actor=ALICE)
    assert ("hop", 0) in calls


def test_a_task_does_not_rest_where_an_instance_began_to_run(
    top: HopperInstance, calls: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = HopperInstance.objects.filter(pk="other")
    change_after_reading(monkeypatch, lambda task: other.update(updated_at=database.now()))
    create_task(NewTask("x", instance_id="top"), actor=ALICE)
    assert calls == [("rest", 0), ("rest", 1)]


def test_a_decision_is_carried_out_at_once_where_nothing_changed(
    top: HopperInstance, calls: list[tuple[str, int]]
) -> None:
    assert TaskFactory(instance=top, tags=["x"]).instance_id == "web"
    assert calls == [("hop", 1), ("rest", 1)]


def test_no_task_is_created_at_an_instance_that_takes_none(top: HopperInstance) -> None:
    stop_instance("top", actor=ALICE)
    with pytest.raises(NotAccepting):
        create_task(NewTask("x", instance_id="web"), actor=ALICE)
