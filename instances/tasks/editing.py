"""Editing tasks. A change of a field that routing reads routes the task again (R9, R10)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from hopper import database
from hopper.actors import Actor
from hopper.errors import Conflict
from hopper.task_fields import EDIT, set_at
from instances.choices import (
    PLACING_BLOCKS,
    TaskStatus as T,
)
from instances.models import Task, each_word_once
from instances.signals import offer_overtaken
from instances.tasks.changes import (
    amend_task,
    change_task,
    lock_task,
    rest_task,
)
from instances.tasks.dependencies import predecessors, reevaluate, set_dependencies
from instances.tasks.next_step import next_step
from instances.tree.locks import lock_edges

_EDITABLE = {field.name for field in set_at(EDIT)}
_ROUTING_FIELDS = ("project", "tags", "required_capabilities")


def update_task(task_id: str, *, changes: Mapping[str, Any], actor: Actor) -> Task:
    """Edit a task. A change of project, tags or capabilities routes the task again (R9).

    Raises Conflict for a finished task, Invalid for unknown predecessors.
    """
    with transaction.atomic():
        depends_on = changes.get("depends_on")
        if depends_on is not None:
            # Two parallel edits could close a cycle that neither of them sees.
            lock_edges()
        task = lock_task(task_id)
        if task.is_terminal:
            step = next_step(task)
            raise Conflict(
                f"{task_id} is {task.status} and cannot be edited: {step.words}.",
                state=task.status,
                allowed=step.allowed,
            )
        now = database.now()
        changed = _edit(task, changes)
        if depends_on is None and "dependency_rule" in changed:
            depends_on = predecessors(task)
        if depends_on is not None:
            set_dependencies(task, depends_on)
        task.queue_from(task.created_at)
        if changed or depends_on is not None:
            names = sorted(changed) + (["depends_on"] if "depends_on" in changes else [])
            amend_task(task, "task.updated", actor=actor, now=now, fields=names)
        if any(name in changed for name in _ROUTING_FIELDS):
            begin_placing_anew(task, actor=actor, now=now, reason="edited")
        if depends_on is not None:
            # After placing: a task that is still moving is not blocked (R23).
            database.after_commit(lambda: reevaluate(task_id))
    return Task.objects.get(pk=task_id)


def _edit(task: Task, changes: Mapping[str, Any]) -> list[str]:
    """Set the changed fields on the object, except predecessors. Return their names.

    Raises TypeError for a name that a caller may not edit.
    """
    if unknown := changes.keys() - _EDITABLE:
        raise TypeError(f"no field to edit: {', '.join(sorted(unknown))}")
    own = each_word_once({name: one for name, one in changes.items() if name != "depends_on"})
    changed = [name for name, value in own.items() if getattr(task, name) != value]
    for name in changed:
        setattr(task, name, own[name])
    return changed


def begin_placing_anew(task: Task, *, actor: Actor, now: datetime, reason: str) -> bool:
    """Start a new epoch for a locked task and have it placed from its holder (R9, R10).

    Withdraws a pending offer and lifts a block that placing set. Returns False, with nothing
    written, for a task that is started, finished, escalating, decomposed or blocked by a person.
    """
    by_placing = task.status == T.BLOCKED and task.waiting_code in PLACING_BLOCKS
    if not (task.status == T.PENDING or by_placing) or task.waiting_code == "AwaitingEscalation":
        return False
    if task.offered_to_id is not None:
        offer_overtaken.announce(task=task, reason="rerouted", actor=actor, now=now)
    task.epoch += 1
    task.return_to = None
    task.wait("")
    if by_placing:
        change_task(task, T.PENDING, actor=actor, now=now, kind="task.unblocked", reason=reason)
    rest_task(task, kind="task.rerouted", actor=actor, now=now, reason=reason)
    return True
