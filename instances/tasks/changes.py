"""The verbs that change a task's row: `change_task`, `rest_task`, `move_task`, and `amend_task`.

Only this module and `claim_sql` write rows of tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Model, Q, QuerySet

from hopper.actors import Actor
from hopper.conditions import require_condition
from hopper.database import after_commit, engine, lock_rows, write_together
from hopper.database.rows import columns, select
from hopper.database.writes import Update, Writes
from hopper.protocol import TASK
from instances.allowances import ROUTING
from instances.choices import (
    STARTED,
    TERMINAL,
    UNFINISHED,
    AttemptOutcome,
    InstanceStatus,
    QuestionState,
    TaskStatus as T,
    WaitingCode,
)
from instances.history import task_event
from instances.models import Attempt, Event, HopperInstance, InstanceLoad, Question, Task
from instances.signals import routing_due, tasks_finished
from instances.tasks.archived import no_task
from instances.tasks.wakeups import WAKEUPS
from instances.tree.locks import share_lines
from instances.tree.status import settle_after_commit

_OUTCOMES = {
    T.DONE: AttemptOutcome.COMPLETED,
    T.FAILED: AttemptOutcome.FAILED,
    T.CANCELLED: AttemptOutcome.CANCELLED,
}
RELEASE = f"""UPDATE {InstanceLoad._meta.db_table} SET running = running - %s
    WHERE instance_id = %s RETURNING
        EXISTS (SELECT 1 FROM {HopperInstance._meta.db_table}
            WHERE status = '{InstanceStatus.STOPPING.value}')
        OR stops <> (SELECT stops FROM {InstanceLoad._meta.db_table} AS before
            WHERE before.instance_id = %s)"""  # noqa: S608
_WITH_ERROR = (AttemptOutcome.FAILED, AttemptOutcome.EXPIRED, AttemptOutcome.CANCELLED)


def present_task(task_id: str) -> Task:
    """Return the task, read without a lock. Raises NotFound."""
    task = Task.objects.filter(pk=task_id).first()
    if task is None:
        raise no_task(task_id)
    return task


def lock_task(task_id: str) -> Task:
    """Lock the root of the task's tree, then the tree's open tasks (R6); return the task, fresh.

    Raises NotFound.
    """
    locked = lock_tasks([task_id])
    if not locked:
        raise no_task(task_id)
    return locked[0]


def lock_ending_task(task_id: str) -> Task:
    """Lock a task that may end now, as `lock_task`. Its end is recorded above (R17).

    No instance moves until the transaction ends (R6, kind 1). Raises NotFound.
    """
    share_lines()
    return lock_task(task_id)


def lock_tasks(task_ids: Iterable[str]) -> list[Task]:
    """Lock the roots of tasks, then the tasks and all open tasks of their trees, in id order.

    Locks whole trees, because an end may reach every open relative, and no task row may be locked
    after a capacity counter (R6). Returns the wanted tasks, read again, in id order.
    """
    locked = _lock_trees(set(task_ids))
    for task in locked:
        require_condition(Task, task.pk)
    return locked


def _lock_trees(wanted: set[str]) -> list[Task]:
    rows = Task.objects.select_for_update(no_key=True, of=("self",))
    roots = _lock_root(*wanted) if len(wanted) == 1 else _lock_roots(wanted)
    root_ids = {root.pk for root in roots}
    if wanted == root_ids and not any(root.decomposed for root in roots):
        # Each tree has one task: the locks on the roots are all locks.
        return roots
    # During the wait for a root its child may have become a root (R16). Lock the new root first.
    moved = Task.objects.filter(pk__in=wanted)
    while loose := set(moved.exclude(root__in=root_ids).values_list("root_id", flat=True)):
        root_ids |= {root.pk for root in rows.filter(pk__in=loose).order_by("pk")}
    tree = rows.filter(Q(pk__in=wanted) | (Q(root__in=root_ids) & Q(status__in=UNFINISHED)))
    # All tasks are locked, but only the wanted ones are read whole: far less in a large family.
    list(tree.order_by("pk").values_list("pk"))
    return list(Task.objects.filter(pk__in=wanted).order_by("pk"))


def _lock_root(task_id: str) -> list[Task]:
    """Lock the root of one task: the commonest lock, as one statement that is never built anew."""
    table, lock = Task._meta.db_table, engine().locking(Task._meta.db_table, skip=False)
    root = f"(SELECT root_id FROM {table} WHERE id = %s)"  # noqa: S608 - names of this code
    found = f"SELECT {columns(Task)} FROM {table} WHERE id = {root} {lock}"  # noqa: S608
    return select(Task, found, [task_id])


def _lock_roots(wanted: set[str]) -> list[Task]:
    # Two statements: for several roots in one the planner makes a slow plan.
    above = Task.objects.filter(pk__in=wanted).values_list("root_id", flat=True)
    rows = Task.objects.select_for_update(no_key=True, of=("self",))
    return list(rows.filter(pk__in=set(above)).order_by("pk"))


class _Change:
    """The changes that the verbs of one block made to objects; `write` stores them."""

    def __init__(self) -> None:
        self.writes = Writes()
        self.tasks: dict[str, Task] = {}
        self.rows: dict[str, tuple[Model, tuple[str, ...]]] = {}
        self.slots: Counter[str] = Counter()
        self.due: dict[str, Callable[[], None]] = {}
        self.ended: list[Task] = []
        self.ends: dict[str, Any] = {}
        self.next: list[Callable[[], None]] = []
        self._new: list[Model] = []

    def insert(self, row: Model) -> None:
        """Add a new row."""
        self.writes.insert(row)
        self._new.append(row)

    def announce(self) -> None:
        """Announce the ends (R17). The receivers add their changes to this block."""
        if self.ended:
            tasks_finished.announce(tasks=self.ended, **self.ends)

    def write(self) -> None:
        """Write all; then do what reads the rows, and release the slots of the ended leases."""
        for task in self.tasks.values():
            changed = task.changed_fields()
            self.writes.update_row(task, changed)
            task.remember(changed)
        for row, names in self.rows.values():
            fields = [field for field in row._meta.concrete_fields if field.name in names]
            self.writes.update_row(row, fields)
        for some in self.writes.in_portions():
            write_together(*some)
        for row in self._new:
            row._state.adding = False
        for place in self.due.values():
            after_commit(place)
        self._wake_claims()
        for call in self.next:
            call()
        # Last, so that the counter of a busy instance is locked only until the commit (R6).
        for instance_id, number in sorted(self.slots.items()):
            release_slots(instance_id, number)

    def _wake_claims(self) -> None:
        """Wake the claims that wait for one of these tasks or slots."""
        changed = [*self.tasks.values(), *(row for row in self._new if isinstance(row, Task))]
        pending = (task.instance_id for task in changed if task.status == T.PENDING)
        ready = {holder for holder in pending if holder is not None}
        WAKEUPS.wake_after_commit(ready | self.slots.keys())


_open: ContextVar[_Change | None] = ContextVar("the block of verbs", default=None)


@contextmanager
def gathered() -> Iterator[_Change]:
    """Collect the changes of the verbs in a block, and write them at its end, alike rows together.

    The block belongs to one change, with one actor and one `now`, of locked tasks, each as one
    object. The block reads no row that it changes. An inner block joins the outer one.
    """
    outer = _open.get()
    if outer is not None:
        yield outer
        return
    change = _Change()
    mark = _open.set(change)
    try:
        yield change
        change.announce()
    finally:
        _open.reset(mark)
    change.write()


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
    with gathered() as change:
        if before in STARTED and status not in STARTED:
            outcome = outcome or _OUTCOMES.get(T(status), AttemptOutcome.RELEASED)
            end_attempt(task, outcome, now)
        ending = status in TERMINAL
        if ending or (status in STARTED and before not in STARTED):
            # Work that begins goes on without an answer (R11).
            aside = QuestionState.CANCELLED if ending else QuestionState.SET_ASIDE
            close_question(task, aside)
        _set_status(task, status, now)
        kind = kind or f"task.{status}"
        data = {"before": before, "ending": ending, **data}
        _write(change, task, now, task_event(task, kind, actor=actor, now=now, **data))
        announce_due(task, actor)
        if ending:
            change.ended.append(task)
            change.ends = {"actor": actor, "now": now}


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
    """Make a locked task pending at its holder: write the task and one event, of `kind`.

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
    data = {"actor": actor, "now": now, "before": task.status, **data}
    with gathered() as change:
        _write(change, task, now, task_event(task, kind, **data) if kind else None)


