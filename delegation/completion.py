"""Completion: closing hops from the last, writing feeds, aggregating parents (R14, R17)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any

from delegation.choices import OPEN, DelegationStatus as D, DelegationType, Reason
from delegation.models import TaskDelegation
from delegation.offers import close_offer, end_accepted
from hopper.actors import Actor
from hopper.database import after_commit
from hopper.database.functions import Function
from hopper.database.rows import columns, select
from hopper.ids import new_id
from instances.choices import TERMINAL, ChildFailure, Completion, FailurePolicy, TaskStatus as T
from instances.history import copies_above, task_event
from instances.models import HopperInstance, Task, lineages
from instances.tasks.changes import (
    change_task,
    gathered,
    insert_rows,
    lock_counters,
    lock_task,
    move_task,
    once_written,
    rest_task,
)
from instances.tasks.dependencies import reevaluate_dependants
from instances.tasks.ending import end_open_children

_ENDS = {
    T.DONE: (D.COMPLETED, Reason.TASK_DONE),
    T.FAILED: (D.FAILED, Reason.TASK_FAILED),
    T.CANCELLED: (D.CANCELLED, Reason.TASK_CANCELLED),
}


_OPEN_HOPS = f"""SELECT {columns(TaskDelegation)} FROM {TaskDelegation._meta.db_table}
    WHERE task_id IN ({{tasks}}) AND status IN ({", ".join(f"'{one.value}'" for one in OPEN)})
    ORDER BY hop DESC, id DESC"""  # noqa: S608 - names of this code


@dataclass(frozen=True)
class Tally:
    """The counts of a parent's children by status. Cancelled children do not count (R14).

    `failures` holds the policy for each failed child: its own, else the parent's.
    """

    done: int
    failures: tuple[str, ...]
    cancelled: int
    open: int

    @property
    def failed(self) -> int:
        """The number of failed children."""
        return len(self.failures)

    @property
    def counted(self) -> int:
        """The number of children that count."""
        return self.done + self.failed + self.open


class CompletionBubbler:
    """Reports the ends of tasks once to every delegation, instance and parent task above."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor

    def bubble_completion(self, tasks: Sequence[Task], now: datetime) -> None:
        """Close the hops of ended tasks, write the feeds above, then aggregate their parents.

        Runs in the block of changes that ended the tasks, under the locks of their roots. A parent
        reads its children after they are written.
        """
        paths = self._close_delegations(tasks, now)
        self.propagate_status_change(tasks, now, paths)
        ended = [task.pk for task in tasks]
        after_commit(lambda: reevaluate_dependants(ended))
        parents = {task.parent_id for task in tasks if task.parent_id}
        if parents:
            once_written(lambda: self.aggregate_child_completions(parents, now))

    def propagate_status_change(
        self, tasks: Sequence[Task], now: datetime, paths: Mapping[str, list[str]]
    ) -> None:
        """Write one event of each end for each instance on the task's path and above."""
        events = []
        for task in tasks:
            event = task_event(
                task, f"task.{task.status}", actor=self.actor, now=now, ending=True, bubbled=True
            )
            places = {*paths[task.pk], task.origin_id, task.instance_id}
            events.append((event, {place for place in places if place is not None}))
        insert_rows(*copies_above(events))

    def aggregate_child_completions(self, parent_ids: Collection[str], now: datetime) -> None:
        """End parent tasks or return them to their holders, by children and policy (R14)."""
        waiting = Task.objects.filter(pk__in=parent_ids, decomposed=True, status=T.IN_PROGRESS)
        # The roots are locked, so no parent can change; a family is not listed in vain.
        for parent_id in waiting.order_by("pk").values_list("pk", flat=True):
            self._aggregate(parent_id, now)

    def _aggregate(self, parent_id: str, now: datetime) -> None:
        parent = lock_task(parent_id)
        if parent.is_terminal:
            # An ancestor that ended in this transaction has cancelled this parent.
            return
        tally = _tally(parent)
        if FailurePolicy.FAIL_FAST in tally.failures:
            lock_counters(Task.objects.filter(root_id=parent.root_id))
            # The parent first: children cancelled with the parent must not aggregate it again.
            self._end_parent(parent, T.FAILED, tally, now)
            end_open_children(
                [parent], actor=self.actor, now=now, reason="a sibling failed (fail_fast)"
            )
            return
        if tally.open:
            return
        if not tally.counted:
            self._return_to_holder(parent, now, "task.undecomposed", decomposed=False)
            return
        verdict = _verdict(parent, tally)
        if verdict == T.PENDING:
            self._return_to_holder(parent, now, "task.children_done", decomposed=True)
            return
        self._end_parent(parent, verdict, tally, now)

    def _end_parent(self, parent: Task, status: T, tally: Tally, now: datetime) -> None:
        summary = _summary(parent, tally)
        if status == T.FAILED:
            parent.result = summary
            parent.error = f"{tally.failed} of {tally.counted} children failed"
        else:
            parent.result = summary | ({"partial": True} if tally.failed else {})
        change_task(parent, status, actor=self.actor, now=now, aggregated=True)

    def _return_to_holder(
        self, parent: Task, now: datetime, kind: str, *, decomposed: bool
    ) -> None:
        """Return the parent to pending at its holder, with the results of its children."""
        if decomposed:
            parent.result = _summary(parent, _tally(parent))
        parent.decomposed = False
        rest_task(parent, kind=kind, actor=self.actor, now=now)

    def _close_delegations(self, tasks: Sequence[Task], now: datetime) -> dict[str, list[str]]:
        """End the open delegations of tasks, the last hop first.

        Returns the instances of each task's path, by the id of the task.
        """
        ended = {task.pk: task for task in tasks}
        paths: dict[str, list[str]] = {pk: [] for pk in ended}
        marks = ", ".join(["%s"] * len(ended))
        rows = select(TaskDelegation, _OPEN_HOPS.format(tasks=marks), list(ended))
        with gathered():
            for row in rows:
                ends = (row.source_instance_id, row.target_instance_id)
                paths[row.task_id] += [place for place in ends if place]
                self._close(row, ended[row.task_id], now)
        return paths

    def _close(self, row: TaskDelegation, task: Task, now: datetime) -> None:
        status, reason = _ENDS[T(task.status)]
        if row.is_pending:
            close_offer(row, task, D.CANCELLED, reason=reason, actor=self.actor, now=now)
            return
        end_accepted(
            row,
            D.COMPLETED if row.goes_up else status,
            reason=reason,
            result=task.result,
            actor=self.actor,
            now=now,
        )


