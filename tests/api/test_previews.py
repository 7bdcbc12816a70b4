"""A preview over HTTP: refused as the action is, seen as far as the caller sees, never kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from instances.lifecycle import preview
from instances.lifecycle.actions import pause_instance
from instances.models import HopperInstance, IdempotencyRecord, Task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task
from instances.tree.locks import lock_trees
from tests.api.conftest import Caller
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.flows.rows import differences, everything

KEY = {"idempotency-key": "key-1"}


@pytest.fixture
def work(tree: dict[str, HopperInstance]) -> dict[str, Task]:
    """Two tasks of `top` at web-run, one of them leased; one at web; all came by delegations."""
    made = {
        name: TaskFactory(instance=tree["top"], tags=["web"], complexity=complexity)
        for name, complexity in (("leased", 5), ("ready", 5), ("manual", 1))
    }
    claim_task(made["leased"].pk, worker="w", actor=ALICE)
    return made


def test_a_preview_of_a_stop_lists_every_row(ada: Caller, work: dict[str, Task]) -> None:
    told = ada.tell("/instances/web/stop", {"preview": True, "force": True, "evacuate": True})
    figures = {"live_children": 1, "unfinished_tasks": 3, "live_leases": 1}
    assert {name: told[name] for name in figures} == figures
    assert (told["refused"], told["summary"], told["hidden"]) == (None, None, 0)
    assert told["counts"] == {
        "instances": {"effectively_stopped": 1, "stopped": 1},
        "tasks": {"due": 2, "lease_revoked": 1, "moved": 2, "put_back": 1, "waits": 3},
        "delegations": {"evacuated": 3, "failed": 3},
        "attempts": {"evicted": 1},
        "waiting_on": {"AncestorStopped": 1, "Routing": 2},
    }
    tasks = {change["id"]: change for change in told["tasks"]}
    moved, back = tasks[work["manual"].pk], tasks[work["leased"].pk]
    assert (moved["before"]["instance_id"], moved["after"]["instance_id"]) == ("web", "top")
    assert moved["what"] == ["moved", "due", "waits"]
    assert back["what"] == ["put_back", "lease_revoked", "waits"]
    assert back["after"]["waiting_on"] == "AncestorStopped"
    (ended,) = [row for row in told["delegations"] if row["task_id"] == work["manual"].pk]
    assert ended["after"] == {"status": "failed", "reason": "evacuated"}


def test_a_preview_of_an_end_shows_the_refusal_or_with_cascade_the_effect(
    ada: Caller, work: dict[str, Task]
) -> None:
    refused = ada.call("DELETE", "/instances/web?preview=true").json()
    assert (refused["live_children"], refused["unfinished_tasks"]) == (1, 3)
    assert (refused["refused"]["code"], refused["tasks"]) == ("not_empty", [])
    told = ada.call("DELETE", "/instances/web?preview=true&cascade=true").json()
    assert told["refused"] is None
    assert told["counts"]["instances"] == {"terminated": 2}
    assert told["counts"]["tasks"]["moved"] == 3
    told = ada.call("DELETE", "/instances/top?preview=true&cascade=true").json()
    assert told["counts"]["tasks"]["unassigned"] == 3
    assert ada.ask("/instances/web")["status"] == "running"


def test_a_cancellation_names_the_tasks_that_end_with_it(
    ada: Caller, work: dict[str, Task]
) -> None:
    parent = work["manual"]
    child = ada.tell("/tasks", {"title": "x", "parent_id": parent.pk}, 201)["id"]
    told = ada.tell(f"/tasks/{parent.pk}/cancel", {"preview": True, "reason": "no"})
    assert told["task_id"] == parent.pk
    assert {change["id"] for change in told["tasks"]} == {parent.pk, child}
    assert told["counts"]["tasks"] == {"cancelled": 2}
    assert told == ada.call("DELETE", f"/tasks/{parent.pk}?preview=true").json() | {
        "tasks": told["tasks"]
    }
    alone = ada.tell(f"/tasks/{child}/cancel", {"preview": True})
    words = {change["id"]: change["what"] for change in alone["tasks"]}
    assert words[parent.pk][0] == "returned"


def test_a_close_returns_the_summary(ada: Caller, tree: dict[str, HopperInstance]) -> None:
    run = InstanceFactory(
        scope="ORCHESTRATION", name="run", parent=tree["web"], instance_type="ephemeral"
    )
    task = TaskFactory(instance=run)
    assert ada.tell("/instances/run/close", {"preview": True}, 409)["open_tasks"] == [task.pk]
    told = ada.tell("/instances/run/close", {"preview": True, "force": True})
    assert told["summary"]["cancelled"] == [task.pk]
    assert told["counts"]["tasks"] == {"cancelled": 1}
    assert ada.tell("/instances/run/close", {"force": True})["cancelled"] == [task.pk]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/instances/new/stop", {"force": True}),
        ("/instances/web/close", {}),
        ("/tasks/DONE/cancel", {}),
        ("/instances/nowhere/stop", {}),
        ("/instances/web/stop", {"force": "yes"}),
    ],
)
def test_a_preview_refuses_all_that_the_act_refuses(
    ada: Caller, tree: dict[str, HopperInstance], path: str, body: dict[str, Any]
) -> None:
    InstanceFactory(scope="PROJECT", name="new", parent=tree["top"], running=False)
    done = set_status(TaskFactory(instance=tree["web"]).pk, status="done", actor=ALICE)
    path = path.replace("DONE", done.pk)
    asked = ada.call("POST", path, {**body, "preview": True})
    refused = ada.call("POST", path, body)
    assert asked.status_code in (400, 404, 409, 422)
    assert (asked.status_code, asked.json()) == (refused.status_code, refused.json())


@pytest.mark.parametrize("path", ["/instances/web/stop", "/tasks/READY/cancel"])
def test_a_preview_writes_nothing_and_leaves_its_key_for_the_action(
    ada: Caller, work: dict[str, Task], path: str
) -> None:
    path = path.replace("READY", work["ready"].pk)
    before = everything()
    first = ada.tell(path, {"preview": True}, **KEY)
    assert differences(before, everything()) == {}
    assert ada.tell(path, {}, **KEY) != first
    assert IdempotencyRecord.objects.count() == 1


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("worker", "/instances/web/stop", 403),
        ("operator", "/instances/web/stop", 200),
        ("worker", "/tasks/READY/cancel", 403),
        ("operator", "/tasks/READY/cancel", 200),
    ],
)
def test_a_preview_takes_the_role_of_the_action(
    caller: Callable[..., Caller], work: dict[str, Task], role: str, path: str, status: int
) -> None:
    bob = caller("bob", role, HopperInstance.objects.get(pk="web"))
    bob.tell(path.replace("READY", work["ready"].pk), {"preview": True}, status)


def test_rows_that_the_caller_may_not_see_are_only_counted(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance]
) -> None:
    parent = TaskFactory(instance=tree["ops"])
    child = TaskFactory(instance=tree["web-run"], parent_id=parent.pk)
    bob = caller("bob", "operator", tree["web"])
    told = bob.tell(f"/tasks/{child.pk}/cancel", {"preview": True})
    assert [change["id"] for change in told["tasks"]] == [child.pk]
    assert told["hidden"] == 1
    assert parent.pk not in str(told)


def test_a_preview_of_the_present_state_changes_nothing(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    ada.tell("/instances/ops/stop", {})
    told = ada.tell("/instances/ops/stop", {"preview": True})
    assert (told["instances"], told["tasks"], told["counts"]["instances"]) == ([], [], {})
    pause_instance("web", actor=ALICE)
    told = ada.tell("/instances/web/stop", {"preview": True})
    assert told["instances"][0]["before"]["status"] == "paused"


@pytest.mark.postgres
def test_a_preview_does_not_wait_long_for_somebody_elses_change(
    ada: Caller, work: dict[str, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "LONGEST_WAIT_SECONDS", 1)
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                lock_trees("web")
                held.set()
                over.wait(60)
        finally:
            connection.close()

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(60)
    try:
        busy = ada.call("POST", "/instances/web/stop", {"preview": True})
        assert (busy.status_code, busy["Retry-After"]) == (503, "1")
    finally:
        over.set()
        other.join()
    assert ada.tell("/instances/web/stop", {"preview": True})["unfinished_tasks"] == 3
