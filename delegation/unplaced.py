"""Blocking a task that placing found no place for, with the words for the person who decides."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from delegation.models import TaskDelegation
from hopper.actors import Actor
from instances.choices import TaskStatus as T
from instances.models import Event, Task
from instances.tasks.changes import change_task
from scopes.decisions import Considered

GAP = "CapabilityGap"


def block_unplaced(
    task: Task,
    code: str,
    detail: str,
    *,
    considered: Iterable[Considered],
    actor: Actor,
    now: datetime,
) -> None:
    """Block a locked task for a person (R26).

    Its event asks for attention, unless an alert about the same capability gap was sent before.
    """
    refusals = _refusals(task)
    full = {one["target_instance_id"] for one in refusals if one["reason"] == "queue_full"}
    full |= {one.instance_id for one in considered if one.filters.get("capacity") == "QueueFull"}
    required = {"required": ", ".join(task.capability_keys)} if code == GAP else {}
    told_before = code == GAP and _gap_alert_sent(task, required["required"])
    found: dict[str, Any] = {
        "object": task.instance_id,
        "refusals": refusals,
        "full": sorted(full),
        **required,
    }
    task.wait(code, now, detail=detail, **found)
    data: dict[str, Any] = {
        "reason": code,
        "detail": detail,
        "attention": not told_before,
        **required,
    }
    change_task(task, T.BLOCKED, actor=actor, now=now, **data)


def _refusals(task: Task) -> list[dict[str, Any]]:
    rows = TaskDelegation.objects.filter(task=task, epoch=task.epoch)
    refused = rows.exclude(rejection_reason="", reason="").order_by("delegated_at", "id")
    names = ("target_instance_id", "status", "reason", "rejection_reason")
    return [dict(row) for row in refused.values(*names)]


def _gap_alert_sent(task: Task, required: str) -> bool:
    """Return whether an alert about this missing capability was already sent."""
    events = Event.objects.filter(task=task, kind="task.blocked", data__attention=True)
    others = Task.objects.filter(instance=task.instance_id, status=T.BLOCKED, waiting__code=GAP)
    return (
        events.filter(data__reason=GAP, data__required=required).exists()
        or others.filter(waiting__required=required).exists()
    )
