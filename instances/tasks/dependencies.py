"""Dependencies between tasks: readiness and failed predecessors (R23)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField, prefetch_related_objects
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from hopper import database
from hopper.actors import SYSTEM
from hopper.errors import Invalid, RuleBroken
from instances.choices import TERMINAL, DependencyRule, TaskStatus as T
from instances.models import Task, TaskDependency
from instances.tasks.archived import archived_done
from instances.tasks.changes import amend_task, change_task, gathered, lock_tasks, rest_task

_LOCKED_AT_ONCE = 100
_DEPENDANTS_AT_ONCE = 1000

MAX_EDGES = 10_000
"""The most predecessors that the tasks of one request may name in all."""


def statuses_of(task_ids: Iterable[str]) -> dict[str, str]:
    """Return the statuses of tasks by id, in the given order. Raises Invalid with unknown ids.

    Leaves out tasks that are done and in the archive: they are met, and no row can point at them.
    """
    wanted = list(dict.fromkeys(task_ids))
    if not wanted:
        return {}
    found = dict(Task.objects.filter(pk__in=wanted).values_list("pk", "status"))
    if unknown := [task_id for task_id in wanted if task_id not in found]:
        met = archived_done(unknown)
        if left := [task_id for task_id in unknown if task_id not in met]:
            raise Invalid.field("depends_on", f"there is no task {', '.join(left)}", "unknown")
    return {task_id: found[task_id] for task_id in wanted if task_id in found}


def require_few_edges(counts: Iterable[int]) -> None:
    """Raise Invalid where the tasks of one request name more than 10,000 predecessors in all."""
    if sum(counts) > MAX_EDGES:
        words = f"at most {MAX_EDGES:,} predecessors in one request"
        raise Invalid.field("depends_on", words, "too_many")


def predecessors(task: Task) -> list[str]:
    """Return the ids of the predecessors of a task, in the given order."""
    before = TaskDependency.objects.filter(task=task).order_by("id")
    return list(before.values_list("depends_on_id", flat=True))


def may_begin(task: Task, before: Iterable[str]) -> bool:
    """Return whether predecessors of these statuses let the task begin (R23)."""
    enough = TERMINAL if task.dependency_rule == DependencyRule.ANY_TERMINAL else (T.DONE,)
    return all(status in enough for status in before)


def add_dependencies(depends_on: Mapping[str, Iterable[str]]) -> None:
    """Write new predecessors of tasks, by the id of the task. Raises RuleBroken for a cycle.

    The caller has locked the edges where one of the tasks has dependants or a parent.
    """
    edges = [(task_id, before) for task_id, its in depends_on.items() for before in its]
    cycle = next(([pk, pk] for pk, before in edges if pk == before), [])
    if not cycle:
        TaskDependency.objects.bulk_create(
            TaskDependency(task_id=task_id, depends_on_id=before) for task_id, before in edges
        )
        cycle = cycle_through({task_id for task_id, _ in edges})
    if cycle:
        words = " > ".join(cycle)
        raise RuleBroken(f"depends_on: that would be a cycle (R23): {words}.", code="cycle")


def set_dependencies(task: Task, depends_on: Iterable[str]) -> None:
    """Set the predecessors of a task, and `ready` on the object, as `add_dependencies`.

    Raises Invalid for unknown predecessors.
    """
    statuses = statuses_of(depends_on)
    had = TaskDependency.objects.filter(task=task)
    had.exclude(depends_on__in=statuses).delete()
    have = set(had.values_list("depends_on_id", flat=True))
    add_dependencies({task.pk: [pk for pk in statuses if pk not in have]})
    task.ready = may_begin(task, statuses.values())


def reevaluate(task_id: str) -> bool:
    """Set `ready` from the present predecessors; return whether a field changed (R23)."""
    return bool(reevaluate_all([task_id]))


def reevaluate_all(task_ids: Iterable[str]) -> int:
    """Set `ready` of tasks from their present predecessors; return how many changed (R23).

    A transaction of its own for each 100 tasks, each under its root. For a task in work or blocked
    for another reason only the flag changes, so that the flag is right when the task comes back. A
    task with an offer, or due, is not blocked until it rests. The sweep looks at such a task again.
    """
    wanted, changed = sorted(set(task_ids)), 0
    for start in range(0, len(wanted), _LOCKED_AT_ONCE):
        with transaction.atomic():
            locked = lock_tasks(wanted[start : start + _LOCKED_AT_ONCE])
            tasks = [task for task in locked if not task.is_terminal]
            before = _statuses_before(tasks)
            now = database.now()
            prefetch_related_objects(tasks, "instance")
            with gathered():
                changed += sum(_judge(task, before[task.pk], now) for task in tasks)
    return changed


def _statuses_before(tasks: Iterable[Task]) -> dict[str, dict[str, str]]:
    """Return for each task the statuses of its predecessors by id."""
    found: dict[str, dict[str, str]] = {task.pk: {} for task in tasks}
    edges = TaskDependency.objects.filter(task__in=found).order_by("depends_on")
    for pk, its, status in edges.values_list("task_id", "depends_on_id", "depends_on__status"):
        found[pk][its] = status
    return found


def _failed(task: Task, before: Mapping[str, str]) -> list[str]:
    """Return the predecessors that have ended and do not let the task begin."""
    return [pk for pk, word in before.items() if word in TERMINAL and not may_begin(task, [word])]


def _judge(task: Task, before: Mapping[str, str], now: datetime) -> bool:
    """Set `ready` of a locked task by the statuses of its predecessors, or block the task (R23)."""
    moving = task.route_due or task.offered_to_id is not None
    stuck = task.status == T.BLOCKED and task.waiting_code == "DependencyFailed"
    failed = _failed(task, before)
    if failed and (stuck or (task.status == T.PENDING and not moving)):
        return _block(task, failed, now)
    ready = may_begin(task, before.values())
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


def reevaluate_dependants(task_ids: Collection[str]) -> None:
    """Update the dependants of tasks: at most 1,000, the sweep does the rest (R23)."""
    if not task_ids:
        return
    # Most tasks have no dependants. So each end pays for this statement, which is not built anew.
    table, marks = TaskDependency._meta.db_table, ", ".join(["%s"] * len(task_ids))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT DISTINCT task_id FROM {table} WHERE depends_on_id IN ({marks})
            ORDER BY task_id LIMIT {_DEPENDANTS_AT_ONCE}""",  # noqa: S608 - names of this code
            list(task_ids),
        )
        found = [task_id for (task_id,) in cursor.fetchall()]
    reevaluate_all(found)


