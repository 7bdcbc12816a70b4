"""Blocking what cannot be placed: who refused it, whose queue was full, and who is told (R9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from delegation.models import TaskDelegation
from instances.choices import TaskStatus as T
from instances.models import Event, Task
from instances.services.transitions import change_task

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from hopper.actors import Actor
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
    """Block a locked task for a person: the attention list (R26).

    Its event asks for attention, but for a capability gap that was said already.
    """
    refusals = _refusals(task)
    full = {one["target_instance_id"] for one in refusals if one["reason"] == "queue_full"}
    full |= {one.instance_id for one in considered if one.filters.get("capacity") == "QueueFull"}
    # Capabilities are compared whatever the case, and so are gaps.
    words = sorted({word.casefold() for word in task.required_capabilities})
    required = {"required": ", ".join(words)} if code == GAP else {}
    said = code == GAP and _said(task, required["required"])
    found: dict[str, Any] = {
        "object": task.instance_id,
        "refusals": refusals,
        "full": sorted(full),
        **required,
    }
    task.wait(code, now, detail=detail, **found)
    told: dict[str, Any] = {"reason": code, "detail": detail, "attention": not said, **required}
    change_task(task, T.BLOCKED, actor=actor, now=now, **told)


def _refusals(task: Task) -> list[dict[str, Any]]:
    rows = TaskDelegation.objects.filter(task=task, epoch=task.epoch)
    said = rows.exclude(rejection_reason="", reason="").order_by("id")
    names = ("target_instance_id", "status", "reason", "rejection_reason")
    return [dict(row) for row in said.values(*names)]


def _said(task: Task, required: str) -> bool:
    """Return whether this gap was said for this task before, or for another that waits here."""
    events = Event.objects.filter(task=task, kind="task.blocked", data__attention=True)
    others = Task.objects.filter(instance=task.instance_id, status=T.BLOCKED, waiting__code=GAP)
    return (
        events.filter(data__reason=GAP, data__required=required).exists()
        or others.filter(waiting__required=required).exists()
    )