def extend_lease(task: Task, expires_at: datetime) -> None:
    """Write the end of a locked task's lease, unless it ends later already.

    `updated_at` stays: a heartbeat is no change of the task.
    """
    if task.lease_expires_at is None or task.lease_expires_at < expires_at:
        task.lease_expires_at = expires_at
        Task.objects.filter(pk=task.pk).update(lease_expires_at=expires_at)


def make_roots(tasks: list[Task], *, actor: Actor, now: datetime) -> None:
    """Separate locked tasks from their parents: each becomes the root of its own tree (R16)."""
    with gathered():
        for task in tasks:
            was, task.parent, task.root_id = task.parent_id, None, task.pk
            amend_task(task, "task.cut_loose", actor=actor, now=now, was=was)
    roots = {task.pk: task.pk for task in tasks}
    while roots:
        below = Task.objects.filter(parent__in=roots).values_list("pk", "parent_id")
        roots = {pk: roots[str(parent_id)] for pk, parent_id in below}
        for root_id in set(roots.values()):
            family = [pk for pk, its in roots.items() if its == root_id]
            Task.objects.filter(pk__in=family).update(root_id=root_id)


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


def _write(change: _Change, task: Task, now: datetime, event: Event | None) -> None:
    """Add what changed of a locked task, and its event, to what the block writes."""
    if task.return_to_id is not None and not task.route_due and task.offered_to_id is None:
        # An answered task goes back only while it moves (R11).
        task.return_to_id = None
    task.updated_at = max(now, task.updated_at)
    change.tasks[task.pk] = task
    if event is not None:
        change.insert(event)


