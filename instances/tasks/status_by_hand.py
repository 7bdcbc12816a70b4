"""Setting a status by hand: the task takes the legal path, and every step is recorded (R19)."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from hopper import database
from hopper.actors import Actor
from hopper.errors import Conflict, Invalid
from instances.choices import (
    PLACING_BLOCKS,
    STARTED,
    AttemptOutcome,
    QuestionState,
    TaskStatus as T,
    WaitingCode,
)
from instances.models import Question, Task
from instances.signals import offer_overtaken
from instances.tasks.changes import (
    amend_task,
    change_task,
    close_question,
    end_attempt,
    lock_counters,
    lock_ending_task,
    rest_task,
)
from instances.tasks.editing import begin_placing_anew
from instances.tasks.ending import cancel_task
from instances.tasks.leases import refuse_open_children
from instances.tasks.questions import await_answer
from instances.tasks.reopening import lock_for_reopening, reopen
from instances.tasks.same_report import require_same

SETTABLE = (T.PENDING, T.CLAIMED, T.IN_PROGRESS, T.BLOCKED, T.DONE, T.CANCELLED)


def set_status(
    task_id: str,
    *,
    status: str,
    owner: str = "",
    reason: str = "",
    force: bool = False,
    actor: Actor,
) -> Task:
    """Bring a task to `status` in one transaction. For the present status see `_repeat`.

    Work taken this way has no lease and belongs to `owner` (default: the actor). `force` overrides
    another worker's lease or a pending offer, reopens a finished task first (R18), and is recorded
    as administrative. Raises Invalid for "failed", and Conflict for open children. Without `force`
    raises Conflict for a live lease, an offer, a finished task, and the work of another owner.
    """
    if status not in SETTABLE:
        allowed = ", ".join(SETTABLE)
        raise Invalid.field("status", f"{status!r} cannot be set; allowed: {allowed}")
    with transaction.atomic():
        if force:
            # The task may have to be reopened, which writes several instances to tasks (R6). Only
            # under its lock is it known whether the task has ended.
            lock_for_reopening(task_id)
        task = lock_ending_task(task_id)
        if task.status == status:
            _repeat(task, owner, reason, actor, force=force)
            return task
        now = database.now()
        if task.is_terminal and (force or status != T.CANCELLED):
            _open_again(task, reason, actor, now, force=force)
        if status == T.CANCELLED:
            return cancel_task(task_id, reason=reason, actor=actor)
        if task.status != status:
            refuse_open_children(task)
            _make_free(task, owner if status in STARTED else "", actor, now, force=force)
            if task.status == T.BLOCKED:
                close_question(task, QuestionState.WITHDRAWN)
            _WALKS[T(status)](task, owner or actor.name, reason, actor, now)
    return Task.objects.get(pk=task_id)


def _repeat(task: Task, owner: str, reason: str, actor: Actor, *, force: bool) -> None:
    """Set the present status again (R20). A task blocked for a person takes a new reason.

    Raises AlreadyEnded for another reason of a cancel, and Conflict for work that another owner has
    taken by hand, unless `force` gives it to the new owner.
    """
    if task.status == T.CANCELLED:
        require_same(task.pk, task.status, word="reason", stored=task.error, reported=reason)
    elif task.waiting_code == WaitingCode.INPUT_REQUIRED and task.status == T.BLOCKED:
        if reason not in ("", task.waiting.get("detail")):
            task.waiting = {**task.waiting, "detail": reason}
            amend_task(task, "task.blocked", actor=actor, now=database.now(), reason=reason)
    elif _is_taken_by_another(task, owner, force=force):
        task.worker = owner
        amend_task(task, "task.updated", actor=actor, now=database.now(), fields=["worker"])


def _is_taken_by_another(task: Task, owner: str, *, force: bool) -> bool:
    """Return whether work by hand is another owner's. Raises Conflict without `force`."""
    by_hand = task.status in STARTED and not (task.decomposed or task.has_live_lease)
    if not by_hand or owner in ("", task.worker):
        return False
    if not force:
        raise Conflict(
            f"{task.pk} is taken by {task.worker}; force gives it to {owner}.",
            code="taken",
            state=task.status,
            worker=task.worker,
        )
    return True


def _open_again(task: Task, reason: str, actor: Actor, now: datetime, *, force: bool) -> None:
    if not force:
        raise Conflict(
            f"{task.pk} is {task.status}: retry it, or use force, to open it again (R18).",
            code="task_finished",
            state=task.status,
            allowed=[T.PENDING.value],
        )
    reopen(task, reason=reason, actor=actor, now=now)


def _make_free(task: Task, owner: str, actor: Actor, now: datetime, *, force: bool) -> None:
    """End a live lease or a pending offer of a task, for an `owner` the work of another one.

    Raises Conflict without `force`.
    """
    _is_taken_by_another(task, owner, force=force)
    if task.has_live_lease:
        if not force:
            raise Conflict(
                f"{task.pk} is leased to {task.worker}; force overrides the lease.",
                code="leased",
                state=task.status,
                worker=task.worker,
            )
        # The end of the task may end its whole family.
        lock_counters(Task.objects.filter(root_id=task.root_id))
        end_attempt(task, AttemptOutcome.EVICTED, now)
    if task.offered_to_id is not None:
        if not force:
            raise Conflict(
                f"{task.pk} is offered to {task.offered_to_id}; force withdraws the offer.",
                code="already_delegated",
                state=task.status,
                offered_to=task.offered_to_id,
            )
        offer_overtaken.announce(task=task, reason="withdrawn", actor=actor, now=now)


def _to_pending(task: Task, owner: str, reason: str, actor: Actor, now: datetime) -> None:
    if task.waiting_code in PLACING_BLOCKS and task.status == T.BLOCKED:
        begin_placing_anew(task, actor=actor, now=now, reason="unblocked")
        return
    kind = "task.unblocked" if task.status == T.BLOCKED else "task.released"
    rest_task(task, kind=kind, actor=actor, now=now, reason=reason)


def _to_claimed(task: Task, owner: str, reason: str, actor: Actor, now: datetime) -> None:
    if task.status in (T.BLOCKED, T.IN_PROGRESS):
        task.wait("")
        change_task(task, T.PENDING, actor=actor, now=now, kind="task.unblocked", reason=reason)
    task.wait("")
    task.worker = owner
    change_task(task, T.CLAIMED, actor=actor, now=now, reason=reason, worker=owner)


def _to_in_progress(task: Task, owner: str, reason: str, actor: Actor, now: datetime) -> None:
    if task.status != T.CLAIMED:
        _to_claimed(task, owner, reason, actor, now)
    task.worker = owner
    change_task(task, T.IN_PROGRESS, actor=actor, now=now, kind="task.started", worker=owner)


def _to_blocked(task: Task, owner: str, reason: str, actor: Actor, now: datetime) -> None:
    question = Question.objects.open_of(task)
    if question is not None:
        await_answer(task, question, now, detail=reason)
    else:
        task.wait("InputRequired", now, detail=reason or "blocked by hand")
    change_task(task, T.BLOCKED, actor=actor, now=now, reason=reason)


def _to_done(task: Task, owner: str, reason: str, actor: Actor, now: datetime) -> None:
    if task.status != T.IN_PROGRESS:
        _to_in_progress(task, owner, "", actor, now)
    change_task(task, T.DONE, actor=actor, now=now, reason=reason, administrative=True)


_WALKS = {
    T.PENDING: _to_pending,
    T.CLAIMED: _to_claimed,
    T.IN_PROGRESS: _to_in_progress,
    T.BLOCKED: _to_blocked,
    T.DONE: _to_done,
}
