"""The worker's side: claim, start, heartbeat, complete, fail, release (R21, R22)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction

from hopper import database, tracing
from hopper.actors import Actor
from hopper.conditions import require_condition
from hopper.database import lock_row
from hopper.errors import AlreadyEnded, Conflict, Gone, InvalidTransition, LeaseLost, NotFound
from hopper.words import keys_of
from instances.allowances import EXECUTING, Standing
from instances.choices import STARTED, AttemptOutcome, TaskStatus as T
from instances.models import Attempt, Task, lineages
from instances.tasks.changes import (
    change_task,
    extend_lease,
    lock_ending_task,
    lock_task,
    present_task,
)
from instances.tasks.claim_sql import (
    Grant,
    Queue,
    Wish,
    free_places,
    grant,
    grant_at_once,
    why_nothing,
)
from instances.tasks.complete_sql import Done, complete_at_once
from instances.tasks.leases import (
    expire_lease,
    keep_artifact,
    lose_attempt,
    put_back,
    refuse_open_children,
    require_lease,
    rescue_leases,
)
from instances.tasks.next_sql import complete_and_grant
from instances.tasks.next_step import next_step
from instances.tasks.same_report import require_same
from instances.tree.status import no_instance

if TYPE_CHECKING:
    from instances.settings import QueueSettings

_TRIES = 3
_PAUSE_SECONDS = 0.05
_MAX_QUEUES = 10_000
_queues: dict[str, Queue] = {}
"""The queues at which this process has claimed, by instance. A grant checks that they are so."""


@dataclass(frozen=True)
class Lease:
    """A granted lease. Only the worker that claimed the task sees `token`.

    `checkpoint` is where the attempt before got to, any JSON value (R21). `max_runtime_seconds` is
    how long the attempt may run: as the task says, else as its holder does.
    """

    task: Task
    token: str
    expires_at: datetime
    seconds: int
    attempt: int
    max_runtime_seconds: int | None = None
    checkpoint: Any = None


@dataclass(frozen=True)
class Claim:
    """The answer to a claim: the leases, or the reason for none as {code, detail} (R22)."""

    leases: list[Lease]
    waiting: dict[str, str] | None = None


def claim_next(
    instance_id: str,
    *,
    worker: str,
    limit: int = 1,
    capabilities: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
    lease_seconds: int | None = None,
    tries: int = _TRIES,
    actor: Actor,
) -> Claim:
    """Lease up to `limit` of the next ready tasks to a worker, in R22's order.

    `capabilities` None means any work; a list limits the claim to tasks that need no other
    capability. `tags` limits it to tasks with one of the tags. `lease_seconds` is from 30 s to
    24 h, by default the setting of the instance. Where other claims are faster it tries again, up
    to `tries` times with pauses. Raises Conflict if the instance does not execute or may not start
    work now, Gone if it is terminated.
    """
    wish = _wish(instance_id, worker, limit, capabilities, tags, actor)
    queue = _queues.get(instance_id)
    if queue is not None:
        rescue_leases(instance_id)
        settings = queue.settings
        wish = replace(wish, lease_seconds=lease_seconds or settings.lease_seconds)
        if granted := grant_at_once(wish, queue):
            return Claim([_lease(one, settings) for one in granted])
    settings = _require_claiming(instance_id)
    wish = replace(wish, lease_seconds=lease_seconds or settings.lease_seconds)
    rescue_leases(instance_id)
    claim = _claim(wish, settings, tries)
    if not claim.leases and rescue_leases(instance_id, in_need=True):
        claim = _claim(wish, settings, tries)
    return claim


def complete_and_claim_at_once(
    reports: Sequence[Done],
    instance_id: str,
    *,
    worker: str,
    limit: int = 1,
    capabilities: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
    lease_seconds: int | None = None,
    actor: Actor,
) -> tuple[set[str], list[Lease]] | None:
    """Finish the plain tasks of the reports; if all are plain, claim as `claim_next` does.

    Each report is of another task. Returns the ids of the finished tasks, and the leases. Returns
    None, with nothing changed, where the general code has to do it.
    """
    queue = _queues.get(instance_id)
    if queue is None:
        return None
    wish = _wish(instance_id, worker, limit, capabilities, tags, actor)
    settings = queue.settings
    wish = replace(wish, lease_seconds=lease_seconds or settings.lease_seconds)
    answer = complete_and_grant(reports, wish, queue)
    rescue_leases(instance_id)
    return answer and (answer[0], [_lease(one, settings) for one in answer[1]])


def claim_task(
    task_id: str, *, worker: str, lease_seconds: int | None = None, actor: Actor
) -> Lease:
    """Lease one given task to a worker. The same worker gets the same lease again (R20).

    Raises Conflict with the reason if the task cannot be claimed now.
    """
    task = present_task(task_id)
    # The grant locks the row only after its search: a claim is no edit that could be lost.
    require_condition(Task, task_id)
    holder_id = task.instance_id
    if holder_id is None:
        raise Conflict(
            f"{task_id} is unassigned: take it by hand (status in_progress).",
            code="unassigned",
            state=task.status,
            allowed=[T.IN_PROGRESS.value],
        )
    settings = _require_claiming(holder_id)
    seconds = lease_seconds or settings.lease_seconds
    wish = Wish(holder_id, worker, actor, 1, seconds, task_id=task_id)
    most = settings.max_concurrent_tasks
    rescue_leases(holder_id)
    for _ in range(_TRIES):
        granted = grant(wish, most)
        if granted:
            return _lease(granted[0], settings)
        task, now = present_task(task_id), database.now()
        if task.lease_expires_at is not None and task.lease_expires_at <= now:
            expire_lease(task)
            continue
        if task.has_live_lease and (task.worker, task.lease_holder) == (worker, actor.id):
            return _same_lease(task, settings)
        _require_claiming(holder_id)
        _require_claimable(task, holder_id, now)
        if not free_places(holder_id, most) and not rescue_leases(holder_id, in_need=True):
            raise Conflict(f"{holder_id} is at capacity ({most}).", code="at_capacity")
    raise Conflict(f"Other requests hold {task_id} now: ask again.", code="not_claimable")


def start_task(task_id: str, *, token: str | None = None, actor: Actor) -> Task:
    """Report the start of work on a claimed task. Repeating changes nothing."""
    with transaction.atomic():
        task = lock_task(task_id)
        require_lease(task, token)
        if task.status != T.IN_PROGRESS:
            if task.status != T.CLAIMED:
                raise _not_started(task)
            change_task(task, T.IN_PROGRESS, actor=actor, now=database.now(), kind="task.started")
    return task


def heartbeat(
    task_id: str,
    *,
    token: str,
    checkpoint: Any = None,
    progress: float | None = None,
    actor: Actor,
) -> Task:
    """Extend a lease by its length from now. Store the checkpoint and the progress (0 to 1).

    One conditional update, which wins against a sweep that has not yet rescued the lease.
    """
    with transaction.atomic():
        task = lock_row(Task, task_id)
        if task is None:
            raise NotFound(f"There is no task {task_id}.")
        require_lease(task, token)
        if task.lease_seconds is None:
            raise _not_started(task)
        now = database.now()
        extend_lease(task, now + timedelta(seconds=task.lease_seconds))
        news = {"checkpoint": checkpoint, "progress": progress}
        kept = {name: value for name, value in news.items() if value is not None}
        if kept:
            kept["reported_at"] = now
            Attempt.objects.filter(task_id=task_id, number=task.attempt).update(**kept)
    return task


def complete_task(
    task_id: str, *, token: str | None = None, result: Any = None, actor: Actor
) -> Task:
    """Finish a task with its result (R17); completing again with the same one changes nothing.

    Raises LeaseLost (409) or Gone (410) for a lease that is over, AlreadyEnded (409) where the task
    ended with another result or failed; the result is then kept with the attempt.
    """

    def finish(task: Task) -> None:
        _finish(task, result, actor, database.now())

    if (done := complete_at_once(Done(task_id, token, result), actor)) is not None:
        return done
    return _report(task_id, token, finish, T.DONE, artifact=result, actor=actor)


def complete_locked(
    task: Task, *, token: str | None, result: Any, actor: Actor, now: datetime
) -> None:
    """Finish a task that is locked with its tree, as `complete_task` does.

    The caller keeps the result of a refused report.
    """
    if not _is_repeat(task, token, T.DONE, result):
        require_lease(task, token)
        _finish(task, result, actor, now)


def fail_task(
    task_id: str,
    *,
    token: str | None = None,
    error: str = "",
    retryable: bool = True,
    actor: Actor,
) -> Task:
    """Report a failed attempt. The task is retried with back-off, or has failed for good (R15).

    Raises as `complete_task` does.
    """

    def finish(task: Task) -> None:
        if task.status not in STARTED:
            raise _not_started(task)
        refuse_open_children(task)
        lose_attempt(
            task,
            AttemptOutcome.FAILED,
            error=error,
            retryable=retryable,
            actor=actor,
            now=database.now(),
        )

    return _report(task_id, token, finish, T.FAILED, artifact=error, actor=actor)


def release_task(task_id: str, *, token: str | None = None, reason: str = "", actor: Actor) -> Task:
    """Give a task back to its queue. The attempt does not count."""

    def finish(task: Task) -> None:
        if task.status == T.PENDING and token is None:
            return
        if task.status not in STARTED:
            raise _not_started(task)
        refuse_open_children(task)
        put_back(task, outcome=AttemptOutcome.RELEASED, actor=actor, now=database.now())

    return _report(task_id, token, finish, "", artifact=reason, actor=actor)


def _finish(task: Task, result: Any, actor: Actor, now: datetime) -> None:
    if task.status not in STARTED:
        raise _not_started(task)
    refuse_open_children(task)
    task.result, task.error = result, ""
    change_task(task, T.DONE, actor=actor, now=now)


def _report(
    task_id: str,
    token: str | None,
    finish: Callable[[Task], None],
    end: str,
    *,
    artifact: Any,
    actor: Actor,
) -> Task:
    """Carry out a report of the worker under the task's lock, with its lease checked."""
    try:
        with transaction.atomic():
            task = lock_ending_task(task_id)
            if not (end and _is_repeat(task, token, end, artifact)):
                require_lease(task, token)
                attributes = {"task_id": task_id, "instance_id": task.instance_id}
                with tracing.span(f"{end or 'released'} task", task.traceparent, **attributes):
                    finish(task)
    except (LeaseLost, Gone, AlreadyEnded):
        keep_artifact(task_id, token, artifact)
        raise
    return task