def lock_families(root_ids: Sequence[str]) -> None:
    """Lock whole families against changes, and against new rows that point at them (R6).

    The check of a foreign key shares the lock of a change. So each task is locked once more, alone.
    """
    lock_tasks(root_ids)
    alone = Task.objects.select_for_update().filter(root__in=root_ids).order_by("pk")
    list(alone.values_list("pk"))


def remove_tasks(task_ids: Sequence[str]) -> None:
    """Remove locked tasks that have ended, whose rows the archive has written to its file."""
    rows: Any = Task.objects.filter(pk__in=task_ids)
    rows._raw_delete(rows.db)


def write_row(row: Model, *names: str) -> None:
    """Write these fields of a row that changes with a locked task, such as a delegation.

    A row that the open block inserts is written whole.
    """
    if not row._state.adding:
        with gathered() as change:
            change.rows[str(row.pk)] = (row, names)


def insert_rows(*rows: Model) -> None:
    """Insert new rows with the changes of the open block, later changes of the rows included.

    The rows of a model are inserted in their order.
    """
    with gathered() as change:
        for row in rows:
            change.insert(row)


def once_written(call: Callable[[], None]) -> None:
    """Call something in the transaction, as soon as the open block has written its changes."""
    with gathered() as change:
        change.next.append(call)


def lock_counters(tasks: QuerySet[Task], also: Iterable[str] = ()) -> None:
    """Lock the counters of the instances that hold leases of locked tasks (R6).

    Call it before several leases end. Instances whose lease has just ended are included: their
    slot is released last. `also` names further instances whose counters are written later.
    """
    holders = tasks.filter(attempt__gt=0, instance__isnull=False).order_by()
    leased = holders.values_list("instance_id", flat=True).distinct()
    lock_rows(InstanceLoad, [*leased, *also])


def end_attempt(task: Task, outcome: str, now: datetime) -> None:
    """End the live lease, if any, of a locked task: close its attempt, release its slot (R13).

    The caller takes the task's next edge, or amends the task, which writes its row.
    """
    if not task.has_live_lease:
        return
    with gathered() as change:
        # The error of a task may still be that of an attempt before; these set their own.
        error = task.error if outcome in _WITH_ERROR else ""
        closing = _closing(outcome, now, error)
        change.writes.update(closing, task.pk, (outcome, now, error))
        change.slots[str(task.instance_id)] += 1
    task.end_lease()


def _closing(outcome: str, now: datetime, error: str) -> Update:
    table, later = Attempt._meta.db_table, engine().greatest
    moment = connection.ops.adapt_datetimefield_value(now)
    # A change that waited for locks may have begun before the attempt (I14).
    start = f"UPDATE {table} SET outcome = %s, ended_at = {later}(started_at, %s), error = %s"  # noqa: S608
    # A task has at most one attempt without an outcome (I7).
    return Update(start, (outcome, moment, error), "task_id", "outcome IS NULL")


def close_question(task: Task, state: str) -> None:
    """Close the open question of a locked task, if it has one, without an answer (R11)."""
    if task.asked:
        start = f"UPDATE {Question._meta.db_table} SET state = %s"  # noqa: S608
        still_open = f"state = '{QuestionState.OPEN.value}'"
        with gathered() as change:
            change.writes.update(Update(start, (state,), "task_id", still_open), task.pk, state)


def release_slots(instance_id: str, number: int) -> None:
    """Release slots of the instance's counter (R6, kind 5; R22); settle a stopping instance.

    A stop that the statement waited for has raised `stops`, so it is seen as well.
    """
    with connection.cursor() as cursor:
        cursor.execute(RELEASE, [number, instance_id, instance_id])
        found = cursor.fetchone()
    if found is not None and found[0]:
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
        with gathered() as change:
            change.due[task.pk] = lambda: _send_due(task, actor)


def _send_due(task: Task, actor: Actor) -> None:
    if task.route_due:
        routing_due.announce(task=task, actor=actor)
