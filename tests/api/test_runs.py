"""A run is started by one request, with its project and tasks: all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from instances.models import HopperInstance, Task
from tests.api.conftest import Caller

TASKS = [
    {"key": "backend", "title": "Build it"},
    {"key": "qa", "title": "Test it", "depends_on": ["backend"], "tags": ["qa"]},
]
RUN = {"project": "shop", "id": "shop-v1", "name": "Shop 1", "tasks": TASKS}

pytestmark = pytest.mark.usefixtures("tree")


def made() -> tuple[int, int]:
    return HopperInstance.objects.count(), Task.objects.count()


def test_project_run_and_tasks_are_made_and_running(ada: Caller) -> None:
    told = ada.tell("/runs", {**RUN, "config": {"max_concurrent_tasks": 2}}, 201)
    project, run, tasks = told["project"], told["instance"], told["tasks"]
    assert (project["name"], project["parent_id"], project["status"]) == ("shop", "top", "running")
    assert (run["scope"], run["instance_type"]) == ("ORCHESTRATION", "ephemeral")
    assert (run["parent_id"], run["status"]) == (project["id"], "running")
    assert run["config"] == {"max_concurrent_tasks": 2}
    assert tasks["qa"]["depends_on"] == [tasks["backend"]["id"]]
    assert {task["instance_id"] for task in tasks.values()} == {"shop-v1"}
    assert told["known"] == []


def test_repeating_it_changes_nothing(ada: Caller) -> None:
    first = ada.tell("/runs", RUN, 201)
    done = first["tasks"]["backend"]["id"]
    ada.tell(f"/tasks/{done}/status", {"status": "done"})
    before = made()
    again = ada.tell("/runs", RUN, 200)
    ids = {name: task["id"] for name, task in first["tasks"].items()}
    assert {name: task["id"] for name, task in again["tasks"].items()} == ids
    assert (again["known"], made()) == (sorted(ids.values()), before)


def test_a_task_more_is_added_to_a_run(ada: Caller) -> None:
    ada.tell("/runs", {**RUN, "tasks": TASKS[:1]}, 201)
    told = ada.tell("/runs", RUN, 201)
    assert told["known"] == [told["tasks"]["backend"]["id"]]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"tasks": [*TASKS, {"key": "docs"}]}, 400, "tasks.2.title"),
        ({"tasks": [*TASKS, {"key": "qa", "title": "x"}]}, 400, "tasks.2.key"),
        ({"tasks": TASKS[::-1]}, 400, "tasks.0.depends_on"),
        ({"tasks": [{**TASKS[0], "depends_on": ["task-0"]}]}, 400, "tasks.0.depends_on"),
        ({"tasks": [{**TASKS[0], "instance_id": "web"}]}, 400, "tasks.0.instance_id"),
        ({"config": {"lease_seconds": "x"}}, 400, "config.lease_seconds"),
        ({"id": "web-run"}, 409, "web-run"),
        ({"id": "Not A Slug"}, 400, "id"),
        ({"parent_id": "nowhere"}, 400, "parent_id"),
        ({"project": "web", "parent_id": "ops"}, 400, "parent_id"),
    ],
)
def test_a_refused_run_leaves_nothing(
    ada: Caller, change: dict[str, Any], status: int, words: str
) -> None:
    before = made()
    assert words in str(ada.tell("/runs", {**RUN, **change}, status))
    assert made() == before


def test_a_failure_in_the_middle_leaves_nothing(
    ada: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    from instances.lifecycle import runs

    real, calls = runs.create_task, []

    def second_fails(*given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise RuntimeError("the machine is gone")
        return real(*given, **named)

    monkeypatch.setattr(runs, "create_task", second_fails)
    before = made()
    assert ada.call("POST", "/runs", RUN).status_code == 500
    assert (made(), len(calls)) == (before, 2)


def test_a_closed_run_is_not_started_again(ada: Caller) -> None:
    ada.tell("/runs", RUN, 201)
    ada.tell("/instances/shop-v1/close", {"force": True})
    assert "closed" in ada.tell("/runs", RUN, 409)["detail"]


def test_a_project_is_found_by_its_name_in_any_case(ada: Caller) -> None:
    told = ada.tell("/runs", {**RUN, "project": " WEB"}, 201)
    assert told["project"]["id"] == "web"


def test_a_run_needs_an_operator_and_a_new_project_an_admin(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance]
) -> None:
    before = made()
    worker = caller("w", "worker", tree["web"])
    operator = caller("o", "operator", tree["web"])
    assert worker.tell("/runs", {**RUN, "project": "web"}, 403)["role"] == "operator"
    assert operator.tell("/runs", RUN, 403)["role"] == "admin"
    # The other project is invisible: its name is one for a project of one's own.
    assert operator.tell("/runs", {**RUN, "project": "ops"}, 403)["role"] == "admin"
    assert made() == before
    assert operator.tell("/runs", {**RUN, "project": "web"}, 201)["project"]["id"] == "web"


def test_one_run_started_by_several_at_once_is_one_run(ada: Caller) -> None:
    def start(_: int) -> int:
        try:
            return int(ada.call("POST", "/runs", RUN).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as threads:
        codes = sorted(threads.map(start, range(3)))
    assert codes[0] in (200, 201)
    assert set(codes) <= {200, 201, 409}
    assert Task.objects.count() == 2
    assert HopperInstance.objects.filter(name="shop").count() == 1