def closing() -> Function:
    """Return the database's function that completes the hops of plain tasks (ADR 0015).

    It writes what `end_accepted` writes, and returns the sources and the targets.
    """
    return Function(
        title="close_hops",
        arguments={
            **{name: "text[]" for name in ("plain", "tasks")},
            "results": "jsonb[]",
            "actor": "text",
            "moment": "timestamptz",
        },
        returns="TABLE (task varchar, place varchar)",
        variables="",
        body=f"""
            RETURN QUERY WITH ended AS (
                UPDATE {TaskDelegation._meta.db_table} SET status = '{D.COMPLETED.value}',
                    answered_by = %(actor)s, reason = '{Reason.TASK_DONE.value}',
                    completed_at = greatest(%(moment)s, coalesce(accepted_at, delegated_at)),
                    result = (%(results)s)[array_position(%(tasks)s, task_id::text)]
                WHERE task_id = ANY(%(plain)s) AND status = '{D.ACCEPTED.value}'
                RETURNING task_id, source_instance_id, target_instance_id)
            SELECT task_id, unnest(ARRAY[source_instance_id, target_instance_id]) FROM ended;""",  # noqa: S608 - names of this code
    )


def _tally(parent: Task) -> Tally:
    children = list(parent.children.values_list("status", "failure_means"))
    statuses = [status for status, _ in children]
    return Tally(
        done=statuses.count(T.DONE),
        failures=tuple(
            parent.failure_policy if means == ChildFailure.AS_PARENT else means
            for status, means in children
            if status == T.FAILED
        ),
        cancelled=statuses.count(T.CANCELLED),
        open=sum(status not in TERMINAL for status in statuses),
    )