def _is_repeat(task: Task, token: str | None, end: str, reported: Any) -> bool:
    """Return whether the same lease, or a person, already made this report (R20).

    Raises AlreadyEnded where that report said something else.
    """
    stored = _stored_end(task, token)
    if stored is None:
        return False
    ended, value = stored
    outcome = AttemptOutcome.COMPLETED if ended == T.DONE else AttemptOutcome.FAILED
    if ended != end:
        raise AlreadyEnded(f"{task.pk} is {ended} already.", state=ended, outcome=outcome)
    word = "result" if end == T.DONE else "error"
    require_same(task.pk, end, word=word, stored=value, reported=reported, outcome=outcome)
    return True


def _stored_end(task: Task, token: str | None) -> tuple[str, Any] | None:
    """Return how the lease, or for hand work the task, ended, with its result or error.

    None where neither ended by a report, or something happened to the task since.
    """
    if token is None:
        by_hand = {T.DONE: task.result, T.FAILED: task.error}
        return (task.status, by_hand[T(task.status)]) if task.status in by_hand else None
    if task.status in STARTED:
        return None
    attempt = Attempt.objects.of_lease(task.pk, token)
    if attempt is None or attempt.number != task.attempt:
        return None
    if attempt.outcome == AttemptOutcome.COMPLETED and task.status == T.DONE:
        return T.DONE, task.result
    # After a retried failure the task is pending; after an escalation from a root, blocked.
    after_failure = (T.FAILED, T.PENDING, T.BLOCKED)
    if attempt.outcome == AttemptOutcome.FAILED and task.status in after_failure:
        return T.FAILED, attempt.error
    return None


