"""The one reason why each unfinished task waits, and who can move it (R26)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q
from django.utils import timezone

from instances.choices import STARTED, TERMINAL, InstanceStatus, TaskStatus
from instances.config import queue_settings
from instances.loads import running_at
from instances.models import Task, TaskDependency
from instances.models.instance import Lineal, lineages
from instances.states import EXECUTING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

Reason = dict[str, Any]

_ADMINISTRATIVE = {
    InstanceStatus.CREATED: "NotStarted",
    InstanceStatus.STARTING: "NotStarted",
    InstanceStatus.PAUSED: "Paused",
    InstanceStatus.STOPPING: "Stopped",
    InstanceStatus.STOPPED: "Stopped",
    InstanceStatus.ERROR: "Error",
}
_OPERATORS = "an operator"


def waiting_on(tasks: Sequence[Task]) -> dict[str, Reason]:
    """Return {code, detail, object, since, until, who} for each unfinished task of a page.

    The number of queries does not grow with the page.
    """
    unfinished = [task for task in tasks if not task.is_terminal]
    places = {str(pk) for task in unfinished for pk in (task.instance_id, task.offered_to_id) if pk}
    known = _Known(unfinished, lineages(places))
    return {task.pk: _reason(task, known) for task in unfinished}


class _Known:
    """What a page's reasons are derived from, read once."""

    def __init__(self, tasks: Sequence[Task], lines: Mapping[str, list[Lineal]]) -> None:
        self.now = timezone.now()
        self.lines = lines
        self.running = running_at(lines)
        unready = [task.pk for task in tasks if not task.ready]
        self.predecessors: dict[str, list[str]] = {}
        for task_id, before in (
            TaskDependency.objects.filter(task__in=unready)
            .exclude(depends_on__status=TaskStatus.DONE)
            .order_by("id")
            .values_list("task_id", "depends_on_id")
            if unready
            else ()
        ):
            self.predecessors.setdefault(task_id, []).append(before)
        parents = [task.pk for task in tasks if task.decomposed]
        done = Count("pk", filter=Q(status__in=TERMINAL))
        self.children = {
            pk: (total, finished)
            for pk, total, finished in (
                Task.objects.filter(parent__in=parents)
                .exclude(status=TaskStatus.CANCELLED)
                .order_by()
                .values_list("parent_id")
                .annotate(Count("pk"), done=done)
                if parents
                else ()
            )
        }

    def hindrance(self, instance_id: str, noun: str) -> Reason | None:
        """Return the administrative reason that an instance or an ancestor of it gives."""
        *above, own = self.lines[instance_id]
        if word := _ADMINISTRATIVE.get(InstanceStatus(own.status)):
            return _say(f"{noun}{word}", f"{own.id} is {own.status}", own.id)
        for lineal in reversed(above):
            word = _ADMINISTRATIVE.get(InstanceStatus(lineal.status))
            if word and word != "NotStarted":
                detail = f"{lineal.id}, above {own.id}, is {lineal.status}"
                return _say(f"Ancestor{word}", detail, lineal.id)
        return None


def _reason(task: Task, known: _Known) -> Reason:
    """Return the reason of the highest tier that applies."""
    stored = _stored(task, known)
    if task.status == TaskStatus.BLOCKED:
        return stored or _say("InputRequired", "blocked by hand", task.pk)
    if task.instance_id is None and task.offered_to_id is None:
        if task.status in STARTED:
            return _in_hands(task)
        return _say("Unassigned", "no instance holds it", task.pk, since=task.created_at)
    if task.status in STARTED:
        return stored if task.decomposed and stored else _in_hands(task)
    holder = str(task.instance_id or task.offered_to_id)
    hindered = known.hindrance(holder, "Holder")
    if hindered:
        return hindered
    if task.offered_to_id and known.hindrance(task.offered_to_id, "Target"):
        detail = f"{task.offered_to_id} does not run, so nobody answers there"
        return _say("TargetPaused", detail, task.offered_to_id)
    if task.route_due:
        return _say("Routing", f"{holder} is about to place it", holder, who="the router")
    return stored or _at_rest(task, known)


def _stored(task: Task, known: _Known) -> Reason | None:
    """Return the reason that the transition stored, if it still holds."""
    code = task.waiting_code
    if not code:
        return None
    if code == "RetryBackoff" and task.retry_at is not None and task.retry_at <= known.now:
        return None
    stored = task.waiting
    detail = stored.get("detail", "")
    if code == "WaitingChildren":
        total, done = known.children.get(task.pk, (0, 0))
        detail = f"children({done}/{total})"
    return {
        "code": code,
        "detail": detail,
        "object": stored.get("object") or task.instance_id or task.pk,
        "since": stored.get("since"),
        "until": stored.get("until"),
        "who": stored.get("who") or (_OPERATORS if task.status == "blocked" else "nobody needs to"),
    }


def _in_hands(task: Task) -> Reason:
    until = task.lease_expires_at
    return _say(
        "InProgress",
        f"{task.worker or 'somebody'} works on it",
        task.worker or task.pk,
        since=task.started_at or task.updated_at,
        until=until,
        who=task.worker,
    )


def _at_rest(task: Task, known: _Known) -> Reason:
    """Return why a pending task that its holder keeps is not yet in anybody's hands."""
    holder = known.lines[str(task.instance_id)][-1]
    if not task.ready:
        before = known.predecessors.get(task.pk, [])
        names = ", ".join(before[:5])
        return _say("WaitingDependencies", f"after {names}", before[0] if before else task.pk)
    if task.not_before is not None and task.not_before > known.now:
        return _say("NotBefore", "not yet", task.pk, until=task.not_before)
    if holder.scope not in EXECUTING:
        return _say(
            "AwaitingTriage",
            f"nothing below {holder.id} matches it: delegate it by hand",
            holder.id,
            since=task.created_at,
        )
    if holder.scope != "ORCHESTRATION":
        return _say(
            "ManualQueue",
            f"waits at {holder.id} for somebody to take it",
            holder.id,
            since=task.created_at,
            who="a person",
        )
    most = queue_settings(holder.scope, holder.config).max_concurrent_tasks
    if known.running.get(holder.id, 0) >= most:
        return _say("AtCapacity", f"{most} of {most} places are taken", holder.id)
    return _say(
        "ReadyForWorker",
        f"waits at {holder.id} for a worker",
        holder.id,
        since=task.created_at,
        who="a worker",
    )


def _say(
    code: str,
    detail: str,
    subject: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    who: str = _OPERATORS,
) -> Reason:
    return {
        "code": code,
        "detail": detail,
        "object": subject,
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "who": who,
    }