def _verdict(parent: Task, tally: Tally) -> T:
    """Return the end of a parent whose children have all ended; pending: the holder goes on (R14).

    Of several failures the strictest outcome wins: failed, then pending, then done.
    """
    too_few = FailurePolicy.BEST_EFFORT in tally.failures and tally.done < parent.quorum
    if FailurePolicy.WAIT_ALL in tally.failures or too_few:
        return T.FAILED
    resumes = FailurePolicy.RESUME in (parent.failure_policy, *tally.failures)
    return T.PENDING if resumes or parent.completion == Completion.RESUME else T.DONE


def _summary(parent: Task, tally: Tally) -> dict[str, Any]:
    """Return the results of the children: counts, and id, status and result of each child."""
    children = parent.children.order_by("created_at", "id").values(
        "id", "title", "status", "result", "error"
    )
    return {
        "done": tally.done,
        "failed": tally.failed,
        "cancelled": tally.cancelled,
        "children": list(children),
    }


_TASK_ENDS = (Reason.TASK_DONE, Reason.TASK_FAILED, Reason.TASK_CANCELLED)


def remake_path(task: Task, ended_at: datetime | None, actor: Actor, now: datetime) -> None:
    """Return a reopened task to its last live holder, with accepted rows in the new epoch.

    The old rows stay unchanged. The caller has locked the tree.
    """
    rows = list(
        TaskDelegation.objects.filter(
            task=task,
            completed_at__gte=ended_at,
            reason__in=_TASK_ENDS,
            accepted_at__isnull=False,
            source_instance__isnull=False,
        )
        .exclude(delegation_type=DelegationType.ESCALATE)
        .order_by("hop", "id")
    )
    kept = _living(rows)
    _repeat_hops(kept, task, actor, now)
    was, holder = task.instance_id, _holder(task, rows, kept)
    if was != (holder.pk if holder else None):
        move_task(task, holder, actor=actor, now=now, was=was, reason=Reason.REOPENED)


def _repeat_hops(hops: list[TaskDelegation], task: Task, actor: Actor, now: datetime) -> None:
    """Write the hops again, accepted, in the task's new epoch."""
    TaskDelegation.objects.bulk_create(
        TaskDelegation(
            id=new_id("del"),
            task=task,
            source_instance_id=row.source_instance_id,
            target_instance_id=row.target_instance_id,
            delegation_type=DelegationType.ROUTE,
            status=D.ACCEPTED,
            hop=hop,
            epoch=task.epoch,
            delegated_at=now,
            accepted_at=now,
            reason=Reason.REOPENED,
            delegated_by=actor.name,
        )
        for hop, row in enumerate(hops, start=1)
    )


def _living(rows: list[TaskDelegation]) -> list[TaskDelegation]:
    """Return the hops that still lead down the tree to live targets."""
    targets = HopperInstance.objects.live().filter(pk__in=[row.target_instance_id for row in rows])
    parents = dict(targets.values_list("pk", "parent_id"))
    return list(
        takewhile(lambda row: parents.get(row.target_instance_id) == row.source_instance_id, rows)
    )


def _holder(
    task: Task, rows: list[TaskDelegation], kept: list[TaskDelegation]
) -> HopperInstance | None:
    """Return the last live instance on the path, else the nearest live instance above."""
    if kept:
        return kept[-1].target_instance
    start = rows[0].source_instance_id if rows else task.instance_id
    if start is None:
        return None
    live = [ancestor.id for ancestor in lineages([start])[start] if ancestor.status != "terminated"]
    return HopperInstance.objects.get(pk=live[-1]) if live else None
