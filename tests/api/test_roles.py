"""A role holds at its instance and below; everything else is 404."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from instances.models import Grant, HopperInstance, Task
from instances.tasks.ending import cancel_task
from tests.api.conftest import Caller
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

ROLES = ("viewer", "worker", "operator", "admin")

# What takes which role at `web`; TASK rests at web, PLACED at web-run.
VERBS: list[tuple[str, str, str, Any]] = [
    ("viewer", "GET", "/instances/web", None),
    ("viewer", "GET", "/instances/web/hierarchy", None),
    ("viewer", "GET", "/tasks/TASK", None),
    ("viewer", "GET", "/tasks/TASK/events", None),
    ("viewer", "POST", "/tasks/TASK/route?preview=true", {}),
    ("worker", "POST", "/tasks", {"title": "x", "instance_id": "web"}),
    ("worker", "POST", "/tasks", {"title": "x"}),
    ("worker", "POST", "/tasks", {"title": "x", "parent_id": "TASK"}),
    ("worker", "POST", "/instances/web-run/claim", {"worker": "w"}),
    ("worker", "POST", "/tasks/PLACED/claim", {"worker": "w"}),
    ("worker", "POST", "/tasks/TASK/status", {"status": "in_progress"}),
    ("worker", "POST", "/tasks/PLACED/escalate", {"reason": "help"}),
    ("worker", "POST", "/tasks/TASK/feedback", {"was_good_match": True}),
    ("operator", "POST", "/tasks/TASK/status", {"status": "done", "force": True}),
    ("operator", "PATCH", "/tasks/TASK", {"title": "y"}),
    ("operator", "DELETE", "/tasks/TASK", None),
    ("operator", "POST", "/tasks/TASK/cancel", {}),
    ("operator", "POST", "/tasks/TASK/route", {}),
    ("operator", "POST", "/tasks/ENDED/retry", {"reason": "again"}),
    ("operator", "POST", "/instances/run/close", {}),
    ("operator", "POST", "/tasks/TASK/delegate", {"target_instance_id": "web-run"}),
    ("operator", "POST", "/instances/web/pause", {}),
    ("operator", "PATCH", "/instances/web", {"description": "y"}),
    ("operator", "POST", "/instances", {"name": "r", "scope": "ORCHESTRATION", "parent_id": "web"}),
    ("admin", "PATCH", "/instances/web", {"config": {"a": 1}}),
    ("admin", "PATCH", "/instances/web-run", {"parent_id": "web"}),
    ("admin", "POST", "/instances", {"name": "e", "scope": "EVENT", "parent_id": "web",
                                     "expires_at": "2030-01-01T00:00:00Z"}),
    ("admin", "DELETE", "/instances/web?cascade=true", None),
]  # fmt: skip


@pytest.fixture
@kept
def tasks(tree: dict[str, HopperInstance]) -> dict[str, Task]:
    """One task at each project and each orchestration, and one that nobody holds."""
    made = {name: TaskFactory(instance=tree[name]) for name in tree if name != "top"}
    InstanceFactory(
        scope="ORCHESTRATION", parent=tree["web"], name="run", instance_type="ephemeral"
    )
    ended = cancel_task(TaskFactory(instance=tree["web"]).pk, actor=ALICE)
    return made | {"loose": TaskFactory(), "ended": ended}


def filled(value: Any, tasks: dict[str, Task]) -> Any:
    """Return a path or body with the ids of the tasks."""
    if isinstance(value, dict):
        return {name: filled(inner, tasks) for name, inner in value.items()}
    if isinstance(value, str):
        for word, name in (("TASK", "web"), ("PLACED", "web-run"), ("ENDED", "ended")):
            value = value.replace(word, tasks[name].pk)
    return value


@pytest.mark.parametrize("role", ["needed", "admin"])
@pytest.mark.parametrize(("needed", "method", "path", "body"), VERBS)
def test_a_role_allows_what_is_its_own_and_nothing_above(
    caller: Callable[..., Caller],
    tree: dict[str, HopperInstance],
    tasks: dict[str, Task],
    role: str,
    needed: str,
    method: str,
    path: str,
    body: Any,
) -> None:
    call = method, filled(path, tasks), filled(body, tasks)
    for lower in ROLES[: ROLES.index(needed)]:
        answer = caller(lower, lower, tree["web"]).call(*call)
        assert answer.status_code == 403, answer.content
        assert answer.json()["role"] == needed
    answer = caller("bob", needed if role == "needed" else role, tree["web"]).call(*call)
    assert answer.status_code < 300, answer.content


@pytest.mark.parametrize(("needed", "method", "path", "body"), VERBS)
def test_instances_beside_the_grant_are_not_found(
    caller: Callable[..., Caller],
    tree: dict[str, HopperInstance],
    tasks: dict[str, Task],
    needed: str,
    method: str,
    path: str,
    body: Any,
) -> None:
    eve = caller("eve", "admin", tree["ops"])
    answer = eve.call(method, filled(path, tasks), filled(body, tasks))
    if path == "/tasks" and body == {"title": "x"}:
        assert answer.status_code == 201
    elif path in ("/tasks", "/instances"):
        assert answer.status_code == 400, answer.content
        assert answer.json()["errors"][0]["code"] == "unknown"
    else:
        assert answer.status_code == 404, answer.content


def test_lists_hold_only_what_is_visible_and_count_nothing_else(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance], tasks: dict[str, Task]
) -> None:
    bob = caller("bob", "viewer", tree["web"])
    assert {row["id"] for row in bob.ask("/instances")["results"]} == {"web", "web-run", "run"}
    page = bob.ask("/tasks")
    assert {row["instance_id"] for row in page["results"]} == {"web", "web-run"}
    assert page["count"] == 3
    assert {row["instance_id"] for row in bob.ask("/events")["results"]} == {
        "web",
        "web-run",
        "run",
    }
    assert bob.ask("/status")["tasks"]["total"] == 3
    assert bob.ask("/instances/web/ancestors") == []


def test_an_unassigned_task_is_seen_by_its_creator_and_by_those_who_see_all(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance], tasks: dict[str, Task]
) -> None:
    bob = caller("bob", "worker", tree["web"])
    loose = bob.tell("/tasks", {"title": "mine"}, 201)
    assert bob.ask(f"/tasks/{loose['id']}")["created_by"] == "bob"
    assert bob.tell(f"/tasks/{loose['id']}/status", {"status": "done"})["status"] == "done"
    assert bob.call("GET", f"/tasks/{tasks['loose'].pk}").status_code == 404
    assert caller("carol", "viewer").ask(f"/tasks/{loose['id']}")["title"] == "mine"
    assert (
        caller("dan", "admin", tree["ops"]).call("GET", f"/tasks/{loose['id']}").status_code == 404
    )


def test_a_task_stays_visible_where_it_came_from_and_where_it_is_offered(
    caller: Callable[..., Caller], ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    task = TaskFactory(instance=tree["top"])
    bob = caller("bob", "operator", tree["web"])
    assert bob.call("GET", f"/tasks/{task.pk}").status_code == 404
    offer = ada.tell(f"/tasks/{task.pk}/delegate", {"target_instance_id": "web"}, 201)
    assert offer["status"] == "pending"
    assert bob.ask(f"/tasks/{task.pk}")["offered_to"] == "web"
    assert bob.tell(f"/delegations/{offer['id']}/accept")["status"] == "accepted"
    assert (
        caller("carol", "viewer", tree["ops"])
        .call("POST", f"/delegations/{offer['id']}/accept")
        .status_code
        == 404
    )


def test_a_late_report_by_the_lease_counts_though_the_task_moved_out_of_sight(
    caller: Callable[..., Caller], ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    made = ada.tell(
        "/tasks", {"title": "x", "instance_id": "top", "tags": ["web"], "complexity": 4}, 201
    )
    bob = caller("bob", "worker", tree["web-run"])
    (task,) = bob.tell("/instances/web-run/claim", {"worker": "w"})["tasks"]
    assert task["id"] == made["id"]
    assert ada.call("DELETE", "/instances/web-run?cascade=true").status_code == 204
    assert bob.call("GET", f"/tasks/{task['id']}").status_code == 404
    report = {"token": task["lease"]["token"], "result": 1}
    assert bob.tell(f"/tasks/{task['id']}/complete", report, 410)["code"] == "gone"


def test_a_lease_token_stands_for_its_worker_at_every_interface(
    caller: Callable[..., Caller], ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    ada.tell("/tasks", {"title": "x", "instance_id": "top", "tags": ["web"], "complexity": 4}, 201)
    bob = caller("bob", "worker", tree["web-run"])

    def claim() -> tuple[str, str]:
        (task,) = bob.tell("/instances/web-run/claim", {"worker": "w"})["tasks"]
        return task["id"], task["lease"]["token"]

    task_id, lost = claim()
    hop = ada.ask(f"/tasks/{task_id}/delegations")["delegations"][-1]["id"]
    complete = f"/delegations/{hop}/complete"
    bob.tell(f"/tasks/{task_id}/release", {"token": lost})
    assert bob.tell(complete, {"token": lost, "result": 1}, 409)["code"] == "lease_lost"
    assert bob.call("POST", complete, {"token": "1.made-up"}).status_code == 403
    task_id, token = claim()
    for _ in range(2):
        assert bob.tell(complete, {"token": token, "result": 2})["status"] == "completed"
    eve = caller("eve", "worker", tree["ops"])
    ada.tell(f"/tasks/{task_id}/retry")
    task_id, token = claim()
    escalate = f"/tasks/{task_id}/escalate"
    assert eve.call("POST", escalate, {"token": "1.made-up"}).status_code == 404
    assert eve.tell(escalate, {"token": lost}, 409)["code"] == "lease_lost"
    assert eve.tell(escalate, {"token": token})["worker"] == ""


def test_the_actor_is_taken_from_the_credentials(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance]
) -> None:
    bob = caller("bob", "worker", tree["web"])
    body = {"title": "x", "instance_id": "web", "created_by": "ada", "actor": "ada"}
    assert bob.call("POST", "/tasks", body).status_code == 400
    del body["actor"]
    assert bob.tell("/tasks", body, 201)["created_by"] == "bob"


def test_a_person_has_the_roles_of_his_grants(tree: dict[str, HopperInstance]) -> None:
    user = get_user_model().objects.create_user("bob", password="bob")
    browser = Caller(raise_request_exception=False)
    browser.force_login(user)
    assert browser.ask("/instances")["count"] == 0
    Grant.objects.create(user=user, instance=tree["web"], role="viewer")
    assert browser.ask("/instances")["count"] == 2
    assert browser.call("POST", "/instances/web/pause").status_code == 403
    Grant.objects.create(user=user, instance=None, role="operator")
    assert browser.ask("/instances")["count"] == 5
    assert browser.tell("/instances/web/pause")["status"] == "paused"
