"""A stopping instance becomes stopped when nobody works below it any more (R5)."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from hopper.actors import SYSTEM, Actor
from instances.choices import InstanceStatus as I
from instances.models import Task
from instances.models.instance import lineages
from instances.services.instance_states import change_instance, lock_instance


def settle_instance(instance_id: str, *, actor: Actor) -> bool:
    """Let a stopping instance be stopped if no live lease remains below; return whether it was."""
    with transaction.atomic():
        instance = lock_instance(instance_id)
        if instance.status != I.STOPPING:
            return False
        if Task.objects.in_subtree(instance_id).leased().exists():
            return False
        change_instance(instance, I.STOPPED, actor, timezone.now(), {})
    return True


def settle_above(instance_id: str, *, actor: Actor) -> None:
    """Settle every stopping instance on the line from `instance_id` to its root."""
    for lineal in reversed(lineages([instance_id]).get(instance_id, [])):
        if lineal.status == I.STOPPING:
            settle_instance(lineal.id, actor=actor)


def settle_after_commit(instance_id: str, *, actor: Actor = SYSTEM) -> None:
    """Once the lease's end is committed, settle what was only waiting for it (R6)."""
    transaction.on_commit(lambda: settle_above(instance_id, actor=actor), robust=True)
