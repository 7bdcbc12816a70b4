"""Dependencies between tasks: readiness and failed predecessors (R23)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, TextField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from hopper import database
from hopper.actors import SYSTEM
from hopper.errors import Invalid, RuleBroken
from instances.choices import TERMINAL, DependencyRule
from instances.choices import TaskStatus as T
from instances.models import Task, TaskDependency
from instances.tasks.changes import amend_task, change_task, lock_task, rest_task

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet


MAX_EDGES = 10_000
"""The most predecessors that the tasks of one request may name in all."""


def require_known(task_ids: Iterable[str]) -> list[str]:
    """Return the ids without repeats, in order. Raises Invalid with the unknown ids."""
    wanted = list(dict.fromkeys(task_ids))
    known = set(Task.objects.filter(pk__in=wanted).values_list("pk", flat=True))
    unknown = [task_id for task_id in wanted if task_id not in known]
    if unknown:
        raise Invalid.field("depends_on", f"there is no task {', '.join(unknown)}", "unknown")
    return wanted


def require_few_edges(counts: Iterable[int]) -> None:
    """Raise Invalid where the tasks of one request name more than 10,000 predecessors in all."""
    if sum(counts) > MAX_EDGES:
        words = f"at most {MAX_EDGES:,} predecessors in one request"
        raise Invalid.field("depends_on", words, "too_many")


def predecessors(task: Task) -> list[str]:
    """Return the ids of the predecessors of a task, in the given order."""
    before = TaskDependency.objects.filter(task=task).order_by("id")
    return list(before.values_list("depends_on_id", flat=True))


def set_dependencies(task: Task, depends_on: list[str]) -> None:
    """Set the predecessors of a task. The caller holds the tree lock if the task has dependants.

    Raises RuleBroken for a cycle.
    """
    if waits_for_itself(task.pk, depends_on):
        raise RuleBroken("depends_on: that would be a cycle (R23).", code="cycle")
    kept = set(depends_on)
    TaskDependency.objects.filter(task=task).exclude(depends_on__in=kept).delete()
    have = set(TaskDependency.objects.filter(task=task).values_list("depends_on_id", flat=True))
    TaskDependency.objects.bulk_create(
        TaskDependency(task=task, depends_on_id=before)
        for before in depends_on
        if before not in have
    )
    met = Task.objects.filter(pk__in=depends_on, status__in=_satisfying(task)).count()
    task.ready = met == len(depends_on)


def reevaluate(task_id: str) -> bool:
    """Set `ready` from the present predecessors, in a transaction of its own (R23).

    Returns whether a field changed. For a task in work or blocked for another reason only the flag
    changes, so that the flag is right when the task comes back. A task with an offer, or due, is
    not blocked until it rests. The sweep looks at such a task again.
    """
    with transaction.atomic():
        task = lock_task(task_id)
        if task.is_terminal:
            return False
        moving = task.route_due or task.offered_to_id is not None
        stuck = task.status == T.BLOCKED and task.waiting_code == "DependencyFailed"
        before = Task.objects.filter(dependants__task=task).order_by("pk")
        statuses = dict(before.values_list("pk", "status"))
        now = database.now()
        enough = _satisfying(task)
        failed = [pk for pk, word in statuses.items() if word in TERMINAL and word not in enough]
        if failed and (stuck or (task.status == T.PENDING and not moving)):
            return _block(task, failed, now)
        ready = all(status in enough for status in statuses.values())
        if stuck:
            task.ready = ready
            rest_task(task, kind="task.unblocked", actor=SYSTEM, now=now)
            return True
        if ready == task.ready:
            return False
        task.ready = ready
        amend_task(task, "task.ready" if ready else "task.waiting", actor=SYSTEM, now=now)
    return True


def _block(task: Task, failed: list[str], now: datetime) -> bool:
    """Block a locked task for its failed predecessors; update their names on a blocked task."""
    detail = f"{', '.join(failed)} ended without being done"
    if task.status == T.BLOCKED and task.waiting.get("detail") == detail:
        return False
    task.ready = False
    task.wait("DependencyFailed", now, detail=detail, object=failed[0])
    if task.status == T.BLOCKED:
        amend_task(task, "", actor=SYSTEM, now=now)
    else:
        change_task(task, T.BLOCKED, actor=SYSTEM, now=now, reason="DependencyFailed")
    return True


def reevaluate_dependants(task_id: str) -> None:
    """Update every dependant of this task, each under its own root."""
    dependants = TaskDependency.objects.filter(depends_on_id=task_id).order_by("task_id")
    for dependant_id in dependants.values_list("task_id", flat=True):
        reevaluate(dependant_id)


def overlooked() -> tuple[QuerySet[Task, Any], ...]:
    """Return the tasks that were not updated after the end or the reopening of a predecessor.

    These are: tasks that are not ready although all predecessors satisfy them; tasks that are
    ready, also in work, although a predecessor does not satisfy them; and tasks blocked by a
    predecessor that is no longer failed.
    """
    open_before = Task.objects.open().filter(dependants__task_id__isnull=False)
    waiting = Task.objects.filter(status=T.PENDING, ready=False)
    late = waiting.exclude(dependencies__depends_on__in=open_before)
    any_end = Q(task__dependency_rule=DependencyRule.ANY_TERMINAL)
    met = Q(depends_on__status=T.DONE) | (any_end & Q(depends_on__status__in=TERMINAL))
    unmet = TaskDependency.objects.filter(~met)
    early = Task.objects.open().filter(ready=True, pk__in=unmet.values("task_id"))
    failed = TaskDependency.objects.filter(
        task=OuterRef("pk"),
        depends_on=OuterRef("named"),
        depends_on__status__in=(T.FAILED, T.CANCELLED),
    )
    blocked = Task.objects.filter(status=T.BLOCKED, waiting__code="DependencyFailed")
    named = blocked.annotate(named=Cast(KT("waiting__object"), TextField()))
    return late, early, named.filter(~Exists(failed))


def _satisfying(task: Task) -> tuple[T, ...]:
    """Return the final statuses of a predecessor that let the task begin (R23)."""
    return TERMINAL if task.dependency_rule == DependencyRule.ANY_TERMINAL else (T.DONE,)


def waits_for_itself(task_id: str, depends_on: Iterable[str]) -> bool:
    """Return whether a task with these predecessors would wait for itself.

    Parents count as waiting for their children. The caller holds the tree lock if the task has
    dependants. Where it has neither dependants nor a parent, there is no
    cycle.
    """
    awaited = TaskDependency.objects.filter(depends_on=task_id)
    if not awaited.exists() and not Task.objects.filter(pk=task_id, parent__isnull=False).exists():
        return False
    frontier, seen = set(depends_on), set(depends_on)
    while frontier:
        if task_id in frontier:
            return True
        after = TaskDependency.objects.filter(task__in=frontier)
        children = Task.objects.open().filter(parent__in=frontier)
        frontier = set(after.values_list("depends_on_id", flat=True))
        frontier |= set(children.values_list("pk", flat=True))
        frontier -= seen
        seen |= frontier
    return False
