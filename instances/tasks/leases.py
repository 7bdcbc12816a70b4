"""Leases, and their ends without a report of the worker: expiry and revocation (R15, R21)."""

from __future__ import annotations

import secrets
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction

from hopper import database
from hopper.actors import SYSTEM, Actor
from hopper.errors import Conflict, Gone, LeaseLost
from hopper.site_key import is_lease_token
from instances.choices import AttemptOutcome, TaskStatus as T
from instances.models import Attempt, Task, TaskQuerySet
from instances.queue_settings import escalates_failures, queue_settings
from instances.tasks.changes import (
    change_task,
    gathered,
    lock_counters,
    lock_task,
    lock_tasks,
    rest_task,
)
from instances.tasks.same_report import is_empty, same_value
from instances.tree.locks import share_lines

if TYPE_CHECKING:
    from instances.settings import QueueSettings

MIN_LEASE_SECONDS = 30
MAX_LEASE_SECONDS = 24 * 3600
MAX_ARTIFACTS = 20
"""The number of further late values that an attempt keeps."""
_MAX_BACKOFF_SECONDS = 3600
_RESCUE_SECONDS = 10
_rescued: dict[str, float] = {}
"""The time of this process's last look for expired leases, by instance."""


def max_attempts(task: Task) -> int:
    """Return the number of failed attempts after which the task has failed for good (R15)."""
    if task.max_attempts is not None:
        return task.max_attempts
    return _settings(task).max_attempts


def backoff(task: Task) -> timedelta:
    """Return the pause after the latest failure: min(cap, base * 2^n) plus jitter."""
    base = _settings(task).retry_backoff_seconds
    seconds = min(_MAX_BACKOFF_SECONDS, base * 2 ** min(max(task.failures - 1, 0), 20))
    return timedelta(seconds=seconds * (1 + secrets.randbelow(100) / 1000))


def lose_attempt(
    task: Task, outcome: str, *, error: str, retryable: bool, actor: Actor, now: datetime
) -> None:
    """End a locked task's attempt as a failure: queued again, escalated, or failed (R15).

    After an expired lease the task is claimable at once (R21); a reported failure backs off first.
    """
    task.failures += 1
    task.error = error
    if retryable and task.failures < max_attempts(task):
        if outcome == AttemptOutcome.FAILED:
            task.retry_at = now + backoff(task)
            task.wait("RetryBackoff", now, until=task.retry_at.isoformat(), detail=error)
        kind = "task.lease_lost" if outcome == AttemptOutcome.EXPIRED else "task.retrying"
        _requeue(task, kind=kind, outcome=outcome, actor=actor, now=now, error=error)
        return
    holder = task.instance
    if holder is not None and escalates_failures(holder.scope, holder.config):
        _mark_for_escalation(task, outcome=outcome, actor=actor, now=now)
        return
    change_task(task, T.FAILED, actor=actor, now=now, outcome=outcome, error=error)


def _mark_for_escalation(task: Task, *, outcome: str, actor: Actor, now: datetime) -> None:
    """Return the task to pending and mark it for escalation. Attempts restart at the parent.

    Placing escalates it: the parent must be found and locked before the task is (R6).
    """
    task.failures = 0
    task.route_due = True
    task.wait("AwaitingEscalation", now, detail=task.error)
    change_task(
        task,
        T.PENDING,
        actor=actor,
        now=now,
        kind="task.given_up",
        outcome=outcome,
        error=task.error,
    )


def overdue_leases(*, instance_id: str | None = None, limit: int) -> list[Task]:
    """Return the tasks whose lease has run out, at an instance or everywhere (R21)."""
    overdue = Task.objects.leased().filter(lease_expires_at__lt=database.now())
    if instance_id is not None:
        overdue = overdue.filter(instance_id=instance_id)
    return list(overdue.order_by("lease_expires_at").only("pk", "root_id")[:limit])


def expire_leases(*, instance_id: str | None = None, limit: int = 200) -> int:
    """Take back the leases whose time has run out; return how many (R21)."""
    return sum(map(expire_lease, overdue_leases(instance_id=instance_id, limit=limit)))


def rescue_leases(instance_id: str, *, in_need: bool = False) -> bool:
    """Rescue expired leases at an instance. Return whether there were any (R21).

    For a machine without a sweeper: at most once in 10 s for each process, and always if a claim
    found no task (`in_need`). Inside a transaction (that of a key) the rescue follows the commit:
    it locks the counter of one lease and then the tree of the next, which one transaction must not
    do (R6).
    """
    now = time.monotonic()
    if not in_need and now - _rescued.get(instance_id, -_RESCUE_SECONDS) < _RESCUE_SECONDS:
        return False
    _rescued[instance_id] = now
    found: list[int] = []

    def rescue() -> None:
        found.append(expire_leases(instance_id=instance_id, limit=20))

    transaction.on_commit(rescue, robust=True)
    return any(found)


