"""An edit takes a field or refuses it with the way to go; it drops nothing (R19)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from instances.models import Task
from tests.factories import TaskFactory

if TYPE_CHECKING:
    from instances.models import HopperInstance
    from tests.api.conftest import Caller

Tree = dict[str, "HopperInstance"]


@pytest.mark.parametrize(
    ("field", "value", "way"),
    [
        ("status", "banana", "POST /tasks/TASK/status"),
        ("status", "open", "POST /tasks/TASK/status"),
        ("status", "done", "POST /tasks/TASK/status"),
        ("instance_id", "ops", "POST /tasks/TASK/delegate"),
        ("parent_id", "task-0a", "when the task is created"),
        ("unique_key", "other", "when the task is created"),
    ],
)
def test_a_task_refuses_another_value_of_what_no_edit_changes(
    ada: Caller, tree: Tree, field: str, value: str, way: str
) -> None:
    task = TaskFactory(instance=tree["web-run"], unique_key="mine")
    answer = ada.call("PATCH", f"/tasks/{task.pk}", {field: value, "title": "new"})
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (400, field)
    assert way.replace("TASK", task.pk) in error["detail"]
    assert Task.objects.get(pk=task.pk).title != "new"


def test_a_task_and_an_instance_as_read_can_be_sent_back(ada: Caller, tree: Tree) -> None:
    task = TaskFactory(instance=tree["web-run"])
    for path in (f"/tasks/{task.pk}", "/instances/web-run"):
        read = ada.ask(path)
        answer = ada.call("PATCH", path, read)
        assert answer.status_code == 200, answer.json()
        assert ada.ask(path)["status"] == read["status"]


def test_an_instance_refuses_another_type(ada: Caller, tree: Tree) -> None:
    answer = ada.call("PATCH", "/instances/web", {"instance_type": "ephemeral"})
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (400, "instance_type")
    assert error["detail"] == "is persistent and is set when the instance is created"


@pytest.mark.parametrize("name", ["metadata", "blocks", "delegated_by", "banana"])
def test_fields_of_older_clients_are_refused_by_name(ada: Caller, tree: Tree, name: str) -> None:
    problem = ada.tell("/tasks", {"title": "x", name: {}}, 400)
    (error,) = problem["errors"]
    assert (error["field"], error["code"]) == (name, "unknown")
    hints: dict[str, Any] = {"metadata": "context", "blocks": "depends_on", "banana": "known here"}
    assert hints.get(name, "credentials") in error["detail"]


def test_the_sender_of_a_delegation_is_no_field(ada: Caller, tree: Tree) -> None:
    task = TaskFactory(instance=tree["top"])
    body = {"target_instance_id": "web", "delegated_by": "eve"}
    (error,) = ada.tell(f"/tasks/{task.pk}/delegate", body, 400)["errors"]
    assert (error["field"], "credentials" in error["detail"]) == ("delegated_by", True)


def test_scopes_are_taken_in_any_case(ada: Caller, tree: Tree) -> None:
    made = ada.tell("/instances", {"name": "x", "scope": "project", "parent_id": "top"}, 201)
    assert made["scope"] == "PROJECT"
    found = ada.ask("/instances", scope="Project", ordering="id")["results"]
    assert [row["id"] for row in found] == ["ops", "web", "x"]
    answer = ada.call("PATCH", "/instances/x", {"scope": "project"})
    assert answer.status_code == 200
    ada.tell("/instances", {"name": "y", "scope": "banana"}, 400)
