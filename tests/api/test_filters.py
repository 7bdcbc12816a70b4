"""Lists of tasks and instances answer what was asked for, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from delegation.sweep import sweep
from instances.choices import WaitingCode
from instances.models import HopperInstance, Task
from instances.tasks.ending import cancel_task
from instances.tasks.questions import NewQuestion, ask
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task
from tests.api.conftest import Caller
from tests.factories import ALICE, TaskFactory
from tests.worlds import kept


@pytest.fixture
@kept
def named(tree: dict[str, HopperInstance]) -> dict[str, str]:
    """Tasks by title: their ids."""
    first = TaskFactory(title="first", instance=tree["web"], tags=["a", "b"], priority="low")
    made = [
        first,
        TaskFactory(title="second", instance=tree["web"], tags=["b", "c,d"], priority="urgent"),
        TaskFactory(title="third", instance=tree["ops-run"], tags=["a"], priority="high"),
        TaskFactory(title="after", instance=tree["ops"], depends_on=[first.pk], owner="bob"),
        TaskFactory(title="loose", project="atlantis", source="czarina"),
    ]
    cancelled = TaskFactory(title="gone", instance=tree["web"])
    cancel_task(cancelled.pk, actor=ALICE)
    return {task.title: task.pk for task in [*made, cancelled]}


@pytest.mark.parametrize(
    ("params", "titles"),
    [
        ({"status": ["pending", "cancelled"]}, "first second third after loose gone"),
        ({"status": "cancelled"}, "gone"),
        ({"worker": "bob"}, ""),
        ({"asked_by": "bob"}, ""),
        ({"open": "true"}, "first second third after loose"),
        ({"open": "false"}, "gone"),
        ({"priority": ["low", "high"]}, "first third"),
        ({"tags": ["a", "c,d"]}, "first second third"),
        ({"all_tags": ["a", "b"]}, "first"),
        ({"all_tags": ["c,d"]}, "second"),
        ({"instance_id": "web"}, "first second gone"),
        ({"under": "ops"}, "third after"),
        ({"under": "top"}, "first second third after gone"),
        ({"owner": "bob"}, "after"),
        ({"project": "atlantis"}, "loose"),
        ({"source": "czarina"}, "loose"),
        ({"ready": "true"}, "first second third"),
        ({"ready": "false"}, "after loose"),
        ({"search": "ECON"}, "second"),
        ({"waiting_code": "WaitingDependencies"}, "after"),
        ({"waiting_code": "ManualQueue"}, "first second"),
        ({"waiting_code": "ReadyForWorker"}, "third"),
        ({"waiting_code": "Unassigned"}, "loose"),
        ({"waiting_code": "InProgress"}, ""),
        ({"created_after": "2000-01-01T00:00:00Z", "tags": "a"}, "first third"),
        ({"created_before": "2000-01-01T00:00:00Z"}, ""),
        ({"created_before": "2000-01-01T00:00:00+23:11"}, ""),
        ({"parent_id": "task-0"}, ""),
    ],
)
def test_tasks_are_filtered(
    ada: Caller, named: dict[str, str], params: dict[str, Any], titles: str
) -> None:
    found = ada.ask("/tasks", **params)["results"]
    assert sorted(row["title"] for row in found) == sorted(titles.split())


def test_a_reason_that_is_none_is_refused_with_those_that_are(ada: Caller) -> None:
    answer = ada.get("/api/v1/tasks?waiting_code=Boredom")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "waiting_code")
    assert all(code in answer.json()["detail"] for code in WaitingCode.values)


def test_every_reason_may_be_asked_for(ada: Caller, named: dict[str, str]) -> None:
    for code in WaitingCode.values:
        listed = ada.ask("/tasks", waiting_code=code)["count"]
        assert listed == ada.ask("/status")["waiting"].get(code, 0)


def test_why_says_what_to_do_next(ada: Caller, named: dict[str, str]) -> None:
    ada.tell("/instances/ops-run/pause")
    why = ada.ask(f"/tasks/{named['third']}/why")
    assert why["words"].startswith("HolderPaused: ops-run is paused. Since ")
    assert "Who can move it: an operator of ops-run." in why["words"]
    assert why["next"] == {
        "command": "hopper instance resume ops-run",
        "request": "POST /instances/ops-run/resume",
    }
    assert why["waiting_on"]["since"] is not None
    ada.call(*why["next"]["request"].split(), {})
    assert ada.ask(f"/tasks/{named['third']}/why")["waiting_on"]["code"] == "ReadyForWorker"


def test_work_that_a_crash_left_to_the_sweep_is_shown_as_due(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    run = tree["web-run"]
    first = TaskFactory(instance=run)
    after = TaskFactory(instance=run, depends_on=[first.pk])
    set_status(first.pk, status="done", actor=ALICE)
    Task.objects.filter(pk=after.pk).update(ready=False)
    why = ada.ask(f"/tasks/{after.pk}/why")
    assert (why["waiting_on"]["code"], why["waiting_on"]["who"]) == (
        "WaitingDependencies",
        "the sweep",
    )
    assert why["next"] == {"command": "hopper sweep", "request": f"GET /tasks/{after.pk}/why"}
    sweep()
    assert ada.ask(f"/tasks/{after.pk}/why")["waiting_on"]["code"] == "ReadyForWorker"


def test_why_says_of_a_finished_task_that_it_waits_for_nothing(
    ada: Caller, named: dict[str, str]
) -> None:
    why = ada.ask(f"/tasks/{named['gone']}/why")
    assert (why["words"], why["waiting_on"], why["next"]) == ("the task is cancelled", None, None)


def test_a_pending_offer_says_why_it_has_no_answer(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    task = TaskFactory(instance=tree["web"])
    body = {"target_instance_id": "web-run"}
    offer = ada.tell(f"/tasks/{task.pk}/delegate", body, 201)
    reason = offer["waiting_on"]
    assert (reason["code"], reason["object"]) == ("AwaitingAcceptance", offer["id"])
    assert reason["until"] == offer["expires_at"]
    assert reason == ada.ask(f"/tasks/{task.pk}")["waiting_on"]
    ada.tell("/instances/web-run/pause")
    reason = ada.ask(f"/delegations/{offer['id']}")["waiting_on"]
    assert (reason["code"], reason["object"]) == ("TargetPaused", "web-run")
    assert reason["detail"] == "offered to web-run, but web-run is paused"
    assert ada.ask("/delegations")["results"][0]["waiting_on"] == reason
    ada.tell("/instances/web-run/resume")
    assert ada.tell(f"/delegations/{offer['id']}/accept")["waiting_on"] is None


def test_the_list_says_the_reason_that_the_task_says(ada: Caller, named: dict[str, str]) -> None:
    for row in ada.ask("/tasks")["results"]:
        alone = ada.ask(f"/tasks/{row['id']}")["waiting_on"]
        assert alone == row["waiting_on"]
        if alone is not None:
            assert ada.ask(f"/tasks/{row['id']}/why")["waiting_on"] == alone
            same = ada.ask("/tasks", waiting_code=alone["code"])["results"]
            assert row["id"] in {one["id"] for one in same}
        else:
            assert row["status"] == "cancelled"


@pytest.mark.parametrize(
    ("ordering", "first", "last"),
    [
        ("priority", "second", "first"),
        ("-priority", "first", "second"),
        ("title", "after", "third"),
        ("created_at", "first", "gone"),
        ("-created_at", "gone", "first"),
    ],
)
def test_tasks_are_ordered(
    ada: Caller, named: dict[str, str], ordering: str, first: str, last: str
) -> None:
    rows = ada.ask("/tasks", ordering=ordering)["results"]
    assert (rows[0]["title"], rows[-1]["title"]) == (first, last)


def test_search_by_q_finds_the_same_tasks_as_the_filter(ada: Caller, named: dict[str, str]) -> None:
    assert ada.ask("/tasks/search", q="first") == {
        **ada.ask("/tasks", search="first"),
    }


@pytest.mark.parametrize(
    ("params", "ids"),
    [
        ({"scope": "PROJECT"}, "web ops"),
        ({"root": "true"}, "top"),
        ({"root": "false", "scope": "ORCHESTRATION"}, "web-run ops-run"),
        ({"under": "web"}, "web web-run"),
        ({"parent_id": "top"}, "web ops"),
        ({"search": "WEB"}, "web web-run"),
        ({"name": "web"}, "web"),
        ({"status": "paused"}, ""),
        ({"instance_type": "ephemeral"}, ""),
    ],
)
def test_instances_are_filtered(
    ada: Caller, tree: dict[str, HopperInstance], params: dict[str, Any], ids: str
) -> None:
    found = ada.ask("/instances", **params)["results"]
    assert sorted(row["id"] for row in found) == sorted(ids.split())


def test_the_hierarchy_counts_what_it_does_not_show(ada: Caller, named: dict[str, str]) -> None:
    whole = ada.ask("/instances/top/hierarchy")
    assert [child["id"] for child in whole["children"]] == ["ops", "web"]
    assert whole["subtree_task_counts"]["open"] == 4
    alone = ada.ask("/instances/top/hierarchy", depth=0)
    assert alone["children"] == []
    assert alone["subtree_task_counts"] == whole["subtree_task_counts"]
    assert ada.ask("/instances/ops/hierarchy")["task_counts"]["total"] == 1


def test_a_paused_ancestor_shows_in_status_and_reason(ada: Caller, named: dict[str, str]) -> None:
    ada.tell("/instances/top/pause")
    assert ada.ask("/instances/ops-run")["effective_status"] == "paused"
    assert ada.ask("/instances/ops-run")["status"] == "running"
    reason = ada.ask(f"/tasks/{named['third']}")["waiting_on"]
    assert (reason["code"], reason["object"]) == ("AncestorPaused", "top")
    assert ada.ask("/status")["scopes"]["ORCHESTRATION"] == {"paused": 2}


def test_metrics_and_dashboard_count_the_same(ada: Caller, named: dict[str, str]) -> None:
    assert ada.ask("/instances/web/metrics")["task_counts"]["total"] == 3
    status = ada.ask("/status")
    assert status["tasks"]["total"] == 6
    assert ada.ask("/status", under="ops")["tasks"]["total"] == 2


def test_tasks_are_found_by_their_worker_and_by_who_asked(
    tree: dict[str, HopperInstance], ada: Caller
) -> None:
    held, asked = (TaskFactory(instance=tree["web-run"]).pk for _ in range(2))
    claim_task(held, worker="bob", actor=ALICE)
    token = claim_task(asked, worker="bob", actor=ALICE).token
    ask(asked, NewQuestion("MIT?"), token=token, actor=ALICE)
    for params, expected in (({"worker": "bob"}, held), ({"asked_by": "bob"}, asked)):
        assert [row["id"] for row in ada.ask("/tasks", **params)["results"]] == [expected]
