"""The changes of a delegation on locked rows: offer, accept, refuse, close (R7, R8)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from delegation.choices import DelegationStatus as D, DelegationType, Reason
from delegation.delegation_history import DelegationHistory
from delegation.facts import around, facts_of, instance_facts
from delegation.models import TaskDelegation
from hopper.actors import Actor
from hopper.config.registry import effective_settings
from hopper.errors import Conflict
from hopper.ids import new_id
from hopper.protocol import DELEGATION
from instances.choices import STARTED, AttemptOutcome
from instances.models import HopperInstance, Task
from instances.tasks.changes import (
    amend_task,
    gathered,
    insert_rows,
    move_task,
    rest_task,
    write_row,
)
from instances.tasks.leases import put_back
from instances.tree.surroundings import Surroundings
from scopes.deciding import answer, get_behavior_for_instance
from scopes.decisions import Answer


@dataclass(frozen=True)
class Terms:
    """The terms of an offer: type, notes, whether a person answers, whether the offer is forced."""

    delegation_type: str = DelegationType.ROUTE
    notes: str = ""
    explicit: bool = False
    forced: bool = False
    reason: str = ""
    question_id: str | None = None


def make_offer(
    task: Task,
    target: HopperInstance,
    terms: Terms,
    *,
    why: str = "",
    hop: int | None = None,
    actor: Actor,
    now: datetime,
) -> TaskDelegation:
    """Offer a locked task to a locked target and return the pending row. The holder stays (R8).

    An escalation never expires (R11). Any other offer expires after the target's `offer_seconds`.
    `why` is the known reason why the answer waits, `hop` the number of the hop where it is known.
    """
    up = terms.delegation_type == DelegationType.ESCALATE
    expires = None if up else now + _time_to_answer(target)
    delegation = TaskDelegation(
        id=new_id("del"),
        task=task,
        source_instance_id=task.instance_id,
        target_instance=target,
        hop=hop or DelegationHistory.of(task).next_number,
        epoch=task.epoch,
        delegated_at=now,
        expires_at=expires,
        delegated_by=actor.name,
        **asdict(terms),
    )
    task.offered_to = target
    task.route_due = False
    if terms.reason != Reason.ANSWERED:
        task.return_to_id = None
    _await_answer(task, delegation, why, now)
    feed = delegation.source_instance_id or target.pk
    data = {"instance_id": feed, "delegation_id": delegation.pk, "words": terms.notes}
    with gathered():
        insert_rows(delegation)
        amend_task(task, "delegation.offered", actor=actor, now=now, to=target.pk, **data)
    return delegation


def _time_to_answer(target: HopperInstance) -> timedelta:
    settings = effective_settings(target.scope, target.config)
    return timedelta(seconds=int(settings["offer_seconds"]))


def _await_answer(task: Task, offer: TaskDelegation, why: str, now: datetime) -> None:
    target = offer.target_instance_id
    task.wait(
        "AwaitingEscalation" if offer.goes_up else "AwaitingAcceptance",
        now,
        object=offer.pk,
        until=offer.expires_at.isoformat() if offer.expires_at else None,
        detail=f"offered to {target}",
        **({"why": why} if why else {}),
    )


def take_back(task: Task, *, force: bool, actor: Actor, now: datetime) -> None:
    """Return a locked task to the source of its last hop, for a reassignment (R12).

    The caller has locked the tree. The hop becomes cancelled (reassigned). Raises Conflict for a
    task without a hop, and for running work unless `force` revokes its lease.
    """
    last = TaskDelegation.objects.chain(task.pk).last()
    if last is None or last.source_instance is None:
        raise Conflict(f"{task.pk} came to {task.instance_id} by no delegation.", state=task.status)
    if task.status in STARTED and not task.decomposed:
        if not force:
            raise Conflict(
                f"{task.pk} is {task.status} by {task.worker}: reassigning it needs force.",
                code="running",
                state=task.status,
                worker=task.worker,
            )
        put_back(task, outcome=AttemptOutcome.EVICTED, actor=actor, now=now)
    end_accepted(last, D.CANCELLED, reason=Reason.REASSIGNED, actor=actor, now=now)
    was = task.instance_id
    move_task(task, last.source_instance, actor=actor, now=now, was=was, reason="reassign")


def target_answer(task: Task, target: HopperInstance, here: Surroundings | None = None) -> Answer:
    """Return the answer of the target's behaviour to this task (R8, R22).

    `here` is what stands around the target, where the caller has just read it.
    """
    facts = instance_facts(here or around(target.pk, children=False))
    return answer(get_behavior_for_instance(target), facts_of(task), facts)


def answer_offer(
    delegation: TaskDelegation,
    task: Task,
    target: HopperInstance,
    answer: Answer,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Carry out the answer of a target: accept or reject the offer, or leave it open (R8)."""
    if answer.verdict == "accept":
        accept_offer(delegation, task, target, actor=actor, now=now)
    elif answer.verdict == "refuse":
        reason, words = answer.code, answer.reason
        close_offer(delegation, task, D.REJECTED, reason=reason, words=words, actor=actor, now=now)


