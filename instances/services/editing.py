"""One PUT on an instance: several changes, one transaction, nothing written if one is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from hopper.locks import lock_tree
from instances.models import HopperInstance
from instances.services.lifecycle import set_instance_status
from instances.services.tree import describe_instance, move_instance, rename_instance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hopper.actors import Actor

_DETAILS = ("description", "config", "runtime_metadata", "expires_at")


def update_instance(
    instance_id: str, *, changes: Mapping[str, Any], actor: Actor
) -> HopperInstance:
    """Apply changes of name, parent_id, status, description, config, runtime_metadata, expires_at.

    Raises what the single changes raise; then nothing at all is written.
    """
    with transaction.atomic():
        if {"name", "parent_id", "status"} & set(changes):
            lock_tree()
        if "name" in changes:
            rename_instance(instance_id, name=changes["name"], actor=actor)
        if "parent_id" in changes:
            move_instance(instance_id, parent_id=changes["parent_id"], actor=actor)
        details = {name: value for name, value in changes.items() if name in _DETAILS}
        if details:
            describe_instance(instance_id, changes=details, actor=actor)
        if "status" in changes:
            set_instance_status(instance_id, status=changes["status"], actor=actor)
    return HopperInstance.objects.get(pk=instance_id)
