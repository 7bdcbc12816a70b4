"""The receivers of the signals of `instances` (R5, R9, R17).

Each receiver loads its service when it is called: a command that only reads loads none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.dispatch import receiver

from hopper.actors import Actor
from instances.models import HopperInstance, Task
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


@instance_runs.receiver
def wake_after_commit(*, instance_id: str, actor: Actor) -> None:
    """Do the work that waited for an instance, after the commit. The sweep covers a crash."""
    from delegation.sweep import wake

    transaction.on_commit(lambda: wake(instance_id, actor=actor), robust=True)


@instance_stops.receiver
def empty_stopping(
    *, instance_id: str, evacuate: bool, leased: Collection[str], actor: Actor, now: datetime
) -> None:
    """Cancel the offers to and from a stopping instance and all below; evacuate if asked."""
    from delegation import instance_changes

    instance_changes.empty_stopping(
        instance_id=instance_id, evacuate=evacuate, leased=leased, actor=actor, now=now
    )


@instance_fails.receiver
def cancel_offers_to(*, instance_id: str, actor: Actor, now: datetime) -> None:
    """Cancel the offers to an instance in error."""
    from delegation import instance_changes

    instance_changes.cancel_offers_to(instance_id=instance_id, actor=actor, now=now)


@instances_end.receiver
def empty_terminated(*, instance_ids: Collection[str], actor: Actor, now: datetime) -> None:
    """Move every unfinished task out of instances that were just terminated (R5)."""
    from delegation import instance_changes

    instance_changes.empty_terminated(instance_ids=instance_ids, actor=actor, now=now)


@instance_moves.receiver
def refuse_crossing_move(*, instance: HopperInstance) -> None:
    """Raise Conflict if an offer or an active path crosses the edge above an instance (R1)."""
    from delegation import instance_changes

    instance_changes.refuse_crossing_move(instance=instance)


@routing_due.receiver
def place_due_task(*, task: Task, actor: Actor) -> None:
    """Place a task after the commit that made it due; a failure leaves it to the sweep."""
    from delegation.placing import try_to_place

    try_to_place(task, actor=actor)


@tasks_finished.receiver
def bubble_finished_tasks(*, tasks: Sequence[Task], actor: Actor, now: datetime) -> None:
    """Carry the ends of tasks upwards, inside the transaction that ended them."""
    from delegation.completion import CompletionBubbler

    CompletionBubbler(actor).bubble_completion(tasks, now)


@offer_overtaken.receiver
def withdraw_overtaken_offer(*, task: Task, reason: str, actor: Actor, now: datetime) -> None:
    """Take back the pending offer of a task that moved on without it."""
    from delegation import offers
    from delegation.choices import DelegationStatus
    from delegation.models import TaskDelegation

    for offer in TaskDelegation.objects.filter(task=task, status=DelegationStatus.PENDING):
        offers.close_offer(
            offer, task, DelegationStatus.CANCELLED, reason=reason, actor=actor, now=now
        )


@task_reopened.receiver
def return_reopened_task(
    *, task: Task, ended_at: datetime | None, actor: Actor, now: datetime
) -> None:
    """Return a reopened task to its last holder."""
    from delegation.completion import remake_path

    remake_path(task, ended_at, actor, now)


@receiver(rows_compared)
def show_delegations(task_ids: list[str], **_: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the delegations of tasks, for a preview."""
    from delegation.models import TaskDelegation

    rows = TaskDelegation.objects.filter(task__in=task_ids).order_by("pk")
    names = ("source_instance_id", "target_instance_id", "delegation_type", "status", "reason")
    return {"delegations": {row["id"]: row for row in rows.values("id", "task_id", *names)}}
