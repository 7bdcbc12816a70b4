"""Equal work is shared evenly: the least loaded gets the next task (R9)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from instances.models import HopperInstance, Task
from tests.concurrency.crowd import crowd
from tests.factories import InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]

PROJECTS = 5
CROWD = 4


def five(top: HopperInstance, **config: Any) -> list[str]:
    """Return the ids of five equal projects with room for all."""
    config = {"capabilities": ["x"], "max_queued_tasks": 10_000} | config
    made = [
        InstanceFactory(scope="PROJECT", name=f"p{n}", parent=top, config=config)
        for n in range(PROJECTS)
    ]
    return [one.pk for one in made]


def shares() -> Counter[str]:
    return Counter(Task.objects.values_list("instance_id", flat=True))


@pytest.mark.parametrize(
    ("tags", "unmatched"), [(["x"], "hold"), ([], "balance")], ids=["matched", "unmatched"]
)
def test_a_thousand_equal_tasks_are_shared_evenly(
    storm: Callable[[int, int], int], tags: list[str], unmatched: str
) -> None:
    number = storm(23, 1000)
    top = InstanceFactory(name="top", config={"unmatched": unmatched})
    projects = five(top)
    for _ in range(number):
        TaskFactory(instance=top, tags=tags)
    found = shares()
    print(dict(found))
    assert set(found) == set(projects)
    assert max(found.values()) - min(found.values()) <= 1
    assert unsound() == []


def test_of_unequally_loaded_projects_the_least_loaded_is_chosen_each_time() -> None:
    top = InstanceFactory(name="top")
    projects = five(top)
    loads = dict(zip(projects, (4, 0, 3, 1, 6), strict=True))
    for pk, load in loads.items():
        for _ in range(load):
            TaskFactory(instance=HopperInstance.objects.get(pk=pk))
    for _ in range(20):
        task = TaskFactory(instance=top, tags=["x"])
        assert loads[str(task.instance_id)] == min(loads.values())
        loads[str(task.instance_id)] += 1
    assert max(loads.values()) - min(loads.values()) <= 1
    assert unsound() == []


def test_a_task_without_a_match_waits_for_triage() -> None:
    top = InstanceFactory(name="top")
    five(top)
    task = TaskFactory(instance=top, title="Walk the dog")
    decision = task.decisions.get()
    assert (task.status, task.instance_id, task.route_due) == ("pending", "top", False)
    assert (decision.verdict, decision.code) == ("stay", "AwaitingTriage")


@pytest.mark.postgres
def test_tasks_that_come_at_the_same_moment_are_shared_nearly_evenly(
    child_environ: dict[str, str], storm: Callable[[int, int], int]
) -> None:
    """No lock chooses: a decision may know as little as the others that are being made (R9)."""
    each = storm(0, 250)
    if not each:
        pytest.skip("four processes begin: only with HOPPER_STORM=1")
    top = InstanceFactory(name="top")
    projects = five(top)
    crowd(child_environ, "tests.concurrency.members:create_many", [(each, ["x"])] * CROWD)
    found = shares()
    print(dict(found))
    assert set(found) == set(projects)
    assert found.total() == CROWD * each
    assert max(found.values()) - min(found.values()) <= 2 * CROWD
    assert unsound() == []
