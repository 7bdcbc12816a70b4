"""A preview of placing names the later result and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps

from instances.lifecycle.actions import pause_instance, stop_instance
from instances.models import HopperInstance, Task
from scopes.models import RoutingDecision
from tests.api.conftest import Caller, ada, caller, sound, tree
from tests.factories import ALICE, InstanceFactory, TaskFactory

__all__ = ["ada", "caller", "sound", "tree"]


def traces() -> dict[str, Any]:
    """Return all rows of all tables but those of the test's own credentials."""
    return {
        model._meta.label: sorted(map(repr, model._default_manager.values_list()))
        for model in apps.get_models()
        if model._meta.managed
    }


BODIES = (
    {"title": "tags speak", "tags": ["web"]},
    {"title": "and it is hard", "tags": ["web"], "complexity": 4},
    {"title": "no child matches"},
    {"title": "named", "project": "ops"},
    {"title": "not there yet", "project": "brand-new"},
    {"title": "a typing error", "project": "opps"},
    {"title": "nobody can", "required_capabilities": ["gpu"]},
    {"title": "it would come back", "project": "web", "required_capabilities": ["web", "gpu"]},
)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body["title"])
def test_a_preview_says_what_then_happens_and_writes_nothing(
    ada: Caller, tree: dict[str, HopperInstance], body: dict[str, Any]
) -> None:
    before = traces()
    foreseen = ada.tell("/rules/preview", body)
    assert traces() == before
    assert (foreseen["task_id"], foreseen["instance_id"]) == (None, "top")
    made = ada.tell("/tasks", {**body, "instance_id": "top"}, 201)
    hops = [
        (row["instance_id"], row["verdict"], row["target_id"], row["code"])
        for row in foreseen["decisions"]
    ]
    stored = [
        (row.instance_id, row.verdict, row.target_id or "", row.code)
        for row in RoutingDecision.objects.for_task(made["id"])
    ]
    if hops[-1][1] == "create":
        assert made["instance_id"] == hops[-1][2]
    else:
        assert hops == stored
    asked = ada.tell(f"/tasks/{made['id']}/route?preview=true")
    before = traces()
    assert ada.tell(f"/tasks/{made['id']}/route?preview=true") == asked
    assert traces() == before


def test_the_way_back_up_is_foreseen(ada: Caller, tree: dict[str, HopperInstance]) -> None:
    strict = {"manual_fallback": False, "create_orchestrations": False}
    ada.call("PATCH", "/instances/web", {"config": {"capabilities": ["web"], **strict}})
    stop_instance(tree["web-run"].pk, actor=ALICE)
    body = {"title": "x", "tags": ["web"], "complexity": 5}
    foreseen = ada.tell("/rules/preview", body)["decisions"]
    assert [(row["instance_id"], row["verdict"]) for row in foreseen] == [
        ("top", "send"), ("web", "refuse"), ("top", "refuse"),
    ]  # fmt: skip
    made = ada.tell("/tasks", {**body, "instance_id": "top"}, 201)
    stored = RoutingDecision.objects.for_task(made["id"]).values_list("instance_id", "verdict")
    assert list(stored) == [(row["instance_id"], row["verdict"]) for row in foreseen]


def test_a_preview_names_the_target_and_its_answer(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    ada.call("PATCH", "/instances/web", {"config": {"capabilities": ["web"], "accept": "manual"}})
    (only,) = ada.tell("/rules/preview", {"title": "x", "tags": ["web"]})["decisions"]
    assert (only["target_id"], only["answer"]) == ("web", "wait")
    pause_instance("top", actor=ALICE)
    (only,) = ada.tell("/rules/preview", {"title": "x", "tags": ["web"]})["decisions"]
    assert (only["verdict"], only["code"]) == ("stay", "Routing")


def test_a_preview_begins_at_the_given_instance_or_at_the_parent(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    body = {"title": "x", "instance_id": "ops", "complexity": 5}
    assert ada.tell("/rules/preview", body)["decisions"][0]["target_id"] == "ops-run"
    parent = TaskFactory(instance=tree["web"])
    assert (
        ada.tell("/rules/preview", {"title": "x", "parent_id": parent.pk})["instance_id"] == "web"
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "title"),
        ({"title": "x", "instance_id": "nowhere"}, "instance_id"),
        ({"title": "x", "parent_id": "task-0"}, "parent_id"),
        ({"title": "x", "rules": []}, "rules"),
        ({"title": "x", "complexity": 9}, "complexity"),
    ],
)
def test_a_preview_that_cannot_be_made_is_refused_naming_the_field(
    ada: Caller, tree: dict[str, HopperInstance], body: dict[str, Any], field: str
) -> None:
    problem = ada.tell("/rules/preview", body, 400)
    assert [error["field"] for error in problem["errors"]] == [field]


def test_a_caller_who_sees_no_global_has_to_name_an_instance(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance]
) -> None:
    viewer = caller("vi", "viewer", tree["web"])
    problem = viewer.tell("/rules/preview", {"title": "x"}, 400)
    assert problem["errors"][0]["field"] == "instance_id"
    found = viewer.tell("/rules/preview", {"title": "x", "instance_id": "web"})
    assert found["decisions"][0]["code"] == "ManualQueue"
    viewer.tell("/rules/preview", {"title": "x", "instance_id": "ops"}, 400)


def test_a_reroute_asks_refusing_instances_again_and_so_does_its_preview(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    InstanceFactory(scope="PROJECT", parent=tree["top"], name="web-two",
                    config={"capabilities": ["web"]})  # fmt: skip
    ada.call(
        "PATCH", "/instances/web", {"config": {"capabilities": ["web", "x"], "accept": "manual"}}
    )
    task = ada.tell("/tasks", {"title": "x", "tags": ["web", "x"], "instance_id": "top"}, 201)
    assert task["offered_to"] == "web"
    offer = ada.ask("/delegations", task_id=task["id"], status="pending")["results"][0]["id"]
    ada.tell(f"/delegations/{offer}/reject", {"reason": "no"})
    assert Task.objects.get(pk=task["id"]).instance_id == "web-two"
    task = ada.tell("/tasks", {"title": "y", "tags": ["x"], "instance_id": "top"}, 201)
    offer = ada.ask("/delegations", task_id=task["id"], status="pending")["results"][0]["id"]
    ada.tell(f"/delegations/{offer}/reject", {"reason": "no"})
    assert ada.ask(f"/tasks/{task['id']}")["status"] == "blocked"
    (hop,) = ada.tell(f"/tasks/{task['id']}/route?preview=true")["decisions"]
    assert (hop["verdict"], hop["target_id"]) == ("send", "web")
    assert ada.tell(f"/tasks/{task['id']}/route")["decisions"][0]["target_id"] == "web"
