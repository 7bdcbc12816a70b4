"""A ready task says whether a place is free for it, and how many stand before it (R22, R26)."""

from __future__ import annotations

from typing import Any

import pytest

from instances.dashboard import dashboard
from instances.models import HopperInstance, Task
from instances.tasks.worker import claim_next
from instances.tree.shape import describe_instance
from instances.waiting import line, waiting_condition, waiting_on
from instances.waiting.wording import next_step
from tests.factories import ALICE, InstanceFactory, TaskFactory


@pytest.fixture
def run(db: None) -> HopperInstance:
    """A queue with two places."""
    project = InstanceFactory(scope="PROJECT", name="web")
    return InstanceFactory(
        scope="ORCHESTRATION", parent=project, name="run", config={"max_concurrent_tasks": 2}
    )


def told(task: Task) -> dict[str, Any]:
    return waiting_on([Task.objects.get(pk=task.pk)])[task.pk]


def test_the_first_tasks_are_ready_and_the_others_count_the_tasks_before_them(
    run: HopperInstance,
) -> None:
    tasks = [TaskFactory(instance=run) for _ in range(4)]
    urgent = TaskFactory(instance=run, priority="urgent")
    codes = [told(task)["code"] for task in (urgent, *tasks)]
    assert codes == ["ReadyForWorker"] * 2 + ["QueuePosition"] * 3
    assert told(tasks[1])["detail"] == "2 tasks stand before it at run, where 2 slots are free"
    assert told(tasks[3])["detail"] == "4 tasks stand before it at run, where 2 slots are free"
    assert told(tasks[3])["object"] == "run"


def test_a_claim_moves_the_line_and_the_last_place_ends_it(run: HopperInstance) -> None:
    first, second, third = (TaskFactory(instance=run) for _ in range(3))
    claim_next("run", worker="w", actor=ALICE)
    assert [told(task)["code"] for task in (first, second, third)] == [
        "InProgress",
        "ReadyForWorker",
        "QueuePosition",
    ]
    claim_next("run", worker="w", actor=ALICE)
    assert told(third) | {"since": None} == {
        "code": "AtCapacity",
        "detail": "2 of 2 slots at run are taken",
        "object": "run",
        "since": None,
        "until": None,
        "who": "the workers at run: a task that ends there makes room",
    }


def test_a_queue_that_gives_nothing_out_names_who_can_open_it(run: HopperInstance) -> None:
    describe_instance("run", changes={"config": {"max_concurrent_tasks": 0}}, actor=ALICE)
    task = TaskFactory(instance=run)
    reason = told(task)
    assert (reason["code"], reason["who"]) == ("AtCapacity", "an operator of run")
    assert reason["detail"] == "run grants no leases: its max_concurrent_tasks is 0"
    step = next_step(task, reason)
    assert step
    assert step["command"] == "hopper config show --instance run"


def test_tasks_far_behind_are_not_counted(
    run: HopperInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "LOOKED_AT", 1)
    tasks = [TaskFactory(instance=run) for _ in range(4)]
    assert told(tasks[2])["detail"].startswith("2 tasks stand before it")
    assert told(tasks[3])["detail"].startswith("many tasks stand before it")
    assert told(tasks[3])["code"] == "QueuePosition"


def test_a_task_that_is_not_ready_does_not_stand_in_line(run: HopperInstance) -> None:
    first = TaskFactory(instance=run, priority="low")
    for _ in range(3):
        TaskFactory(instance=run, priority="urgent", depends_on=[first.pk])
    assert told(first)["code"] == "ReadyForWorker"


def test_lists_and_counts_see_the_same_line_in_every_queue(run: HopperInstance) -> None:
    roomy = InstanceFactory(scope="ORCHESTRATION", parent=run.parent, name="roomy")
    for place in (run, run, run, run, roomy, roomy):
        TaskFactory(instance=place)
    behind = Task.objects.filter(waiting_condition("QueuePosition"))
    assert set(behind.values_list("instance_id", flat=True)) == {"run"}
    assert dashboard()["waiting"] == {"QueuePosition": 2, "ReadyForWorker": 4}
