"""The verbs that change a task's row: `change_task`, `rest_task`, `move_task`, and `amend_task`.

Only this module, `creating` and `claim_sql` write rows of tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import F, Q

from hopper.database import (
    after_commit,
    engine,
    inserting,
    lock_lines,
    lock_rows,
    updating,
    write_together,
)
from hopper.errors import NotFound
from hopper.protocol import TASK
from instances.allowances import ROUTING
from instances.choices import (
    STARTED,
    TERMINAL,
    AttemptOutcome,
    InstanceStatus,
    QuestionState,
    WaitingCode,
)
from instances.choices import TaskStatus as T
from instances.history import task_event
from instances.models import Attempt, Event, HopperInstance, InstanceLoad, Question, Task
from instances.signals import routing_due, task_finished
from instances.tree.status import settle_after_commit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet

    from hopper.actors import Actor
    from hopper.database.engine import Write

_OUTCOMES = {
    T.DONE: AttemptOutcome.COMPLETED,
    T.FAILED: AttemptOutcome.FAILED,
    T.CANCELLED: AttemptOutcome.CANCELLED,
}
_WITH_ERROR = (AttemptOutcome.FAILED, AttemptOutcome.EXPIRED, AttemptOutcome.CANCELLED)


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


def lock_ending_task(task_id: str) -> Task:
    """Lock a task that may end in this transaction, as `lock_task`; its end is told above (R17).

    No instance moves until the transaction ends (R6, kind 1). Raises NotFound.
    """
    lock_lines(shared=True)
    return lock_task(task_id)


def lock_tasks(task_ids: Iterable[str]) -> list[Task]:
    """Lock the roots of tasks, then the tasks and all open tasks of their trees, in id order.

    Locks whole trees, because an end may reach every open relative, and no task row may be locked
    after a capacity counter (R6). Returns the wanted tasks, read again, in id order.
    """
    wanted = set(task_ids)
    rows = Task.objects.select_for_update(no_key=True, of=("self",))
    above = Task.objects.filter(pk__in=wanted).values_list("root_id", flat=True)
    # One root is found in the locking statement. For several the planner makes a slow plan.
    one = Q(pk=above[:1]) if len(wanted) == 1 else Q(pk__in=set(above))
    roots = list(rows.filter(one).order_by("pk"))
    root_ids = {root.pk for root in roots}
    if wanted == root_ids and not any(root.decomposed for root in roots):
        # Each tree has one task: the locks on the roots are all locks.
        return roots
    # During the wait for a root its child may have become a root (R16). Lock the new root first.
    moved = Task.objects.filter(pk__in=wanted)
    while loose := set(moved.exclude(root__in=root_ids).values_list("root_id", flat=True)):
        root_ids |= {root.pk for root in rows.filter(pk__in=loose).order_by("pk")}
    tree = rows.filter(Q(pk__in=wanted) | (Q(root__in=root_ids) & ~Q(status__in=TERMINAL)))
    # All tasks are locked, but only the wanted ones are read whole: far less in a large family.
    list(tree.order_by("pk").values_list("pk"))
    return list(Task.objects.filter(pk__in=wanted).order_by("pk"))


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
    """Take one edge of the status table on a locked task: write the task and one event.

    A live lease ends unless the task stays started; its attempt ends with `outcome` (by default
    the one of the status). A terminal status is announced inside the transaction (R17). Raises
    InvalidTransition.
    """
    before = task.status
    TASK.require(before, status, task.pk)
    writes, slot = [], None
    if before in STARTED and status not in STARTED and task.has_live_lease:
        slot = task.instance_id
        outcome = outcome or _OUTCOMES.get(T(status), AttemptOutcome.RELEASED)
        writes.append(_closing(task, outcome, now))
        task.end_lease()
    ending = status in TERMINAL
    if ending or (status in STARTED and before not in STARTED):
        # Work that begins goes on without an answer (R11).
        aside = QuestionState.CANCELLED if ending else QuestionState.SET_ASIDE
        Question.objects.close_open(task, aside)
    _set_status(task, status, now)
    kind = kind or f"task.{status}"
    event = task_event(task, kind, actor=actor, now=now, before=before, ending=ending, **data)
    _write(task, now, *writes, event=event)
    announce_due(task, actor)
    if ending:
        task_finished.announce(task=task, actor=actor, now=now)
    if slot is not None:
        # Last, so that the counter of a busy instance is locked only until the commit (R6).
        release_slot(slot)


def rest_task(
    task: Task,
    *,
    kind: str,
    actor: Actor,
    now: datetime,
    outcome: str = "",
    placed: bool = False,
    **data: Any,
) -> None:
    """Let a locked task be pending at its holder: write the task and one event, of `kind`.

    The stored reason is cleared, but for the pause before a retry. Where the holder routes work
    on, the task is due and is placed after the commit (R9), unless it was `placed` there before.
    """
    if task.waiting_code != WaitingCode.RETRY_BACKOFF:
        task.wait("")
    task.route_due = routes_on(task) and not placed
    if task.status != T.PENDING:
        change_task(task, T.PENDING, actor=actor, now=now, kind=kind, outcome=outcome, **data)
        return
    amend_task(task, kind, actor=actor, now=now, **data)
    announce_due(task, actor)


def move_task(
    task: Task,
    holder: HopperInstance | None,
    *,
    actor: Actor,
    now: datetime,
    kind: str = "task.moved",
    onward: bool = False,
    **data: Any,
) -> None:
    """Give a locked task another holder: write the task and one event.

    A pending task rests there; a blocked task and one that waits for its children keep their
    status. `onward` says that an answered task may have to go further on its way back (R11).
    """
    task.instance = holder
    if not onward or task.return_to_id == task.instance_id:
        task.return_to_id = None
    if task.status == T.PENDING:
        rest_task(task, kind=kind, actor=actor, now=now, **data)
    else:
        amend_task(task, kind, actor=actor, now=now, **data)


def amend_task(task: Task, kind: str, *, actor: Actor, now: datetime, **data: Any) -> None:
    """Write the changed fields of a locked task, whose status stays, and one event of `kind`.

    An empty `kind` writes no event.
    """
    told = {"actor": actor, "now": now, "before": task.status, **data}
    _write(task, now, event=task_event(task, kind, **told) if kind else None)


def extend_lease(task: Task, expires_at: datetime) -> None:
    """Write the end of a locked task's lease, unless it ends later already.

    `updated_at` stays: a heartbeat is no change of the task.
    """
    if task.lease_expires_at is None or task.lease_expires_at < expires_at:
        task.lease_expires_at = expires_at
        Task.objects.filter(pk=task.pk).update(lease_expires_at=expires_at)


def make_root(task: Task, *, actor: Actor, now: datetime) -> None:
    """Separate a locked task from its parent: it becomes the root of its own tree (R16)."""
    was, task.parent, task.root_id = task.parent_id, None, task.pk
    amend_task(task, "task.cut_loose", actor=actor, now=now, was=was)
    frontier = [task.pk]
    while frontier:
        frontier = list(Task.objects.filter(parent__in=frontier).values_list("pk", flat=True))
        Task.objects.filter(pk__in=frontier).update(root_id=task.pk)


def _set_status(task: Task, status: str, now: datetime) -> None:
    """Set the status and the fields that follow from it."""
    task.status = status
    if status != T.PENDING:
        task.route_due = False
    if status in (T.PENDING, T.BLOCKED):
        task.worker = ""
    if status in TERMINAL:
        task.finished_at = max(now, task.created_at)
        task.wait("")
    if status == T.IN_PROGRESS and task.started_at is None:
        task.started_at = now


def _write(task: Task, now: datetime, *writes: Write, event: Event | None = None) -> None:
    """Write what changed of a locked task, together with other rows."""
    if task.return_to_id is not None and not task.route_due and task.offered_to_id is None:
        # An answered task goes back only while it moves (R11).
        task.return_to_id = None
    task.updated_at = max(now, task.updated_at)
    changed = task.changed_fields()
    mine = [updating(task, changed)] if changed else []
    write_together(*writes, *mine, *([inserting([event])] if event else []))
    task.remember(changed)


def hold_places(tasks: QuerySet[Task], also: Iterable[str] = ()) -> None:
    """Lock the counters of the instances that hold leases of locked tasks (R6).

    Call it before several leases end. Instances whose lease has just ended are included: their
    slot is released last. `also` names further instances whose counters are written later.
    """
    holders = tasks.filter(attempt__gt=0, instance__isnull=False).order_by()
    leased = holders.values_list("instance_id", flat=True).distinct()
    lock_rows(InstanceLoad, [*leased, *also])


def end_attempt(task: Task, outcome: str, now: datetime) -> None:
    """End the live lease, if any, of a task that stays started: close its attempt (R13).

    The caller takes the task's next edge, or amends the task, which writes its row.
    """
    if task.has_live_lease:
        write_together(_closing(task, outcome, now))
        release_slot(str(task.instance_id))
    task.end_lease()


def _closing(task: Task, outcome: str, now: datetime) -> Write:
    table = Attempt._meta.db_table
    # The error of a task may still be that of an attempt before; these set their own.
    error = task.error if outcome in _WITH_ERROR else ""
    values = [outcome, connection.ops.adapt_datetimefield_value(now), error]
    later = engine().greatest
    return (
        # A change that waited for locks may have begun before the attempt (I14).
        f"UPDATE {table} SET outcome = %s, ended_at = {later}(started_at, %s), error = %s"  # noqa: S608
        " WHERE task_id = %s AND number = %s AND outcome IS NULL",
        [*values, task.pk, task.attempt],
    )


def release_slot(instance_id: str) -> None:
    """Release one slot of the instance's counter (R6, kind 5; R22); settle a stopping instance.

    Stopping instances are read afterwards: a stop that held the counter has committed by then.
    """
    InstanceLoad.objects.filter(pk=instance_id).update(running=F("running") - 1)
    if HopperInstance.objects.filter(status=InstanceStatus.STOPPING).exists():
        settle_after_commit(instance_id)


def routes_on(task: Task) -> bool:
    """Return whether a pending task is to be placed: by its holder (R9), or back (R11)."""
    holder = task.instance
    if holder is None or task.offered_to_id is not None:
        return False
    return holder.scope in ROUTING or task.return_to_id is not None


def announce_due(task: Task, actor: Actor) -> None:
    """Place a due task after the commit, if it is still due; the sweep places what is left."""
    if task.route_due:
        after_commit(lambda: _send_due(task, actor))


def _send_due(task: Task, actor: Actor) -> None:
    if task.route_due:
        routing_due.announce(task_id=task.pk, actor=actor)