def _not_started(task: Task) -> InvalidTransition:
    step = next_step(task)
    return InvalidTransition(
        f"{task.pk} is {task.status}: {step.words}.", state=task.status, allowed=step.allowed
    )


def _wish(
    instance_id: str,
    worker: str,
    limit: int,
    capabilities: Sequence[str] | None,
    tags: Sequence[str] | None,
    actor: Actor,
) -> Wish:
    able = None if capabilities is None else keys_of(capabilities)
    return Wish(instance_id, worker, actor, limit, 0, able, keys_of(tags or ()))


def _require_claiming(instance_id: str) -> QueueSettings:
    """Return the settings of the queue. Raises if R1 or R3 forbid a claim at the instance now."""
    line = lineages([instance_id]).get(instance_id)
    if not line:
        raise no_instance(instance_id)
    own = line[-1]
    if own.status == "terminated":
        raise Gone(f"{instance_id} is terminated.", state="terminated")
    if own.scope not in EXECUTING:
        raise Conflict(
            f"{instance_id} is a {own.scope}: it routes work and executes none (R1).",
            code="does_not_execute",
            scope=own.scope,
        )
    Standing.along(line).require("claim")
    if len(_queues) >= _MAX_QUEUES:
        _queues.clear()
    _queues[instance_id] = queue = Queue(own.scope, own.config)
    return queue.settings


