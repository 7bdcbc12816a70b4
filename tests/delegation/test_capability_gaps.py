"""A missing capability is reported to a person once, however often placing is tried (R9)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from delegation.placing import reroute_task
from delegation.sweep import sweep
from instances.models import Event, HopperInstance, Task
from instances.tasks.editing import update_task
from instances.tree.shape import describe_instance
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sound"),
]


@pytest.fixture
@kept
def top() -> HopperInstance:
    """A GLOBAL over three projects with a run each, none of which can anything."""
    top: HopperInstance = InstanceFactory(name="wide")
    for number in range(3):
        project = InstanceFactory(scope="PROJECT", name=f"p{number}", parent=top)
        InstanceFactory(scope="ORCHESTRATION", parent=project)
    return top


def notices() -> list[tuple[str, str]]:
    """Return which events asked for attention, and what they said first."""
    asking = Event.objects.filter(data__attention=True).order_by("id")
    return [(event.kind, event.data["detail"].split(";")[0]) for event in asking]


def test_a_capability_that_no_instance_has_is_reported_once(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, required_capabilities=["gpu"], tags=["x"])
    assert (task.status, task.waiting_code) == ("blocked", "CapabilityGap")
    assert notices() == [("task.blocked", "nobody below has gpu")]


def test_a_gap_is_not_reported_again_for_more_tasks_that_need_the_same(top: HopperInstance) -> None:
    tasks = [TaskFactory(instance=top, required_capabilities=["gpu"]) for _ in range(5)]
    assert {task.waiting_code for task in tasks} == {"CapabilityGap"}
    assert len(notices()) == 1
    TaskFactory(instance=top, required_capabilities=["gpu", "fpga"])
    assert [words for _, words in notices()] == [
        "nobody below has gpu", "nobody below has gpu, fpga",
    ]  # fmt: skip


def test_a_gap_in_other_letters_is_the_same_gap(top: HopperInstance) -> None:
    for words in (["gpu", "Disk"], ["GPU", "disk"]):
        TaskFactory(instance=top, required_capabilities=words)
    assert len(notices()) == 1


@pytest.mark.parametrize(("scope", "parent"), [("ORCHESTRATION", "run"), ("FEDERATED", "p0")])
def test_an_instance_that_placing_never_reaches_fills_no_gap(
    top: HopperInstance, scope: str, parent: str
) -> None:
    InstanceFactory(scope="ORCHESTRATION", name="run", parent=HopperInstance.objects.get(pk="p0"))
    above = HopperInstance.objects.get(pk=parent)
    InstanceFactory(scope=scope, name="far", parent=above, config={"capabilities": ["gpu"]})
    task = TaskFactory(instance=top, required_capabilities=["gpu"])
    assert (task.waiting_code, task.instance_id) == ("CapabilityGap", "wide")


def test_a_gap_is_filled_from_below_a_person(top: HopperInstance) -> None:
    ann = InstanceFactory(scope="PERSONAL", name="ann", parent=top)
    InstanceFactory(scope="PROJECT", name="lab", parent=ann, config={"capabilities": ["gpu"]})
    assert TaskFactory(instance=top, required_capabilities=["GPU"]).instance_id == "lab"


def test_a_gap_is_not_reported_again_when_the_task_is_placed_again(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, required_capabilities=["gpu"])
    reroute_task(task.pk, actor=ALICE)
    for number in range(3):
        Event.objects.filter(kind="task.rerouted").update(at=timezone.now() - timedelta(minutes=2))
        InstanceFactory(scope="PROJECT", name=f"new {number}", parent=top)
        sweep()
    task.refresh_from_db()
    assert (task.status, task.epoch) == ("blocked", 5)
    assert len(notices()) == 1


def test_another_capability_gap_of_the_same_task_is_reported(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, required_capabilities=["gpu"])
    update_task(task.pk, changes={"required_capabilities": ["laser"]}, actor=ALICE)
    assert [words for _, words in notices()] == ["nobody below has gpu", "nobody below has laser"]


def test_a_child_that_gets_the_capability_gets_the_task(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, required_capabilities=["gpu"])
    describe_instance("p1", changes={"config": {"capabilities": ["gpu"]}}, actor=ALICE)
    assert Task.objects.get(pk=task.pk).instance_id == "p1"
