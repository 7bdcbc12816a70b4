"""Decomposition: one call creates all children. A repeated call creates no key twice (R13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any

from django.db import transaction

from hopper import database
from hopper.actors import Actor
from hopper.errors import Conflict, FieldError, Invalid, RuleBroken
from hopper.ids import new_id
from instances.choices import TaskStatus as T
from instances.models import Attempt, Task
from instances.tasks.changes import amend_task, lock_task, present_task
from instances.tasks.creating import (
    NewTask,
    admitting,
    adopt_child,
    insert_tasks,
    new_task,
    require_lease_given,
    require_room_below,
)
from instances.tasks.dependencies import require_few_edges
from instances.tasks.leases import require_lease
from instances.tree.locks import lock_edges


@dataclass(frozen=True)
class Decomposed:
    """The requested children, in order, and the ids of the new ones."""

    children: list[Task]
    new: frozenset[str] = frozenset()


def create_children(
    task_id: str,
    children: Sequence[NewTask],
    *,
    terms: Mapping[str, Any],
    token: str | None = None,
    actor: Actor,
) -> Decomposed:
    """Create children of a task at its holder, all or none. Returns known keys unchanged.

    `depends_on` of a child names siblings by key and other tasks by id. `terms` may set the
    parent's `completion`, `failure_policy`, `quorum`. `token` is the lease's, which ends with it.
    Raises Conflict where the task takes no children now or is not the token's, RuleBroken at the
    lowest level and for a cycle, Invalid for unknown predecessors and a key given twice.
    """
    _require_order(children)
    require_few_edges(len(child.depends_on) for child in children)
    known = _by_key(task_id)
    if all(child.key in known for child in children):
        return Decomposed([known[child.key] for child in children])
    with transaction.atomic():
        if wait_for_others(children):
            # The parent waits for the children: a parallel edit could close a cycle.
            lock_edges()
        holder_id = present_task(task_id).instance_id
        holder = admitting(holder_id) if holder_id else None
        parent = lock_task(task_id)
        known = _by_key(task_id)
        missing = [place for place, child in enumerate(children) if child.key not in known]
        made: dict[int, Task] = {}
        if missing:
            if parent.instance_id != holder_id:
                raise Conflict(f"{task_id} moved meanwhile; try again.", state=parent.status)
            now = database.now()
            _open(parent, terms, token, actor, now)
            context = (holder, parent, actor, now)
            made = {at: new_task(new_id("task"), children[at], *context) for at in missing}
            _insert(made, children, known, actor=actor, now=now)
    found = [made.get(place) or known[child.key] for place, child in enumerate(children)]
    return Decomposed(found, frozenset(task.pk for task in made.values()))


def _insert(
    made: Mapping[int, Task],
    children: Sequence[NewTask],
    known: Mapping[str | None, Task],
    **context: Any,
) -> None:
    """Insert the new children, by their place in the call, with ids in place of siblings' keys."""
    siblings = {**known, **{children[place].key: task for place, task in made.items()}}
    before = {
        task.pk: [
            siblings[word].pk if word in siblings else word for word in children[place].depends_on
        ]
        for place, task in made.items()
    }
    insert_tasks(list(made.values()), before, **context)


def _open(
    parent: Task, terms: Mapping[str, Any], token: str | None, actor: Actor, now: datetime
) -> None:
    """Make a locked task wait for children on these terms, and end the lease of `token`."""
    waits = parent.decomposed and parent.status == T.IN_PROGRESS
    if token is not None and not (waits and _was_leased_by(parent, token)):
        require_lease(parent, token)
    if token is None:
        require_lease_given(parent, actor)
    require_room_below(parent)
    changed = sorted(name for name, value in terms.items() if getattr(parent, name) != value)
    for name in changed:
        setattr(parent, name, terms[name])
    adopt_child(parent, actor=actor, now=now)
    if changed:
        amend_task(parent, "task.updated", actor=actor, now=now, fields=changed)


def _was_leased_by(parent: Task, token: str) -> bool:
    """Whether the decomposition ended this lease. Its worker may then add children."""
    attempt = Attempt.objects.of_lease(parent.pk, token)
    return attempt is not None and attempt.number == parent.attempt


def wait_for_others(children: Sequence[NewTask]) -> bool:
    """Return whether a child depends on a task that is none of these children."""
    siblings = {child.key for child in children}
    return any(not siblings.issuperset(child.depends_on) for child in children)


def _by_key(parent_id: str) -> dict[str | None, Task]:
    return {child.key: child for child in Task.objects.filter(parent=parent_id, key__isnull=False)}


def _require_order(children: Sequence[NewTask]) -> None:
    """Raise Invalid for a key given twice, RuleBroken where siblings wait for one another."""
    places: dict[str, int] = {}
    for place, child in enumerate(children):
        if child.key is not None and places.setdefault(child.key, place) != place:
            field = f"children.{place}.key"
            raise Invalid(
                f"{field}: {child.key} is given twice",
                errors=[FieldError(field, "repeated", f"{child.key} is given twice")],
            )
    order = TopologicalSorter(
        {
            place: [places[word] for word in child.depends_on if word in places]
            for place, child in enumerate(children)
        }
    )
    try:
        order.prepare()
    except CycleError as error:
        names = " > ".join(str(children[place].key) for place in error.args[1])
        raise RuleBroken(f"depends_on: a cycle (R23): {names}.", code="cycle") from None