def _require_claimable(task: Task, holder_id: str, now: datetime) -> None:
    claimable = Task.objects.claimable(now).filter(pk=task.pk, instance_id=holder_id)
    if not claimable.exists():
        doing = f" by {task.worker}" if task.worker else ""
        raise Conflict(
            f"{task.pk} cannot be claimed now: it is {task.status}{doing}"
            f"{', offered to ' + task.offered_to_id if task.offered_to_id else ''}"
            f"{', waiting for its dependencies' if not task.ready else ''}"
            f"{': ' + next_step(task).words if task.is_terminal else ''}.",
            code="not_claimable",
            state=task.status,
            allowed=[T.PENDING.value],
        )


def _claim(wish: Wish, settings: QueueSettings, tries: int) -> Claim:
    """Grant leases while there is room. Tries again if other claims were faster."""
    most = settings.max_concurrent_tasks
    for left in reversed(range(tries)):
        granted = grant(wish, most)
        if not granted and not left and wish.limit > 1:
            # Other claims may take some of many free slots. One slot is either free or taken.
            granted = grant(replace(wish, limit=1), most)
        if granted:
            return Claim([_lease(one, settings) for one in granted])
        # The instance may have been stopped since.
        _require_claiming(wish.instance_id)
        if not free_places(wish.instance_id, most):
            return Claim([], {"code": "AtCapacity", "detail": f"{most} of {most} slots are taken"})
        reason = why_nothing(wish, database.now())
        if reason is not None:
            return Claim([], reason)
        if left:
            time.sleep(_PAUSE_SECONDS)
    detail = "other claims or reports hold the fitting tasks now; ask again"
    return Claim([], {"code": "NothingReady", "detail": detail})


def _same_lease(task: Task, settings: QueueSettings) -> Lease:
    live = task.attempts.get(number=task.attempt)
    return _lease(Grant(task, live.checkpoint), settings)


def _lease(one: Grant, settings: QueueSettings) -> Lease:
    task = one.task
    attributes = {"task_id": task.pk, "instance_id": task.instance_id}
    with tracing.span("claim task", task.traceparent, **attributes):
        token = str(task.lease_token)
    return Lease(
        task=task,
        token=token,
        expires_at=task.lease_expires_at or task.updated_at,
        seconds=task.lease_seconds or settings.lease_seconds,
        attempt=task.attempt,
        max_runtime_seconds=task.max_runtime_seconds or settings.max_runtime_seconds,
        checkpoint=one.checkpoint,
    )
