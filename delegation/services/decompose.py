"""A task is decomposed: its children are made, and those with a target are sent there (R13)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.db import transaction

from delegation.choices import DelegationType
from delegation.services.delegator import Delegator
from hopper.errors import Invalid
from hopper.locks import lock_shared, lock_tree
from instances.models import HopperInstance, Task
from instances.services.decomposing import Decomposed, create_children
from instances.services.transitions import present_task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hopper.actors import Actor
    from instances.services.tasks import NewTask


def decompose_task(
    task_id: str,
    children: Sequence[NewTask],
    *,
    terms: Mapping[str, Any] | None = None,
    token: str | None = None,
    actor: Actor,
) -> Decomposed:
    """Make all children of a task in one transaction; they are placed after it (R13).

    `instance_id` of a child is its target: a child of the holder, which is asked at once, or the
    holder itself. The rest is as `create_children` says. Raises RuleBroken for any other target.
    """
    targets = {child.instance_id for child in children if child.instance_id}
    with transaction.atomic():
        if targets:
            # They point at several instances, whose rows are locked before any task (R6).
            lock_tree()
            _lock_all({*targets, present_task(task_id).instance_id} - {None})
        found = create_children(task_id, children, terms=terms or {}, token=token, actor=actor)
        for child, made in zip(children, found.children, strict=True):
            if made.pk in found.new and child.instance_id not in (None, made.instance_id):
                Delegator(actor).delegate_task(
                    made.pk,
                    str(child.instance_id),
                    delegation_type=DelegationType.DECOMPOSE,
                    accept="auto",
                )
    fresh = Task.objects.in_bulk([child.pk for child in found.children])
    return replace(found, children=[fresh[child.pk] for child in found.children])


def _lock_all(instance_ids: set[Any]) -> None:
    for instance_id in sorted(instance_ids):
        if lock_shared(HopperInstance, instance_id) is None:
            raise Invalid.field("instance_id", f"there is no instance {instance_id}", "unknown")
