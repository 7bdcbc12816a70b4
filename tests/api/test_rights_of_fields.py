"""A field whose effect needs a right needs that right, whatever request carries the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from instances.models import Grant, HopperInstance, Task
from instances.tasks.ending import cancel_task
from tests.api.conftest import Caller
from tests.factories import ALICE, InstanceFactory, TaskFactory

PAST = "2020-01-01T00:00:00Z"


@pytest.fixture
def loose(tree: dict[str, HopperInstance]) -> Task:
    """A task of somebody else that no instance holds."""
    return TaskFactory()


@pytest.mark.parametrize("role", ["viewer", "worker"])
def test_a_child_takes_the_right_to_work_on_its_parent(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance], loose: Task, role: str
) -> None:
    eve = caller("eve", "viewer")
    worker = caller("bob", role, tree["ops"])
    held = TaskFactory(instance=tree["web"])
    for parent in (loose, held):
        child = {"title": "x", "parent_id": parent.pk}
        for body in (child, {**child, "instance_id": "ops"}):
            assert eve.call("POST", "/tasks", body).status_code == 403
            assert eve.call("POST", "/tasks/bulk", [body]).status_code == 403
            assert worker.tell("/tasks", body, 400)["errors"][0]["field"] == "parent_id"
            assert worker.tell("/tasks/bulk", [body], 400)["errors"][0]["field"] == "0.parent_id"
        decompose = {"children": [{"title": "x"}]}
        assert eve.call("POST", f"/tasks/{parent.pk}/decompose", decompose).status_code == 403
        parent.refresh_from_db()
        assert (parent.status, parent.decomposed) == ("pending", False)
    assert Task.objects.count() == 2


def test_a_child_of_ones_own_unassigned_task_takes_no_other_right(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance]
) -> None:
    bob = caller("bob", "worker", tree["web"])
    mine = bob.tell("/tasks", {"title": "mine"}, 201)
    bob.tell("/tasks", {"title": "child", "parent_id": mine["id"]}, 201)
    everywhere = caller("carol", "worker")
    everywhere.tell("/tasks", {"title": "child", "parent_id": mine["id"]}, 201)


def test_an_edit_may_repeat_a_predecessor_that_the_caller_does_not_see(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance]
) -> None:
    foreign, other = TaskFactory(instance=tree["ops"]), TaskFactory(instance=tree["ops"])
    task = TaskFactory(instance=tree["web"], depends_on=[foreign.pk])
    bob = caller("bob", "operator", tree["web"])
    path = f"/tasks/{task.pk}"
    shown = bob.ask(path)
    assert bob.call("PATCH", path, shown).status_code == 200
    refusal = bob.call("PATCH", path, {"depends_on": [foreign.pk, other.pk]})
    assert refusal.status_code == 400
    assert refusal.json()["errors"][0]["detail"] == f"there is no task {other.pk}"


@pytest.mark.parametrize("scope", ["EVENT", "ORCHESTRATION"])
def test_the_end_of_an_instance_is_set_by_those_who_may_terminate_it(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance], scope: str
) -> None:
    InstanceFactory(
        scope=scope, parent=tree["web"], name="short", instance_type="temporary",
        expires_at="2030-01-01T00:00:00Z",
    )  # fmt: skip
    operator = caller("bob", "operator", tree["web"])
    for moment in (PAST, None):
        refusal = operator.call("PATCH", "/instances/short", {"expires_at": moment})
        assert (refusal.status_code, refusal.json()["role"]) == (403, "admin")
    admin = caller("carol", "admin", tree["web"])
    assert admin.call("PATCH", "/instances/short", {"expires_at": PAST}).status_code == 200


def test_cancelling_a_finished_task_by_force_takes_an_operator(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance]
) -> None:
    bob = caller("bob", "worker", tree["web"])
    task = bob.tell("/tasks", {"title": "x", "instance_id": "web"}, 201)
    path = f"/tasks/{task['id']}/status"
    bob.tell(path, {"status": "done"})
    forced = {"status": "cancelled", "force": True}
    assert bob.tell(path, forced, 403)["role"] == "operator"
    operator = caller("carol", "operator", tree["web"])
    assert operator.tell(path, forced)["status"] == "cancelled"


def test_a_task_is_reassigned_by_operators_of_the_source(
    caller: Callable[..., Caller], ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    task = TaskFactory(instance=tree["top"])
    ada.tell(f"/tasks/{task.pk}/delegate", {"target_instance_id": "web", "accept": "auto"}, 201)
    move = {"target_instance_id": "ops", "delegation_type": "reassign"}
    holder = caller("bob", "operator", tree["web"])
    assert holder.call("POST", f"/tasks/{task.pk}/delegate", move).status_code == 400
    sees_all = operator_who_sees_all(tree)
    assert sees_all.tell(f"/tasks/{task.pk}/delegate", move, 403)["role"] == "operator"
    source = caller("carol", "operator", tree["top"])
    assert source.tell(f"/tasks/{task.pk}/delegate", move, 201)["delegation_type"] == "reassign"


def operator_who_sees_all(tree: dict[str, HopperInstance]) -> Caller:
    """Return a person who is an operator at web and a viewer everywhere."""
    user = get_user_model().objects.create_user("dan")
    Grant.objects.create(user=user, instance=tree["web"], role="operator")
    Grant.objects.create(user=user, instance=None, role="viewer")
    client = Caller(raise_request_exception=False)
    client.force_login(user)
    return client


def test_a_creator_cancels_its_task_and_opens_no_ended_one(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance]
) -> None:
    bob = caller("bob", "worker", tree["web"])
    task: dict[str, Any] = bob.tell("/tasks", {"title": "x", "instance_id": "web"}, 201)
    cancel_task(task["id"], actor=ALICE)
    assert bob.call("POST", f"/tasks/{task['id']}/retry", {}).status_code == 403
