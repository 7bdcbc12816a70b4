"""The page of what waits for a person, grouped by the person who can move it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect

from delegation.models import TaskDelegation
from delegation.pages.acting import task_verbs
from delegation.pages.calls import Refused
from delegation.pages.verbs import TASK_VERBS
from delegation.pages.visit import Visit, page
from hopper.errors import Invalid
from instances.api.permissions import held_tasks, visible_instances
from instances.attention import Attention
from instances.models import Task
from scopes.models import RoutingDecision

MOST = 200
"""The most tasks on the page."""

KIND_WORDS = {
    "blocked": "blocked",
    "failed": "failed",
    "awaiting_triage": "to triage",
    "manual_queue": "to take",
    "unassigned": "unassigned",
    "stale_hand_work": "untouched for a day",
    "stalled_progress": "without progress",
    "overdue": "overdue",
    "due_soon": "due soon",
}
"""The kinds of tasks in the words of the page."""

OFFERED = ("answer", "take", "done", "delegate", "route", "open", "retry", "discard")
"""The verbs that the page offers beside a task. The task's own page has all."""


@page
def attention(visit: Visit) -> HttpResponse:
    """Show what waits for a person; with `mine`, only what the person may move.

    With `kind` only the tasks of that kind. A POST retries or discards all tasks that it names.
    Raises Invalid for another kind.
    """
    if visit.request.method == "POST":
        return _together(visit)
    mine, kind = "mine" in visit.request.GET, visit.request.GET.get("kind", "")
    if kind and kind not in KIND_WORDS:
        raise Invalid.field("kind", f"must be one of {', '.join(KIND_WORDS)}")
    waiting = Attention(
        held_tasks(visit.actor, movable=mine), visible_instances(visit.actor, movable=mine)
    )
    groups = waiting.groups(MOST, kind)
    for group in groups:
        group["title"] = _sentence(group["who"])
        group["number"] = len(group["tasks"]) + len(group["instances"])
    told = [one for group in groups for one in group["tasks"]]
    tasks = Task.objects.in_bulk([one["task_id"] for one in told])
    refused = refusals_of([pk for pk, task in tasks.items() if task.status == "blocked"], visit)
    for one in told:
        task = tasks[one["task_id"]]
        verbs = {verb.name: verb for verb in task_verbs(visit, task)}
        one["verbs"] = [verbs[name] for name in OFFERED if name in verbs]
        one["refusals"] = refused.get(task.pk, [])
        one["may_answer"] = one["question"] is not None and _may_answer(visit, task)
    counts = waiting.counts()
    if not mine:
        visit.attention = counts["total"]  # The frame need not count again.
    return visit.show(
        "pages/attention.html",
        groups=groups,
        counts=counts,
        kinds=[(one, words, counts[one]) for one, words in KIND_WORDS.items() if counts[one]],
        kind=kind,
        shown=told,
        cut=len(told) >= MOST,
        mine=mine,
    )


def _together(visit: Visit) -> HttpResponse:
    """Retry or discard each named task by the call of the REST interface; then show the page."""
    sent = visit.request.POST
    verb = TASK_VERBS["discard" if "discard" in sent else "retry"]
    ids = sent.getlist("task")[:MOST]
    done = 0
    for pk in ids:
        try:
            verb.call(pk, QueryDict()).of(visit)
        except Refused:
            continue
        done += 1
    left = len(ids) - done
    words = f"{verb.title}: {done} done."
    messages.success(visit.request, f"{words} {left} refused." if left else words)
    return redirect(visit.request.get_full_path())


def _sentence(who: str) -> str:
    """Return words with a capital letter, the name of a person or worker as it is."""
    return who[0].upper() + who[1:] if who.partition(" ")[0] in ("a", "an", "the") else who


def _may_answer(visit: Visit, task: Task) -> bool:
    places: list[Any] = [task.instance_id, task.offered_to_id]
    own = task.instance_id is None and task.created_by_id == visit.actor.id
    return own or visit.may("operator", places)


def refusals_of(task_ids: Iterable[str], visit: Visit) -> dict[str, list[dict[str, Any]]]:
    """Return {who, why, at} of each refusal by visible instances, by task; two queries."""
    ids = list(task_ids)
    if not ids:
        return {}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    offers = TaskDelegation.objects.filter(task__in=ids, status="rejected").order_by("completed_at")
    for offer in offers:
        if offer.target_instance_id in visit.places:
            why = offer.rejection_reason or offer.reason
            told = {"who": offer.target_instance_id, "why": why, "at": offer.completed_at}
            found[offer.task_id].append(told)
    for row in RoutingDecision.objects.filter(task__in=ids, verdict="refuse").order_by(
        "created_at"
    ):
        if row.instance_id in visit.places:
            why = "; ".join(map(str, row.reasons)) or row.code
            told = {"who": row.instance_id, "why": why, "at": row.created_at}
            found[row.task_id].append(told)
    return found
