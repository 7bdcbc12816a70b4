"""A behaviour that fails loses nothing: its task stays due, says why, and goes on when it works."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from delegation.models import TaskDelegation
from delegation.sweep import sweep
from hopper.config.files import CONFIGURATION
from instances.models import Event, HopperInstance, Task
from scopes.behaviors.global_scope import GlobalScopeBehavior
from scopes.behaviors.project_scope import ProjectScopeBehavior
from scopes.decisions import CreateChild, Decision, Refuse, SendTo, Stay
from scopes.models import RoutingDecision
from tests.api.conftest import Caller, ada, caller, sound
from tests.factories import InstanceFactory, TaskFactory
from tests.scopes.test_configuration import folder

if TYPE_CHECKING:
    from scopes.decisions import Answer, InstanceFacts, Situation, TaskFacts

__all__ = ["ada", "caller", "folder", "sound"]

pytestmark = pytest.mark.django_db(transaction=True)

MODE = {"is": "broken"}
WRONG: dict[str, Any] = {
    "nothing": None,
    "a word": "web",
    "a stranger": SendTo(("because",), target_id="elsewhere"),
    "a run at GLOBAL": CreateChild(("because",), name="x", scope="ORCHESTRATION"),
    "a child without a name": CreateChild(("because",), name=" ", scope="PROJECT"),
    "a child whose name is taken": CreateChild(("because",), name="web", scope="PROJECT"),
    "an event without an end": CreateChild(("because",), name="fair", scope="EVENT"),
    "no reasons": SendTo(None, target_id="web"),  # type: ignore[arg-type]
    "reasons that are no words": SendTo((("because",),), target_id="web"),  # type: ignore[arg-type]
    "a confidence that is no number": SendTo(("because",), (), math.nan, target_id="web"),
    "rules that cannot be kept": SendTo(("because",), rules=(object(),), target_id="web"),  # type: ignore[arg-type]
    "a refusal of its own making": Refuse(("because",), code="Nonsense"),
    "a rest of its own making": Stay(("because",), code="InputRequired"),
}


class Moody(GlobalScopeBehavior):
    """Fails, or decides what it should not, until it is told to work."""

    def decide(self, situation: Situation) -> Decision:
        if MODE["is"] == "broken":
            raise ValueError("no idea")
        if MODE["is"] == "again":
            return SendTo(("I insist",), target_id="web")
        if MODE["is"] in WRONG:
            found: Decision = WRONG[MODE["is"]]
            return found
        return super().decide(situation)


class Mute(ProjectScopeBehavior):
    """Fails when asked, until it is told to work."""

    def answer(self, task: TaskFacts, instance: InstanceFacts) -> Answer:
        if MODE["is"] == "broken":
            raise RuntimeError("what?")
        return super().answer(task, instance)


@pytest.fixture
def top(folder: Path, transactional_db: None) -> HopperInstance:
    """A GLOBAL over a project, which fits the tag x, under such behaviours."""
    MODE["is"] = "works"
    (folder / "scope_behaviors.yaml").write_text(
        f"GLOBAL: {{behavior: {__name__}.Moody}}\nPROJECT: {{behavior: {__name__}.Mute}}\n"
    )
    CONFIGURATION.reload()
    top: HopperInstance = InstanceFactory(name="top")
    InstanceFactory(scope="PROJECT", name="web", parent=top, config={"capabilities": ["x"]})
    return top


def test_the_task_stays_due_says_why_and_goes_on_when_it_works(
    ada: Caller, top: HopperInstance, caplog: pytest.LogCaptureFixture
) -> None:
    MODE["is"] = "broken"
    with caplog.at_level(logging.ERROR):
        body = {"title": "t", "tags": ["x"], "instance_id": "top"}
        task = ada.tell("/tasks", body, 201)
        for _ in range(3):
            assert sweep().tasks_placed == 0
    reason = ada.ask(f"/tasks/{task['id']}")["waiting_on"]
    why = f"{__name__}.Moody failed: ValueError: no idea"
    told = (reason["code"], reason["detail"], reason["who"])
    assert told == ("Routing", why, "an operator of top")
    events = Event.objects.filter(task=task["id"], data__attention=True)
    assert [(event.kind, event.data["detail"]) for event in events] == [("task.undecided", why)]
    assert [one.exc_text or "" for one in caplog.records if one.message == "behaviour failed"], (
        "it is logged"
    )
    assert sum(one.message == "behaviour failed" for one in caplog.records) == 1
    assert not RoutingDecision.objects.exists()
    MODE["is"] = "works"
    assert sweep().tasks_placed == 1
    found = Task.objects.get(pk=task["id"])
    assert (found.instance_id, found.waiting) == ("web", {})


def test_others_are_placed_meanwhile(top: HopperInstance) -> None:
    MODE["is"] = "broken"
    stuck = TaskFactory(instance=top, tags=["x"])
    web = HopperInstance.objects.get(pk="web")
    assert not TaskFactory(instance=web).route_due
    assert Task.objects.get(pk=stuck.pk).route_due


@pytest.mark.parametrize("what", WRONG)
def test_an_illegal_decision_of_a_behaviour_is_not_done(top: HopperInstance, what: str) -> None:
    MODE["is"] = what
    task = TaskFactory(instance=top, tags=["x"])
    assert (task.route_due, task.instance_id, task.status) == (True, "top", "pending")
    assert "Moody failed: " in task.waiting["detail"]
    assert HopperInstance.objects.count() == 2
    assert not TaskDelegation.objects.exists()


def test_nobody_is_asked_again_because_a_behaviour_insists(
    ada: Caller, top: HopperInstance
) -> None:
    ada.call("PATCH", "/instances/web", {"config": {"accept": "manual"}})
    MODE["is"] = "again"
    task = TaskFactory(instance=top)
    (offer,) = TaskDelegation.objects.filter(target_instance="web", status="pending")
    ada.tell(f"/delegations/{offer.pk}/reject", {"reason": "no"})
    task.refresh_from_db()
    assert (task.route_due, TaskDelegation.objects.count()) == (True, 1)
    assert task.waiting["detail"].endswith("it sends to web, which is excluded")


def test_a_target_that_fails_when_asked_leaves_the_answer_to_a_person(
    ada: Caller, top: HopperInstance
) -> None:
    MODE["is"] = "works"
    task = TaskFactory(instance=top, tags=["y"])
    MODE["is"] = "broken"
    body = {"target_instance_id": "web", "accept": "auto"}
    offer = ada.tell(f"/tasks/{task.pk}/delegate", body, 201)
    assert offer["status"] == "pending"
    sweep()
    assert TaskDelegation.objects.get(pk=offer["id"]).is_pending
    MODE["is"] = "works"
    sweep()
    assert Task.objects.get(pk=task.pk).instance_id == "web"


def test_an_offer_names_the_cause_that_its_answer_waits_for(
    ada: Caller, top: HopperInstance
) -> None:
    ada.call("PATCH", "/instances/web", {"config": {"capabilities": ["x"], "accept": "manual"}})
    task = TaskFactory(instance=top, tags=["x"])
    detail = ada.ask(f"/tasks/{task.pk}")["waiting_on"]["detail"]
    assert detail == "offered to web, which has not answered yet: web wants a person to accept"


def test_asking_beforehand_says_that_it_fails(ada: Caller, top: HopperInstance) -> None:
    MODE["is"] = "broken"
    problem = ada.tell("/rules/preview", {"title": "t", "instance_id": "top"}, 409)
    assert problem["code"] == "behavior_failed"
    assert problem["detail"].endswith("Moody failed: ValueError: no idea")
