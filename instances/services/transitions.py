"""The change of a task: the table is asked, the row written, the event recorded, once, here."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from django.db.models import DateTimeField, F, Q, Value
from django.db.models.functions import Greatest

from hopper.errors import NotFound
from hopper.locks import lock_rows
from instances.choices import STARTED, TERMINAL, AttemptOutcome
from instances.choices import TaskStatus as T
from instances.models import Attempt, InstanceLoad, Task
from instances.services.history import record, task_event
from instances.services.settling import settle_after_commit
from instances.signals import task_finished
from instances.states import ROUTING, TASK

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet

    from hopper.actors import Actor

_OUTCOMES = {
    T.DONE: AttemptOutcome.COMPLETED,
    T.FAILED: AttemptOutcome.FAILED,
    T.CANCELLED: AttemptOutcome.CANCELLED,
}


def present_task(task_id: str) -> Task:
    """Return the task, read without a lock. Raises NotFound."""
    task = Task.objects.filter(pk=task_id).first()
    if task is None:
        raise NotFound(f"There is no task {task_id}.")
    return task


def lock_task(task_id: str) -> Task:
    """Lock the root of the task's tree, then the tree's open tasks (R6); return the task, fresh.

    Raises NotFound.
    """
    locked = lock_tasks([task_id])
    if not locked:
        raise NotFound(f"There is no task {task_id}.")
    return locked[0]


def lock_tasks(task_ids: Iterable[str]) -> list[Task]:
    """Lock the roots of tasks, then them and all open tasks of their trees, each in id order.

    The whole trees, because an end may reach every open relative, and no task row may be asked for
    after a capacity counter (R6). Returns the wanted tasks, fresh, in id order.
    """
    wanted = set(task_ids)
    root_ids = set(Task.objects.filter(pk__in=wanted).values_list("root_id", flat=True))
    roots = lock_rows(Task, list(root_ids))
    if wanted == root_ids and not any(root.decomposed for root in roots.values()):
        # Trees of one task: the lock on the root was the lock on all.
        return [roots[pk] for pk in sorted(wanted)]
    tree = Task.objects.select_for_update(no_key=True, of=("self",)).filter(
        Q(pk__in=wanted) | (Q(root__in=root_ids) & ~Q(status__in=TERMINAL))
    )
    return [task for task in tree.order_by("pk") if task.pk in wanted]


def change_task(
    task: Task,
    status: str,
    *,
    actor: Actor,
    now: datetime,
    kind: str = "",
    outcome: str = "",
    **data: Any,
) -> None:
    """Take one edge of the task's table on a locked row, write it and its event.

    A live lease ends unless the task stays started; `outcome` says how (by default as the status
    says). A terminal status tells those above (R17), inside the transaction.
    """
    before = task.status
    TASK.require(before, status, task.pk)
    if before in STARTED and status not in STARTED:
        end_attempt(task, outcome or _OUTCOMES.get(T(status), AttemptOutcome.RELEASED), now)
    _enter(task, status, now)
    save_task(task, now)
    kind = kind or f"task.{status}"
    ending = status in TERMINAL
    record(task_event(task, kind, actor=actor, now=now, before=before, ending=ending, **data))
    if ending:
        task_finished.send(Task, task=task, actor=actor, now=now)


def _enter(task: Task, status: str, now: datetime) -> None:
    """Set what belongs to a status."""
    task.status = status
    if status != T.PENDING:
        task.route_due = False
    if status in (T.PENDING, T.BLOCKED):
        task.worker = ""
    if status in TERMINAL:
        task.finished_at = now
        task.wait("")
    if status == T.IN_PROGRESS and task.started_at is None:
        task.started_at = now


def hold_places(tasks: QuerySet[Task]) -> None:
    """Lock the counters of those leased among locked tasks, before several are freed (R6)."""
    places = tasks.filter(lease_token__isnull=False).values_list("instance_id", flat=True)
    lock_rows(InstanceLoad, [str(place) for place in places])


def end_attempt(task: Task, outcome: str, now: datetime, error: str = "") -> None:
    """End the task's live lease, if any: close the attempt, free its place."""
    if task.has_live_lease:
        Attempt.objects.filter(task=task, number=task.attempt, outcome__isnull=True).update(
            outcome=outcome,
            # A change that waited for its locks may have begun before the attempt did (I14).
            ended_at=Greatest(F("started_at"), Value(now, output_field=DateTimeField())),
            error=error or task.error,
        )
        free_capacity(Counter({str(task.instance_id): 1}))
        settle_after_commit(task.instance_id)
    task.end_lease()


def free_capacity(places: Counter[str]) -> None:
    """Give places back to the counters of instances, in id order (R6, kind 5; R22)."""
    for instance_id, count in sorted(places.items()):
        InstanceLoad.objects.filter(pk=instance_id).update(running=F("running") - count)


def rest_or_route(task: Task) -> None:
    """Mark a pending task due for placing where its holder routes work on (R9)."""
    holder = task.instance
    task.route_due = bool(
        holder is not None
        and holder.scope in ROUTING
        and task.status == T.PENDING
        and task.offered_to_id is None
    )


def save_task(task: Task, now: datetime) -> None:
    """Write a locked task whole: nobody else can have changed it meanwhile."""
    task.updated_at = max(now, task.updated_at)
    task.save(force_update=True)