def expire_lease(task: Task, actor: Actor = SYSTEM) -> bool:
    """Rescue the lease of a task if it has expired. Return whether it was rescued.

    A transaction of its own checks the time again under the lock. So an earlier heartbeat wins, and
    any number of sweepers may run. A task whose root another transaction has locked is left for the
    next sweep.
    """
    with transaction.atomic():
        # Before the root: the failure may be the last one (R6).
        share_lines()
        roots = Task.objects.select_for_update(skip_locked=True, no_key=True)
        if not roots.filter(pk=task.root_id).exists():
            return False
        task = lock_task(task.pk)
        now = database.now()
        if task.lease_expires_at is None or task.lease_expires_at >= now:
            return False
        error = f"the lease of {task.worker} ran out"
        lose_attempt(
            task, AttemptOutcome.EXPIRED, error=error, retryable=True, actor=actor, now=now
        )
    return True


def revoke_leases(tasks: TaskQuerySet, *, outcome: str, actor: Actor, now: datetime) -> list[Task]:
    """Revoke leases: the attempts do not count, the tasks become pending at their holders.

    Returns the tasks, locked. Hand work without a lease goes on.
    """
    revoked = []
    locked = lock_tasks(tasks.leased().values_list("pk", flat=True))
    lock_counters(Task.objects.filter(pk__in=[task.pk for task in locked]))
    with gathered():
        for task in locked:
            if task.has_live_lease:
                put_back(task, outcome=outcome, actor=actor, now=now)
                revoked.append(task)
    return revoked


def put_back(task: Task, *, outcome: str, actor: Actor, now: datetime) -> None:
    """Return a locked, started task to its holder's queue, its attempt ended as `outcome`."""
    _requeue(task, kind=f"task.{outcome}", outcome=outcome, actor=actor, now=now)


def _requeue(
    task: Task, *, kind: str, outcome: str, actor: Actor, now: datetime, **data: Any
) -> None:
    if task.has_live_lease:
        # A leased task is placed already; a task taken by hand may not be (R9).
        change_task(task, T.PENDING, actor=actor, now=now, kind=kind, outcome=outcome, **data)
    else:
        rest_task(task, kind=kind, actor=actor, now=now, outcome=outcome, **data)


def _settings(task: Task) -> QueueSettings:
    holder = task.instance
    return queue_settings(holder.scope, holder.config) if holder else queue_settings("GLOBAL", {})


def refuse_open_children(task: Task) -> None:
    """Raise Conflict with the ids of the open children of a decomposed task, if any (R19)."""
    if not task.decomposed:
        return
    open_children = list(task.children.open().values_list("pk", flat=True)[:20])
    if open_children:
        raise Conflict(
            f"{task.pk} has open children: {', '.join(open_children)}.",
            code="open_children",
            children=open_children,
        )


def keep_artifact(task_id: str, token: str | None, artifact: Any) -> None:
    """Keep a value that came too late with the attempt of its lease (R21).

    `artifact` keeps the first, `more_artifacts` the others: each once, at most 20.
    """
    if token is None or is_empty(artifact):
        return
    with transaction.atomic():
        attempts = Attempt.objects.select_for_update(no_key=True)
        attempt = attempts.of_lease(task_id, token)
        if attempt is None:
            return
        more = attempt.more_artifacts
        if attempt.artifact is None:
            attempt.artifact = artifact
        elif not any(same_value(artifact, kept) for kept in (attempt.artifact, *more)):
            attempt.more_artifacts = [*more, artifact][:MAX_ARTIFACTS]
        attempt.save(update_fields=["artifact", "more_artifacts"])


def require_lease(task: Task, token: str | None) -> None:
    """Raise unless `token` is the task's live lease, or the task is hand work (R21)."""
    if token is None and not task.has_live_lease:
        return
    if token is not None and task.has_live_lease and _is_live_token(task, token):
        return
    if token is None:
        raise Conflict(
            f"{task.pk} is leased to {task.worker}: send the lease's token.",
            code="token_required",
            worker=task.worker,
        )
    attempt = Attempt.objects.of_lease(task.pk, token)
    if attempt and attempt.instance and not attempt.instance.is_live:
        raise Gone(f"{attempt.instance_id} was terminated.", state="terminated")
    if task.status == T.CANCELLED:
        raise Gone(f"{task.pk} was cancelled: {task.error}".rstrip(": "), state=task.status)
    raise LeaseLost(
        f"This lease of {task.pk} is over; the task is {task.status} now.",
        state=task.status,
        worker=task.worker,
        outcome=attempt and attempt.outcome,
    )


def _is_live_token(task: Task, token: str) -> bool:
    """Return whether `token` is that of the live lease. Only a lease of an old release is read."""
    if is_lease_token(token, task.pk, task.attempt, task.epoch):
        return True
    attempt = Attempt.objects.of_lease(task.pk, token)
    return attempt is not None and attempt.number == task.attempt
