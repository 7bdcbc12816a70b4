"""Writing history: one event row for every change (I20)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection

from hopper.database import columns, inserting, stored, write_together
from instances.models import Event, HopperInstance, Task

if TYPE_CHECKING:
    from collections.abc import Iterable
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
    if events:
        write_together(inserting(events))


def record_above(event: Event, places: Iterable[str]) -> None:
    """Write the event in the feed of every instance at and above `places`, but for its own."""
    starts = sorted(set(places))
    if not starts:
        return
    names = columns(event)
    taken = ", ".join("id" if name == "instance_id" else "%s" for name in names)
    values = [
        value for name, value in zip(names, stored(event), strict=True) if name != "instance_id"
    ]
    table = HopperInstance._meta.db_table
    marks = ", ".join(["%s"] * len(starts))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {Event._meta.db_table} ({", ".join(names)})
            WITH RECURSIVE above (id, parent_id) AS (
                SELECT id, parent_id FROM {table} WHERE id IN ({marks})
                UNION
                SELECT i.id, i.parent_id FROM above a JOIN {table} i ON i.id = a.parent_id
            )
            SELECT {taken} FROM above WHERE id <> %s ORDER BY id
            """,  # noqa: S608
            [*starts, *values, event.instance_id or ""],
        )
