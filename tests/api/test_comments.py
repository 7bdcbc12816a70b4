"""Comments stand beside a task, and a due date asks for attention; neither changes its way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from instances.models import HopperInstance, Task
from instances.tasks.ending import cancel_task
from instances.tasks.worker import claim_task
from tests.api.conftest import Caller
from tests.factories import ALICE, TaskFactory

Tree = dict[str, HopperInstance]


def test_comments_are_kept_in_order_with_their_author(
    caller: Callable[..., Caller], tree: Tree
) -> None:
    task = TaskFactory(instance=tree["web-run"])
    ada, bob = caller("ada"), caller("bob", "worker", tree["web"])
    made = ada.tell(f"/tasks/{task.pk}/comments", {"text": "Use the new API."}, 201)
    cancel_task(task.pk, actor=ALICE)
    bob.tell(f"/tasks/{task.pk}/comments", {"text": "Too late."}, 201)
    rows = bob.ask(f"/tasks/{task.pk}/comments")["results"]
    assert [(row["created_by"], row["text"]) for row in rows] == [
        ("ada", "Use the new API."),
        ("bob", "Too late."),
    ]
    assert rows[0] == made
    events = bob.ask(f"/tasks/{task.pk}/events", kind="task.commented")["results"]
    assert [event["data"]["comment"] for event in events] == [row["id"] for row in rows]


@pytest.mark.parametrize("text", ["", "  ", None, 7])
def test_a_comment_has_words(ada: Caller, tree: Tree, text: Any) -> None:
    task = TaskFactory(instance=tree["web"])
    problem = ada.tell(f"/tasks/{task.pk}/comments", {"text": text}, 400)
    assert problem["errors"][0]["field"] == "text"


def test_comments_need_the_rights_of_their_task(caller: Callable[..., Caller], tree: Tree) -> None:
    path = f"/tasks/{TaskFactory(instance=tree['web']).pk}/comments"
    viewer, other = caller("v", "viewer", tree["web"]), caller("o", "admin", tree["ops"])
    assert viewer.ask(path)["results"] == []
    viewer.tell(path, {"text": "x"}, 403)
    other.tell(path, {"text": "x"}, 404)
    assert other.call("GET", path).status_code == 404


def due(ada: Caller) -> dict[str, dict[str, Any]]:
    groups = ada.ask("/attention")["groups"]
    return {row["task_id"]: {**row, "who": one["who"]} for one in groups for row in one["tasks"]}


def test_a_task_that_is_due_needs_attention_and_keeps_its_way(ada: Caller, tree: Tree) -> None:
    now = timezone.now()
    times = {"late": -1, "soon": 3, "later": 48}
    made = {
        name: TaskFactory(instance=tree["web-run"], due_at=now + timedelta(hours=hours))
        for name, hours in times.items()
    }
    claim_task(made["late"].pk, worker="bob", actor=ALICE)
    rows = due(ada)
    assert {made[name].pk for name in ("late", "soon")} == set(rows)
    late, soon = rows[made["late"].pk], rows[made["soon"].pk]
    assert (late["code"], late["who"]) == ("Overdue", "bob")
    assert (soon["code"], soon["who"]) == ("DueSoon", "an operator of web-run")
    counts = ada.ask("/attention")["counts"]
    assert (counts["overdue"], counts["due_soon"], counts["total"]) == (1, 1, 2)
    assert counts == ada.ask("/status")["attention"]
    assert ada.ask(f"/tasks/{made['soon'].pk}")["waiting_on"]["code"] == "ReadyForWorker"


def test_a_task_that_waits_for_a_person_anyway_is_counted_once(ada: Caller, tree: Tree) -> None:
    late = timezone.now() - timedelta(hours=1)
    triage = TaskFactory(instance=tree["top"], due_at=late)
    assert due(ada)[triage.pk]["code"] == "AwaitingTriage"
    assert ada.ask("/attention")["counts"]["total"] == 1
    cancel_task(triage.pk, actor=ALICE)
    assert due(ada) == {}


def test_the_due_date_is_edited_and_shown(ada: Caller, tree: Tree) -> None:
    task = ada.tell("/tasks", {"title": "x", "due_at": "2026-12-24T12:00:00+01:00"}, 201)
    assert task["due_at"] == "2026-12-24T11:00:00Z"
    answer = ada.call("PATCH", f"/tasks/{task['id']}", {"due_at": None})
    assert answer.json()["due_at"] is None
    assert Task.objects.get(pk=task["id"]).due_at is None
