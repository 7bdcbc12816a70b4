"""A task becomes a parent: it waits for its children and gives its lease back (R13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hopper.errors import Conflict, FieldError, Invalid, NotAllowed, RuleBroken
from instances.choices import AttemptOutcome
from instances.choices import TaskStatus as T
from instances.models import Task
from instances.models.instance import lineages
from instances.services.history import record, task_event
from instances.services.transitions import change_task, end_attempt, lock_task, save_task

if TYPE_CHECKING:
    from datetime import datetime

    from hopper.actors import Actor

MAX_TASK_DEPTH = 5
"""Levels of decomposition (R13), the root being the first."""


def adopt_child(parent: Task, *, actor: Actor, now: datetime) -> None:
    """Make a locked, open task the parent of a child that is being created (R13).

    It becomes in progress without a lease, waiting for its children.
    """
    if parent.is_terminal or parent.status == T.BLOCKED or parent.offered_to_id is not None:
        raise Conflict(
            f"{parent.pk} is {parent.status}"
            f"{' and offered to ' + parent.offered_to_id if parent.offered_to_id else ''}: "
            "it takes no children now.",
            code="parent_closed",
            state=parent.status,
        )
    if parent.decomposed and parent.status == T.IN_PROGRESS:
        return
    parent.decomposed = True
    if parent.status == T.PENDING:
        parent.wait("WaitingChildren", now)
        change_task(parent, T.IN_PROGRESS, actor=actor, now=now, kind="task.decomposed")
        return
    end_attempt(parent, AttemptOutcome.RELEASED, now)
    parent.wait("WaitingChildren", now)
    if parent.status == T.CLAIMED:
        change_task(parent, T.IN_PROGRESS, actor=actor, now=now, kind="task.decomposed")
        return
    save_task(parent, now)
    record(task_event(parent, "task.decomposed", actor=actor, now=now, before=parent.status))


def lock_parent(parent_id: str, *, actor: Actor, now: datetime) -> Task:
    """Return the parent task, locked with its tree, ready to have one more child (R13)."""
    if not Task.objects.filter(pk=parent_id).exists():
        raise Invalid.field("parent_id", f"there is no task {parent_id}", "unknown")
    parent = lock_task(parent_id)
    require_lease_given(parent, actor)
    require_room_below(parent)
    adopt_child(parent, actor=actor, now=now)
    return parent


def require_lease_given(parent: Task, actor: Actor) -> None:
    """Raise NotAllowed where a child would end the lease of somebody else (R13).

    Over its worker's head only an operator of the holder may do that.
    """
    holder_id = parent.instance_id
    if holder_id is None or not parent.has_live_lease or parent.lease_holder == actor.name:
        return
    if not actor.holds("operator", [lineal.id for lineal in lineages([holder_id])[holder_id]]):
        raise NotAllowed(
            f"{parent.pk} is leased to {parent.worker}: to end that takes the role operator at "
            f"{holder_id}.",
            role="operator",
        )


def require_room_below(parent: Task) -> None:
    """Raise RuleBroken for a task at the lowest level: it can have no children (R13)."""
    depth, above = 1, parent
    while above.parent_id is not None and above.parent is not None:
        depth, above = depth + 1, above.parent
    if depth >= MAX_TASK_DEPTH:
        raise RuleBroken(
            f"parent_id: tasks are decomposed at most {MAX_TASK_DEPTH} levels deep (R13).",
            code="too_deep",
            errors=[FieldError("parent_id", "too_deep", f"at most {MAX_TASK_DEPTH} levels")],
        )
