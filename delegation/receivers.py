"""The receivers of the signals of `instances` (R5, R9, R17)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.dispatch import receiver

from delegation.choices import DelegationStatus as D
from delegation.completion import CompletionBubbler, remake_path
from delegation.instance_changes import (
    cancel_offers_to,
    empty_stopping,
    empty_terminated,
    refuse_crossing_move,
)
from delegation.models import TaskDelegation
from delegation.offers import close_offer
from delegation.placing import try_to_place
from delegation.sweep import wake
from instances.signals import (
    instance_fails,
    instance_moves,
    instance_runs,
    instance_stops,
    instances_end,
    offer_overtaken,
    routing_due,
    rows_compared,
    task_reopened,
    tasks_finished,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from hopper.actors import Actor
    from instances.models import Task


instance_stops.receiver(empty_stopping)
instance_fails.receiver(cancel_offers_to)
instances_end.receiver(empty_terminated)
instance_moves.receiver(refuse_crossing_move)


@instance_runs.receiver
def wake_after_commit(*, instance_id: str, actor: Actor) -> None:
    """Do the work that waited for an instance, after the commit. The sweep covers a crash."""
    transaction.on_commit(lambda: wake(instance_id, actor=actor), robust=True)


@routing_due.receiver
def place_due_task(*, task_id: str, actor: Actor) -> None:
    """Place a task after the commit that made it due; a failure leaves it to the sweep."""
    try_to_place(task_id, actor=actor)


@tasks_finished.receiver
def bubble_finished_tasks(*, tasks: Sequence[Task], actor: Actor, now: datetime) -> None:
    """Carry the ends of tasks upwards, inside the transaction that ended them."""
    CompletionBubbler(actor).bubble_completion(tasks, now)


@offer_overtaken.receiver
def withdraw_overtaken_offer(*, task: Task, reason: str, actor: Actor, now: datetime) -> None:
    """Take back the pending offer of a task that moved on without it."""
    for offer in TaskDelegation.objects.filter(task=task, status=D.PENDING):
        close_offer(offer, task, D.CANCELLED, reason=reason, actor=actor, now=now)


@task_reopened.receiver
def return_reopened_task(
    *, task: Task, ended_at: datetime | None, actor: Actor, now: datetime
) -> None:
    """Return a reopened task to its last holder."""
    remake_path(task, ended_at, actor, now)


@receiver(rows_compared)
def show_delegations(task_ids: list[str], **_: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the delegations of tasks, for a preview."""
    rows = TaskDelegation.objects.filter(task__in=task_ids).order_by("pk")
    names = ("source_instance_id", "target_instance_id", "delegation_type", "status", "reason")
    return {"delegations": {row["id"]: row for row in rows.values("id", "task_id", *names)}}
