"""The page of one task: why it waits, what to do about it, and its way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Q
from django.http import HttpResponse

from delegation.models import TaskDelegation
from delegation.pages.acting import task_verbs
from delegation.pages.visit import Visit, page
from delegation.pages.way import way_of
from instances.api.permissions import seen_task, visible_tasks
from instances.choices import TERMINAL, DependencyRule, TaskStatus
from instances.models import Question, Task
from instances.waiting import waiting_on

FAMILY_SHOWN = 200
"""The most children, and the most tasks of another kind, that the page lists."""


@page
def task(visit: Visit, pk: str) -> HttpResponse:
    """Show one task."""
    shown = seen_task(visit.actor, pk)
    verbs = {verb.name: verb for verb in task_verbs(visit, shown)}
    question = Question.objects.open_of(shown)
    offer = TaskDelegation.objects.filter(task=pk, status="pending").first()
    return visit.show(
        "pages/task.html",
        task=shown,
        reason=reason_of(shown, visit),
        question=question,
        may_answer=visit.may("operator", [shown.instance_id, shown.offered_to_id]),
        offer=offer,
        first=None if question else first_verb(shown, verbs),
        verbs=[verb for name, verb in verbs.items() if name != "comment"],
        comments=shown.comments.order_by("id"),
        may_comment="comment" in verbs,
        way=way_of(shown, visit),
        live=shown.attempts.filter(outcome=None).first(),
        **_family(shown, visit),
    )


def reason_of(task: Task, visit: Visit) -> dict[str, Any] | None:
    """Return why a task waits. Words that could name an invisible instance are left out."""
    reason = waiting_on([task]).get(task.pk)
    if reason is None:
        return None
    known = visit.places
    at = [one for one in (task.instance_id, task.offered_to_id) if one]
    named = {"Ancestor": reason["object"]} if reason["code"].startswith("Ancestor") else {}
    if all(one in known for one in (*at, *named.values())):
        return reason
    return {**reason, "detail": "", "who": None}


def first_verb(task: Task, verbs: dict[str, Any]) -> Any:
    """Return the verb that moves the task on, for the button beside the reason."""
    wanted = {
        TaskStatus.PENDING: ("accept", "take", "delegate"),
        TaskStatus.BLOCKED: ("delegate", "open"),
        TaskStatus.FAILED: ("retry",),
    }
    by_hand = ("done",)
    for name in wanted.get(TaskStatus(task.status), by_hand):
        if name in verbs:
            return verbs[name]
    return None


def _family(task: Task, visit: Visit) -> dict[str, Any]:
    """Return the visible tasks around a task: parents, children, predecessors, dependants."""
    before = set(task.dependencies.values_list("depends_on_id", flat=True))
    after = task.dependants.values_list("task_id", flat=True)[:FAMILY_SHOWN]
    seen = visible_tasks(visit.actor).only("title", "status", "instance_id", "parent_id")
    # By indexes of one table: a join would read all tasks.
    around = seen.filter(Q(pk__in={task.parent_id, *before, *after}) | Q(parent=task))
    rows = {one.pk: one for one in around[:FAMILY_SHOWN]}
    children = [one for one in rows.values() if one.parent_id == task.pk]
    return {
        "parent": rows.get(task.parent_id or ""),
        "children": sorted(children, key=lambda one: one.pk),
        "ended_children": _ended(children),
        "before": [one for pk, one in rows.items() if pk in before],
        "after": [
            one for pk, one in rows.items()
            if pk not in before and pk != task.parent_id and one.parent_id != task.pk
        ],
        "any_end": task.dependency_rule == DependencyRule.ANY_TERMINAL,
    }  # fmt: skip


def _ended(tasks: Iterable[Task]) -> int:
    return sum(one.status in TERMINAL for one in tasks)
