"""Attention groups waiting tasks by the person who can move them; the dashboard counts the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from django.utils import timezone

from delegation.delegator import Delegator
from instances.attention import STALE
from instances.lifecycle.actions import pause_instance
from instances.models import Task
from instances.tasks.questions import NewQuestion, ask
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task, fail_task, heartbeat
from tests.factories import ALICE, InstanceFactory, TaskFactory

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance
    from tests.api.conftest import Caller

pytestmark = pytest.mark.unmeasured

Tree = dict[str, "HopperInstance"]


@pytest.fixture
def waiting(tree: Tree) -> dict[str, str]:
    """One task of each kind that waits for a person, and two that do not; ids by code."""
    asked = TaskFactory(instance=tree["web-run"])
    ask(asked.pk, NewQuestion("MIT or Apache?"), actor=ALICE)
    dead = TaskFactory(instance=tree["web-run"], max_attempts=1)
    token = claim_task(dead.pk, worker="bob", actor=ALICE).token
    fail_task(dead.pk, token=token, error="no disk", actor=ALICE)
    stale = TaskFactory(instance=tree["web"], executor_preference="human")
    set_status(stale.pk, status="in_progress", owner="carl", actor=ALICE)
    row = Task.objects.get(pk=stale.pk)
    Task.objects.filter(pk=stale.pk).update(
        created_at=row.created_at - 2 * STALE, updated_at=row.updated_at - 2 * STALE
    )
    return {
        "InputRequired": asked.pk,
        "DeadLetter": dead.pk,
        "StaleHandWork": stale.pk,
        "Unroutable": _unroutable(tree),
        "ManualQueue": TaskFactory(instance=tree["ops"], executor_preference="human").pk,
        "AwaitingTriage": TaskFactory(instance=tree["top"]).pk,
        "Unassigned": TaskFactory(instance=None).pk,
        "ReadyForWorker": TaskFactory(instance=tree["ops-run"]).pk,
        "InProgress": _taken(tree["web"]),
    }


def _unroutable(tree: Tree) -> str:
    mars = InstanceFactory(scope="PROJECT", parent=tree["top"], name="mars")
    pause_instance(mars.pk, actor=ALICE)
    return str(TaskFactory(instance=tree["top"], project="mars").pk)


def _taken(instance: HopperInstance) -> str:
    task = TaskFactory(instance=instance, executor_preference="human")
    return str(set_status(task.pk, status="in_progress", actor=ALICE).pk)


OTHERS = {"ReadyForWorker", "InProgress"}


def _rows(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["code"]: {**row, "who": g["who"]} for g in answer["groups"] for row in g["tasks"]}


def test_work_that_is_alive_but_does_not_get_on_needs_a_look(tree: Tree, ada: Caller) -> None:
    run = tree["web-run"]
    run.config = {"stalled_seconds": 600}
    run.save()
    task = TaskFactory(instance=run)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        token = claim_task(task.pk, worker="bob", actor=ALICE).token

        def beat(**news: Any) -> bool:
            for _ in range(3):
                clock.shift(200)
                heartbeat(task.pk, token=token, actor=ALICE)
            clock.shift(1)
            heartbeat(task.pk, token=token, **news, actor=ALICE)
            answer = ada.ask("/attention")
            assert answer["counts"] == ada.ask("/status")["attention"]
            return "StalledProgress" in _rows(answer)

        assert beat()
        assert not beat(checkpoint={"step": 1})
        assert beat()
        assert not beat(progress=0.5)
        run.config = {"stalled_seconds": None}
        run.save()
        assert beat() is False


def test_everything_that_waits_for_a_person_is_listed_with_its_next_step(
    ada: Caller, waiting: dict[str, str]
) -> None:
    rows = _rows(ada.ask("/attention"))
    assert {code: row["task_id"] for code, row in rows.items()} == {
        code: pk for code, pk in waiting.items() if code not in OTHERS
    }
    assert all(row["next"]["command"].startswith("hopper ") for row in rows.values())
    asked = rows["InputRequired"]
    assert asked["question"]["text"] == asked["detail"] == "MIT or Apache?"
    assert asked["next"]["command"] == f"hopper task answer {asked['task_id']} --answer TEXT"
    assert {code: row["who"] for code, row in rows.items()} == {
        "InputRequired": "an operator of web-run",
        "DeadLetter": "an operator of web-run",
        "StaleHandWork": "carl",
        "Unroutable": "an operator of top",
        "ManualQueue": "a person at ops",
        "AwaitingTriage": "an operator of top",
        "Unassigned": "a person who takes or delegates the task",
    }


def test_the_dashboard_counts_the_same_set(ada: Caller, waiting: dict[str, str]) -> None:
    counts = ada.ask("/attention")["counts"]
    assert counts == ada.ask("/status")["attention"]
    assert counts["total"] == len(waiting) - len(OTHERS)
    part = ada.ask("/attention", under="ops")
    assert part["counts"] == ada.ask("/status", under="ops")["attention"]
    assert part["counts"]["total"] == len(_rows(part)) == 1


def test_a_person_sees_granted_instances_and_moves_operated_ones(
    caller: Callable[..., Caller], tree: Tree, waiting: dict[str, str]
) -> None:
    viewer = caller("vera", "viewer", tree["web"])
    assert set(_rows(viewer.ask("/attention"))) == {
        "InputRequired", "DeadLetter", "StaleHandWork",
    }  # fmt: skip
    assert viewer.ask("/attention", mine="true")["counts"]["total"] == 0
    operator = caller("otto", "operator", tree["ops"])
    assert set(_rows(operator.ask("/attention", mine="true"))) == {"ManualQueue"}


def test_ready_lists_only_what_a_worker_could_claim_now(
    ada: Caller, tree: Tree, waiting: dict[str, str]
) -> None:
    offered = TaskFactory(instance=tree["ops-run"])
    phase = InstanceFactory(scope="ORCHESTRATION", parent=tree["ops-run"], name="phase")
    Delegator(ALICE).delegate_task(offered.pk, phase.pk)
    paused = InstanceFactory(scope="PROJECT", name="paused")
    TaskFactory(instance=paused, executor_preference="human")
    pause_instance(paused.pk, actor=ALICE)
    rows = ada.ask("/tasks", ready="true")["results"]
    assert {row["id"] for row in rows} == {waiting["ReadyForWorker"], waiting["ManualQueue"]}
    others = {row["id"] for row in ada.ask("/tasks", ready="false")["results"]}
    assert {offered.pk, waiting["AwaitingTriage"], waiting["Unassigned"]} <= others
