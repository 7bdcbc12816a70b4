"""Delegation policies bind whoever hands over: the router, explicit offers, and what is created."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.router import InstanceRouter
from hopper.config.files import CONFIGURATION
from hopper.errors import RuleBroken
from instances.models import HopperInstance, Task
from scopes.behaviors.project_scope import ProjectScopeBehavior
from scopes.decisions import Answer, InstanceFacts, TaskFacts
from scopes.models import RoutingDecision
from scopes.replay import last_decisions, replay
from tests.api.conftest import Caller, ada, caller, sound
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.scopes.test_configuration import folder

__all__ = ["ada", "caller", "folder", "sound"]

pytestmark = pytest.mark.django_db(transaction=True)


class No(ProjectScopeBehavior):
    """A project that wants nothing."""

    def answer(self, task: TaskFacts, instance: InstanceFacts) -> Answer:
        return Answer("refuse", "rejected", f"{instance.id} wants nothing")


MANUAL = {"capabilities": ["x"], "accept": "manual"}


def wide(number: int, **config: Any) -> HopperInstance:
    """Return a GLOBAL over so many projects that fit the tag x, where people answer."""
    top: HopperInstance = InstanceFactory(name="top", config=config)
    for n in range(number):
        InstanceFactory(scope="PROJECT", name=f"p{n:02}", parent=top, config=MANUAL)
    return top


def refuse(task: Task) -> str:
    """Have whoever is asked refuse, and return who that was."""
    task.refresh_from_db()
    asked = str(task.offered_to_id)
    (offer,) = TaskDelegation.objects.filter(target_instance=asked, status="pending")
    Delegator(ALICE).reject_delegation(offer.pk, reason="no")
    task.refresh_from_db()
    return asked


def test_without_fallback_a_refusal_is_not_passed_on() -> None:
    top = wide(3, fallback="none")
    task = TaskFactory(instance=top, tags=["x"])
    assert refuse(task) == "p00"
    assert (task.status, task.waiting_code, task.instance_id) == ("blocked", "Unroutable", "top")
    assert [one["rejection_reason"] for one in task.waiting["refusals"]] == ["no"]
    assert "p01: fallback NotAskedNext" in task.waiting["detail"]
    assert replay(last_decisions(10)).differences == ()


def test_without_fallback_a_project_keeps_what_its_run_refused() -> None:
    web = InstanceFactory(scope="PROJECT", name="web", config={"fallback": "none"})
    for name in ("run-1", "run-2"):
        InstanceFactory(scope="ORCHESTRATION", name=name, parent=web, config=MANUAL)
    task = TaskFactory(instance=web, complexity=5)
    assert refuse(task) == "run-1"
    last = RoutingDecision.objects.for_task(task.pk).last()
    assert last is not None
    assert (task.instance_id, last.code) == ("web", "ManualQueue")


def test_an_instance_asks_no_more_often_than_it_may(ada: Caller) -> None:
    top = wide(4, max_offers=2)
    task = TaskFactory(instance=top, tags=["x"])
    assert [refuse(task), refuse(task)] == ["p00", "p01"]
    assert (task.status, task.waiting_code) == ("blocked", "HopLimit")
    assert task.waiting["detail"] == "2 offers of top in this epoch"
    assert replay(last_decisions(10)).differences == ()


def test_a_limit_counts_what_the_instance_itself_asked() -> None:
    top = InstanceFactory(name="top", config={"max_offers": 1})
    web = InstanceFactory(
        scope="PROJECT", name="web", parent=top, config={"capabilities": ["x"], "max_offers": 1}
    )
    InstanceFactory(scope="ORCHESTRATION", name="run", parent=web)
    assert TaskFactory(instance=top, tags=["x"], complexity=5).instance_id == "run"


@pytest.mark.parametrize(("own", "asked"), [({}, 16), ({"max_offers": 3}, 3)], ids=str)
def test_of_seventeen_that_refuse_the_router_asks_as_many_as_it_may_and_foresees_it(
    ada: Caller, folder: Path, own: dict[str, int], asked: int
) -> None:
    (folder / "scope_behaviors.yaml").write_text(f"PROJECT: {{behavior: {__name__}.No}}\n")
    CONFIGURATION.reload()
    top = wide(17, **own)
    foreseen = ada.tell("/rules/preview", {"title": "x", "tags": ["x"]})["decisions"]
    task = TaskFactory(instance=top, tags=["x"])
    assert (task.status, task.waiting_code, task.instance_id) == ("blocked", "HopLimit", "top")
    refusals = [(one["target_instance_id"], one["status"]) for one in task.waiting["refusals"]]
    assert refusals == [(f"p{n:02}", "rejected") for n in range(asked)]
    rows = RoutingDecision.objects.for_task(task.pk)
    stored = [(row.verdict, row.target_id or "", row.code) for row in rows]
    assert [(one["verdict"], one["target_id"], one["code"]) for one in foreseen] == stored
    assert stored[-1] == ("refuse", "", "HopLimit")


@pytest.fixture
def narrow(folder: Path, transactional_db: None) -> HopperInstance:
    """A GLOBAL that may hand work to families only, over a project and a family."""
    (folder / "delegation_policies.yaml").write_text("GLOBAL: {delegate_to: [FAMILY]}\n")
    CONFIGURATION.reload()
    top: HopperInstance = InstanceFactory(name="top")
    InstanceFactory(scope="PROJECT", name="web", parent=top, config={"capabilities": ["x"]})
    InstanceFactory(scope="FAMILY", name="us", parent=top)
    return top


def test_the_router_passes_over_a_scope_that_policy_leaves_out(narrow: HopperInstance) -> None:
    task = TaskFactory(instance=narrow, tags=["x"])
    assert (task.status, task.waiting_code) == ("blocked", "Unroutable")
    assert "web: scope ScopeNotAllowed" in task.waiting["detail"]
    router, web = InstanceRouter(), HopperInstance.objects.get(pk="web")
    assert not router.can_delegate_to(narrow, web)
    assert router.can_delegate_to(narrow, HopperInstance.objects.get(pk="us"))


def test_an_explicit_delegation_is_bound_by_it_and_says_what_is_allowed(
    ada: Caller, narrow: HopperInstance
) -> None:
    task = TaskFactory(instance=narrow)
    body = {"target_instance_id": "web", "force": True, "reason": "I want it"}
    problem = ada.tell(f"/tasks/{task.pk}/delegate", body, 422)
    assert (problem["code"], problem["allowed"]) == ("scope_not_allowed", ["FAMILY"])
    with pytest.raises(RuleBroken, match="delegate_to"):
        Delegator(ALICE).delegate_task(task.pk, "web")
    ada.tell(f"/tasks/{task.pk}/delegate", {"target_instance_id": "us", "accept": "auto"}, 201)
    assert Task.objects.get(pk=task.pk).instance_id == "us"


def test_nothing_is_created_that_could_not_be_asked(narrow: HopperInstance) -> None:
    task = TaskFactory(instance=narrow, project="brand-new")
    assert (task.status, task.waiting_code) == ("blocked", "ExplicitTargetMissing")
    web = InstanceFactory(scope="PROJECT", name="alone", config={"delegate_to": ["EVENT"]})
    hard = TaskFactory(instance=web, complexity=5)
    assert (hard.status, hard.instance_id) == ("pending", "alone")
    assert not HopperInstance.objects.filter(created_by="router").exists()


def test_the_instances_own_policy_wins_and_can_be_traced(
    ada: Caller, narrow: HopperInstance
) -> None:
    own = {"delegate_to": ["PROJECT", "ORCHESTRATION"], "max_offers": 3, "fallback": "none"}
    ada.call("PATCH", "/instances/top", {"config": own})
    assert TaskFactory(instance=narrow, tags=["x"]).instance_id == "web"
    shown = ada.ask("/instances/top/settings")["settings"]
    assert {key: (shown[key]["value"], shown[key]["source"]) for key in own} == {
        key: (value, "instance") for key, value in own.items()
    }
    for key, wrong in (("max_offers", 17), ("fallback", "last"), ("delegate_to", ["NOBODY"])):
        answer = ada.call("PATCH", "/instances/top", {"config": {key: wrong}})
        assert answer.status_code == 400, answer.content
        assert answer.json()["errors"][0]["field"] == f"config.{key}"
