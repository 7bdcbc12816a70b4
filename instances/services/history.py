"""Writing history: one event row for every change (I20)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from instances.models import Event, HopperInstance, Task

if TYPE_CHECKING:
    from datetime import datetime

    from hopper.actors import Actor


def task_event(
    task: Task,
    kind: str,
    *,
    actor: Actor,
    now: datetime,
    before: str = "",
    instance_id: str | None = None,
    delegation_id: str = "",
    ending: bool = False,
    **data: Any,
) -> Event:
    """Return the unsaved event of a task's change, in its holder's feed unless another is named."""
    return Event(
        kind=kind,
        at=now,
        actor=actor.name,
        task=task,
        instance_id=instance_id or task.instance_id,
        delegation_id=delegation_id,
        epoch=task.epoch,
        attempt=task.attempt,
        before=before,
        status=task.status,
        holder_id=task.instance_id or "",
        ending=ending,
        data={key: value for key, value in data.items() if value not in (None, "")},
    )


def instance_event(
    instance: HopperInstance,
    kind: str,
    *,
    actor: Actor,
    now: datetime,
    before: str = "",
    **data: Any,
) -> Event:
    """Return the unsaved event of an instance's change."""
    return Event(
        kind=kind,
        at=now,
        actor=actor.name,
        instance=instance,
        before=before,
        status=instance.status,
        data=data,
    )


def record(*events: Event) -> None:
    """Write events, in one statement."""
    Event.objects.bulk_create(events)