def reevaluate_new(task_ids: Collection[str]) -> None:
    """Update those of the new tasks whose predecessors ended meanwhile or before (R23)."""
    tasks = Task.objects.open().in_bulk(list(task_ids))
    reevaluate_all(
        pk
        for pk, before in _statuses_before(tasks.values()).items()
        if _failed(tasks[pk], before) or may_begin(tasks[pk], before.values()) != tasks[pk].ready
    )


def overlooked() -> tuple[QuerySet[Task, Any], ...]:
    """Return the tasks that were not updated after the end or the reopening of a predecessor.

    These are: tasks that are not ready although all predecessors have ended; resting tasks that are
    not blocked although a predecessor has failed; tasks that are ready, also in work, although a
    predecessor does not satisfy them; and tasks blocked by a predecessor that is no longer failed.
    """
    open_before = Task.objects.open().filter(dependants__task_id__isnull=False)
    waiting = Task.objects.filter(status=T.PENDING, ready=False)
    late = waiting.exclude(dependencies__depends_on__in=open_before)
    of_it = TaskDependency.objects.filter(task=OuterRef("pk"))
    lost = of_it.filter(depends_on__status__in=(T.FAILED, T.CANCELLED))
    resting = waiting.filter(route_due=False, offered_to__isnull=True)
    doomed = resting.filter(Exists(lost), dependency_rule=DependencyRule.DONE)
    any_end = Q(task__dependency_rule=DependencyRule.ANY_TERMINAL)
    met = Q(depends_on__status=T.DONE) | (any_end & Q(depends_on__status__in=TERMINAL))
    unmet = TaskDependency.objects.filter(~met)
    early = Task.objects.open().filter(ready=True, pk__in=unmet.values("task_id"))
    failed = lost.filter(depends_on=OuterRef("named"))
    blocked = Task.objects.filter(status=T.BLOCKED, waiting__code="DependencyFailed")
    named = blocked.annotate(named=Cast(KT("waiting__object"), TextField()))
    return late, doomed, early, named.filter(~Exists(failed))


def cycle_through(task_ids: Collection[str]) -> list[str]:
    """Return the ids of a cycle in which a task would wait for itself, else an empty list.

    A parent waits for its open children. The caller has locked the edges where one of the tasks has
    dependants or a parent. A task without both stands in no cycle.
    """
    awaited = TaskDependency.objects.filter(depends_on=OuterRef("pk"))
    either = Q(parent__isnull=False) | Exists(awaited)
    if not task_ids or not Task.objects.filter(either, pk__in=task_ids).exists():
        return []
    waits: dict[str, set[str]] = {}
    new = set(task_ids)
    while new:
        known = set(waits)
        waits |= {pk: set() for pk in new}
        for pk, before in _all_before(new):
            waits.setdefault(pk, set()).add(before)
            waits.setdefault(before, set())
        children = Task.objects.open().filter(parent__in=waits.keys() - known)
        for pk, parent_id in children.values_list("pk", "parent_id"):
            waits[str(parent_id)].add(pk)
        new = {pk for them in waits.values() for pk in them} - waits.keys()
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        return list(map(str, error.args[1]))
    return []


def _all_before(task_ids: Collection[str]) -> list[tuple[str, str]]:
    """Return all pairs (task, predecessor) along the lines of predecessors of these tasks."""
    table, marks = TaskDependency._meta.db_table, ", ".join(["%s"] * len(task_ids))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH RECURSIVE pair (task_id, depends_on_id) AS (
                SELECT task_id, depends_on_id FROM {table} WHERE task_id IN ({marks})
                UNION
                SELECT d.task_id, d.depends_on_id
                FROM pair p JOIN {table} d ON d.task_id = p.depends_on_id
            )
            SELECT task_id, depends_on_id FROM pair
            """,  # noqa: S608 - table names only
            list(task_ids),
        )
        return list(cursor.fetchall())
