"""An actor is its id: rights follow the id, and the name beside it is only read by people."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from hopper.actors import Actor
from instances.models import AgentToken, Grant, HopperInstance, Lesson, Task
from instances.tasks.worker import claim_task
from instances.tree.shape import create_instance
from tests.api.conftest import Caller
from tests.factories import TaskFactory

pytestmark = pytest.mark.unmeasured


def token(name: str, *options: str) -> Caller:
    """Return a caller with a new token of this name."""
    out = io.StringIO()
    call_command("hopper_token", "create", name, *options, stdout=out)
    client = Caller(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {out.getvalue().splitlines()[1].strip()}")
    return client


@pytest.fixture
def successor(tree: dict[str, HopperInstance]) -> tuple[str, str, Caller]:
    """An unassigned task and a lesson of a revoked token, and a new token of the same name."""
    first = token("temp", "--instance", "web")
    task = first.tell("/tasks", {"title": "mine", "unique_key": "k"}, 201)
    assert first.ask(f"/tasks/{task['id']}")["created_by"] == "temp"
    lesson = first.tell("/lessons", {"title": "learnt", "task_id": task["id"]}, 201)
    call_command("hopper_token", "revoke", "temp", stdout=io.StringIO())
    assert first.call("GET", "/tasks").status_code == 401
    return task["id"], lesson["id"], token("temp", "--instance", "ops", "--role", "operator")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/tasks/TASK", None),
        ("GET", "/tasks/TASK/events", None),
        ("GET", "/tasks/TASK/why", None),
        ("PATCH", "/tasks/TASK", {"title": "taken"}),
        ("POST", "/tasks/TASK/cancel", {}),
        ("DELETE", "/tasks/TASK", None),
        ("POST", "/tasks/TASK/status", {"status": "done"}),
        ("POST", "/tasks/TASK/delegate", {"target_instance_id": "ops"}),
        ("POST", "/tasks/TASK/decompose", {"children": [{"title": "x"}]}),
        ("GET", "/lessons/LESSON", None),
    ],
)
def test_a_later_token_of_the_same_name_reaches_nothing_of_the_earlier_one(
    successor: tuple[str, str, Caller], method: str, path: str, body: Any
) -> None:
    task_id, lesson_id, temp = successor
    path = path.replace("TASK", task_id).replace("LESSON", lesson_id)
    assert temp.call(method, path, body).status_code == 404
    assert Task.objects.get(pk=task_id).title == "mine"
    assert Task.objects.get(pk=task_id).status == "pending"


def test_lists_and_keys_of_the_later_token_know_nothing_of_the_earlier_one(
    successor: tuple[str, str, Caller],
) -> None:
    task_id, _, temp = successor
    assert temp.ask("/tasks")["count"] == 0
    assert task_id not in {row["task_id"] for row in temp.ask("/events")["results"]}
    assert temp.ask("/lessons")["count"] == 0
    own = temp.tell("/tasks", {"title": "own", "unique_key": "k"}, 201)
    assert own["id"] != task_id
    assert [row["id"] for row in temp.ask("/tasks")["results"]] == [own["id"]]


def test_history_keeps_the_name_and_the_id(successor: tuple[str, str, Caller], ada: Caller) -> None:
    task_id, _, temp = successor
    temp.tell("/tasks", {"title": "own", "instance_id": "ops"}, 201)
    rows = [row for row in ada.ask("/events")["results"] if row["actor"] == "temp"]
    assert {row["task_id"] == task_id for row in rows} == {True, False}
    ids = {row["actor_id"] for row in rows}
    assert len(ids) == 2
    assert all(one.startswith("token:") for one in ids)


def test_a_lease_is_repeated_for_its_actor_and_not_for_the_name(
    tree: dict[str, HopperInstance],
) -> None:
    task = TaskFactory(instance=tree["web-run"])
    one, other = (Actor("bob", {"*": "worker"}, id=pk) for pk in ("token:1", "token:2"))
    first = claim_task(task.pk, worker="w", actor=one)
    assert claim_task(task.pk, worker="w", actor=one).token == first.token
    with pytest.raises(Exception, match="cannot be claimed now"):
        claim_task(task.pk, worker="w", actor=other)


@pytest.mark.parametrize(
    "name", ["system", "Router", "LOCAL", "anybody", "ada", "ADA", "carol", "\uff53ystem"]
)
def test_a_token_takes_no_name_of_an_account_or_of_a_part_of_hopper(
    tree: dict[str, HopperInstance], name: str
) -> None:
    get_user_model().objects.create_user("ada", password="a long word")
    carol = get_user_model().objects.create_user("carol")
    Grant.objects.create(user=carol, instance=tree["web"], role="viewer")
    with pytest.raises(CommandError, match=r"is the name of|account of the name"):
        token(name)
    assert not AgentToken.objects.exists()


def test_a_token_takes_no_name_of_a_live_token_and_leaves_no_account(
    transactional_db: None,
) -> None:
    token("temp")
    with pytest.raises(CommandError, match="revoke it first"):
        token("temp")
    call_command("hopper_token", "revoke", "temp", stdout=io.StringIO())
    assert not get_user_model().objects.exists()
    token("temp")


def test_the_name_of_the_router_is_not_the_router(tree: dict[str, HopperInstance]) -> None:
    made = create_instance(
        "x", scope="PROJECT", parent_id="top", actor=Actor("router", {"*": "admin"})
    )
    assert (made.created_by, made.created_by_id) == ("router", "operator:router")


def test_a_row_without_an_id_belongs_to_nobody(
    tree: dict[str, HopperInstance], ada: Caller
) -> None:
    bob = token("bob", "--instance", "web")
    task = bob.tell("/tasks", {"title": "x"}, 201)
    lesson = bob.tell("/lessons", {"title": "x", "task_id": task["id"]}, 201)
    Task.objects.update(created_by_id="")
    Lesson.objects.update(created_by_id="")
    assert bob.call("GET", f"/tasks/{task['id']}").status_code == 404
    assert bob.call("GET", f"/lessons/{lesson['id']}").status_code == 404
    assert ada.ask(f"/tasks/{task['id']}")["created_by"] == "bob"
