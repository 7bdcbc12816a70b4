"""Changes of the status of an instance: check R2, write row and event, send the signal."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import transaction
from django.db.models import F

from hopper import database
from hopper.actors import SYSTEM, Actor
from hopper.errors import HopperError, Invalid, NotFound
from hopper.protocol import INSTANCE
from instances.choices import InstanceStatus as I
from instances.history import instance_event, record
from instances.models import HopperInstance, InstanceLoad, Task, lineages
from instances.signals import instance_fails, instance_runs, instance_stops


def change_instance(
    instance: HopperInstance,
    status: str,
    actor: Actor,
    now: datetime,
    *,
    reason: str = "",
    evacuate: bool = False,
    leased: Collection[str] = (),
) -> None:
    """Change the status of a locked instance and send the signal. Raises InvalidTransition (R2).

    `evacuate` and `leased` are the arguments of the signal `instance_stops`.
    """
    INSTANCE.require(instance.status, status, instance.pk)
    write_status(instance, status, actor, now, reason=reason)
    pk = instance.pk
    if status == I.RUNNING:
        instance_runs.announce(instance_id=pk, actor=actor)
    elif status == I.ERROR:
        instance_fails.announce(instance_id=pk, actor=actor, now=now)
    elif status in (I.STOPPING, I.STOPPED):
        instance_stops.announce(
            instance_id=pk, evacuate=evacuate, leased=leased, actor=actor, now=now
        )
    if status == I.STOPPING:
        _bar_claims(pk)


def _bar_claims(instance_id: str) -> None:
    """Refuse every claim below that was checked before this stop. Counters are locked last (R6).

    A claim that locked a counter first has granted its lease. A later count sees that lease.
    """
    below = list(HopperInstance.objects.under(instance_id).values_list("pk", flat=True))
    loads = database.lock_rows(InstanceLoad, below)
    InstanceLoad.objects.filter(pk__in=list(loads)).update(stops=F("stops") + 1)


def write_status(
    instance: HopperInstance, status: str, actor: Actor, now: datetime, reason: str = ""
) -> None:
    """Write a status that the table of R2 permits, with times and event."""
    before = instance.status
    instance.status = status
    instance.updated_at = now
    if status == I.RUNNING and before != I.PAUSED:
        instance.started_at = now
    if status in (I.STOPPED, I.TERMINATED):
        instance.stopped_at = now
    HopperInstance.objects.filter(pk=instance.pk).update(
        status=status,
        updated_at=now,
        started_at=instance.started_at,
        stopped_at=instance.stopped_at,
    )
    details = {"reason": reason} if reason else {}
    record(
        instance_event(
            instance, f"instance.{status}", actor=actor, now=now, before=before, **details
        )
    )


def no_instance(instance_id: str, field: str = "") -> HopperError:
    """Return the error that an instance does not exist: NotFound, or Invalid for a `field`.

    `field` names the input that points at the instance.
    """
    if field:
        return Invalid.field(field, f"there is no instance {instance_id}", "unknown")
    return NotFound(f"There is no instance {instance_id}.")


def lock_instance(instance_id: str) -> HopperInstance:
    """Return the instance, locked for a change of its row. Raises NotFound."""
    return _existing(database.lock_row(HopperInstance, instance_id), instance_id)


def share_instance(instance_id: str, *, field: str = "") -> HopperInstance:
    """Return the instance, locked against change. Raises NotFound, or Invalid for a `field`."""
    return _existing(database.lock_shared(HopperInstance, instance_id), instance_id, field)


def present_instance(instance_id: str) -> HopperInstance:
    """Return the instance, read without a lock. Raises NotFound."""
    return _existing(HopperInstance.objects.filter(pk=instance_id).first(), instance_id)


def _existing(instance: HopperInstance | None, instance_id: str, field: str = "") -> HopperInstance:
    if instance is None:
        raise no_instance(instance_id, field)
    return instance


def settle_instance(instance_id: str, *, actor: Actor) -> bool:
    """Stop a stopping instance if no live lease remains below. Return whether it was stopped."""
    with transaction.atomic():
        instance = lock_instance(instance_id)
        if instance.status != I.STOPPING:
            return False
        if Task.objects.in_subtree(instance_id).leased().exists():
            return False
        change_instance(instance, I.STOPPED, actor, database.now())
    return True


def settle_above(instance_id: str, *, actor: Actor) -> None:
    """Settle every stopping instance from `instance_id` up to its root."""
    for ancestor in reversed(lineages([instance_id]).get(instance_id, [])):
        if ancestor.status == I.STOPPING:
            settle_instance(ancestor.id, actor=actor)


def settle_after_commit(instance_id: str) -> None:
    """Settle the stopping instances above, after the commit of the lease's end (R6)."""
    database.after_commit(lambda: settle_above(instance_id, actor=SYSTEM))
