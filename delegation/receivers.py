"""The listeners for what `instances` says (R5, R9, R17)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.dispatch import receiver

from delegation.choices import DelegationStatus as D
from delegation.choices import Reason
from delegation.completion import CompletionBubbler, remake_path
from delegation.instance_changes import (
    _cancel,
    _downward_offers,
    _empty_terminated,
    _quieten,
    refuse_crossing_move,
)
from delegation.models import TaskDelegation
from delegation.offers import close_offer
from delegation.placing import try_to_place
from delegation.sweep import wake
from instances.choices import InstanceStatus as I
from instances.models import HopperInstance, Task
from instances.signals import (
    instance_changed,
    offer_overtaken,
    routing_due,
    rows_compared,
    task_finished,
    task_reopened,
)

if TYPE_CHECKING:
    from datetime import datetime

    from hopper.actors import Actor
    from instances.models import HopperInstance, Task


def react_to_instance(
    instance: HopperInstance,
    before: str,
    *,
    actor: Actor,
    now: datetime,
    options: dict[str, Any],
) -> None:
    """Do what R5 says a change of status means; called inside the transaction that made it."""
    if "subtree" in options:
        _empty_terminated(frozenset(options["subtree"]), actor, now)
    elif options.get("configured") or instance.status == I.RUNNING:
        instance_id = instance.pk
        transaction.on_commit(lambda: wake(instance_id, actor=actor), robust=True)
    elif instance.status in (I.STOPPING, I.STOPPED):
        _quieten(instance, actor, now, options)
    elif instance.status == I.ERROR:
        offers = _downward_offers().filter(target_instance=instance)
        _cancel(offers, Reason.TARGET_ERROR, actor, now)


@receiver(routing_due)
def place_due_task(task_id: str, actor: Actor, **_: Any) -> None:
    """Place a task after the commit that made it due; a failure leaves it to the sweep."""
    try_to_place(task_id, actor=actor)


@receiver(task_finished)
def bubble_finished_task(task: Task, actor: Actor, now: datetime, **_: Any) -> None:
    """Carry a task's end upwards, inside the transaction that ended it."""
    CompletionBubbler(actor).bubble_completion(task, now)


@receiver(offer_overtaken)
def withdraw_overtaken_offer(
    task: Task, reason: str, actor: Actor, now: datetime, **_: Any
) -> None:
    """Take back the pending offer of a task that moved on without it."""
    for offer in TaskDelegation.objects.filter(task=task, status=D.PENDING):
        close_offer(offer, task, D.CANCELLED, reason=reason, actor=actor, now=now)


@receiver(task_reopened)
def return_reopened_task(
    task: Task, ended_at: datetime | None, actor: Actor, now: datetime, **_: Any
) -> None:
    """Put a task that begins again back to where it was held."""
    remake_path(task, ended_at, actor, now)


@receiver(instance_changed)
def follow_instance(
    instance: HopperInstance,
    before: str,
    actor: Actor,
    now: datetime,
    options: dict[str, Any],
    **_: Any,
) -> None:
    """Do to tasks and delegations what a change of their instance means (R5)."""
    if options.get("moving"):
        refuse_crossing_move(instance)
    else:
        react_to_instance(instance, before, actor=actor, now=now, options=options)


@receiver(rows_compared)
def show_delegations(task_ids: list[str], **_: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """Say how the delegations of tasks stand."""
    rows = TaskDelegation.objects.filter(task__in=task_ids).order_by("pk")
    names = ("source_instance_id", "target_instance_id", "delegation_type", "status", "reason")
    return {"delegations": {row["id"]: row for row in rows.values("id", "task_id", *names)}}