def accept_offer(
    delegation: TaskDelegation, task: Task, target: HopperInstance, *, actor: Actor, now: datetime
) -> None:
    """Make the target the holder of a locked task (R8). The task is due if the target routes."""
    first = delegation.source_instance_id is None
    with _as_origin(target, task) if first else nullcontext(), gathered():
        _move(delegation, D.ACCEPTED, actor, now)
        if delegation.goes_up:
            _leave_child(delegation, task, actor, now)
        task.offered_to = None
        kind, data = "delegation.accepted", _named(delegation)
        move_task(task, target, kind=kind, onward=True, actor=actor, now=now, **data)


def close_offer(
    delegation: TaskDelegation,
    task: Task,
    status: str,
    *,
    reason: str,
    words: str = "",
    actor: Actor,
    now: datetime,
) -> None:
    """End a pending delegation unaccepted: rejected, expired or cancelled (R7).

    The task stays with its holder. Unless it has ended, the task is due again.
    """
    delegation.rejection_reason = words
    task.offered_to = task.return_to = None
    write = amend_task if task.is_terminal else rest_task
    data: dict[str, Any] = {**_named(delegation), "reason": reason, "words": words}
    with gathered():
        _move(delegation, status, actor, now, reason=reason)
        write(task, kind=f"delegation.{status}", actor=actor, now=now, **data)


def end_accepted(
    delegation: TaskDelegation,
    status: str,
    *,
    reason: str,
    result: Any = None,
    actor: Actor,
    now: datetime,
) -> None:
    """End an accepted delegation: completed, failed or cancelled (R7). Writes no event."""
    delegation.result = result
    _move(delegation, status, actor, now, reason=reason)


@contextmanager
def _as_origin(target: HopperInstance, task: Task) -> Iterator[None]:
    """Make the target the origin of an unassigned task, which the block writes (R25).

    Raises Conflict if another open task there has its unique_key.
    """
    task.origin = target
    if task.unique_key is not None:
        task.unique_among = target.pk
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        raise Conflict(
            f"{target.pk} cannot take {task.pk}: another open task there bears its unique_key.",
            code="unique_key_taken",
        ) from None


def _leave_child(escalation: TaskDelegation, task: Task, actor: Actor, now: datetime) -> None:
    """End the downward hop that had brought the task to the escalating child (R11)."""
    hops = TaskDelegation.objects.filter(
        task=task, status=D.ACCEPTED, target_instance=escalation.source_instance_id
    )
    last = hops.exclude(delegation_type=DelegationType.ESCALATE).order_by("hop", "id").last()
    if last is not None:
        end_accepted(last, D.FAILED, reason=Reason.ESCALATED, actor=actor, now=now)


_CHANGING = (
    *("status", "answered_by", "reason", "rejection_reason", "result"),
    *("notes", "accepted_at", "completed_at"),
)
"""The fields of a delegation that its edges write."""


def _move(
    delegation: TaskDelegation, status: str, actor: Actor, now: datetime, reason: str = ""
) -> None:
    DELEGATION.require(delegation.status, status, delegation.pk)
    delegation.status = status
    delegation.answered_by = actor.name
    if reason:
        delegation.reason = reason
    # A change that waited for locks may have begun before the creation of this row (I14).
    moment = max(now, delegation.accepted_at or delegation.delegated_at)
    if status == D.ACCEPTED:
        delegation.accepted_at = moment
    else:
        delegation.completed_at = moment
    write_row(delegation, *_CHANGING)


def _named(delegation: TaskDelegation) -> dict[str, str]:
    """Return the instance and the delegation for an event."""
    return {"instance_id": delegation.target_instance_id, "delegation_id": delegation.pk}
