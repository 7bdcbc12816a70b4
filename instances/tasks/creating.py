"""Creating tasks, with their parents and predecessors (R6, R13, R23)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction

from hopper import database
from hopper.database import after_commit, lock_shared, lock_tree
from hopper.errors import Conflict, FieldError, Invalid, NotAccepting, NotAllowed, RuleBroken
from hopper.ids import new_id
from hopper.task_fields import CHILD, CREATE, set_at
from instances.choices import AttemptOutcome, HopperScope
from instances.choices import TaskStatus as T
from instances.history import record, task_event
from instances.models import HopperInstance, Task
from instances.models.instance import lineages
from instances.models.task import each_word_once
from instances.tasks.changes import (
    amend_task,
    announce_due,
    change_task,
    end_attempt,
    hold_places,
    lock_task,
    lock_tasks,
    routes_on,
)
from instances.tasks.dependencies import (
    reevaluate,
    require_few_edges,
    require_known,
    set_dependencies,
)
from instances.tree.status import share_instance

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from hopper.actors import Actor

MAX_TASK_DEPTH = 5
"""The most levels of decomposition (R13). The root task is level 1."""


def adopt_child(parent: Task, *, actor: Actor, now: datetime) -> None:
    """Make a locked, open task the parent of a child that is being created (R13).

    The parent becomes in progress, without a lease, and waits for its children.
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
    parent.wait("WaitingChildren", now)
    end_attempt(parent, AttemptOutcome.RELEASED, now)
    if parent.status == T.IN_PROGRESS:
        amend_task(parent, "task.decomposed", actor=actor, now=now)
    else:
        change_task(parent, T.IN_PROGRESS, actor=actor, now=now, kind="task.decomposed")


def _lock_parent(parent_id: str, actor: Actor) -> Task:
    """Return the parent task, locked with its tree, where it may have one more child (R13)."""
    if not Task.objects.filter(pk=parent_id).exists():
        raise Invalid.field("parent_id", f"there is no task {parent_id}", "unknown")
    parent = lock_task(parent_id)
    require_lease_given(parent, actor)
    require_room_below(parent)
    return parent


def require_lease_given(parent: Task, actor: Actor) -> None:
    """Raise NotAllowed if a child would end the lease of another worker (R13).

    Without the lease token this needs the role operator at the holder.
    """
    holder_id = parent.instance_id
    if holder_id is None or not parent.has_live_lease or parent.lease_holder == actor.id:
        return
    if not actor.holds("operator", [ancestor.id for ancestor in lineages([holder_id])[holder_id]]):
        raise NotAllowed(
            f"{parent.pk} is leased to {parent.worker}: to end that takes the role operator at "
            f"{holder_id}.",
            role="operator",
        )


def require_room_below(parent: Task) -> None:
    """Raise RuleBroken for a task at the lowest level, which can have no children (R13)."""
    depth, above = 1, parent
    while above.parent_id is not None and above.parent is not None:
        depth, above = depth + 1, above.parent
    if depth >= MAX_TASK_DEPTH:
        raise RuleBroken(
            f"parent_id: tasks are decomposed at most {MAX_TASK_DEPTH} levels deep (R13).",
            code="too_deep",
            errors=[FieldError("parent_id", "too_deep", f"at most {MAX_TASK_DEPTH} levels")],
        )


class NewTask:
    """The fields of a task to be created; the field list names those that a caller may set.

    `instance_id` None leaves the task unassigned. `columns` are the fields without an effect on
    where the task is created. Raises TypeError for a name that a caller may not set.
    """

    def __init__(
        self,
        title: str,
        *,
        instance_id: str | None = None,
        parent_id: str | None = None,
        depends_on: Sequence[str] = (),
        unique_key: str | None = None,
        key: str | None = None,
        on_conflict: str = "return_existing",
        **columns: Any,
    ) -> None:
        self.instance_id, self.parent_id = instance_id, parent_id
        self.depends_on, self.on_conflict = depends_on, on_conflict
        self.unique_key, self.key = unique_key, key
        self.columns: dict[str, Any] = {"title": title, "unique_key": unique_key, "key": key}
        self.columns |= each_word_once(columns)
        if unknown := self.columns.keys() - _SETTABLE:
            raise TypeError(f"NewTask takes no {', '.join(sorted(unknown))}")


_SETTABLE = {field.name for field in (*set_at(CREATE), *set_at(CHILD))}


@dataclass(frozen=True)
class Created:
    """A task, and whether it existed already under its `unique_key` (R20)."""

    task: Task
    existed: bool = False


def create_task(new: NewTask, *, actor: Actor) -> Created:
    """Create a task and route it, or return the open task of that `unique_key`.

    Raises Invalid for unknown ids, NotAccepting where the instance takes no new tasks (R3),
    Conflict where the parent cannot have children or, if asked to reject, the key is taken.
    """
    for _ in range(3):
        existing = _open_task_of(new, actor)
        if existing is not None:
            if new.on_conflict == "reject":
                raise Conflict(
                    f"unique_key: {existing.pk} is still open under this key.",
                    code="unique_key_taken",
                    task_id=existing.pk,
                )
            return Created(existing, existed=True)
        try:
            with transaction.atomic():
                task = _insert(new, actor)
            break
        except IntegrityError:
            # Another transaction took the key meanwhile: look again.
            if new.unique_key is None:
                raise
    else:
        raise Conflict("unique_key: other requests keep using this key; try again.")
    return Created(Task.objects.get(pk=task.pk))


def create_tasks(many: Sequence[NewTask], *, actor: Actor) -> list[Created]:
    """Create several tasks, all or nothing, in their order.

    100 of them are placed after the commit, the others by the sweep. Raises Invalid for more than
    10,000 predecessors in all.
    """
    require_few_edges(len(new.depends_on) for new in many)
    with transaction.atomic():
        # All instance rows before any task row, several only under the tree lock (R6).
        places = {place for new in many if (place := _place_for(new))}
        if len(places) > 1 or any(map(_joins, many)):
            lock_tree()
        for instance_id in sorted(places):
            lock_shared(HopperInstance, instance_id)
        parents = lock_tasks(new.parent_id for new in many if new.parent_id)
        # Each parent's lease ends with its first child.
        hold_places(Task.objects.leased().filter(pk__in=[parent.pk for parent in parents]))
        created = [create_task(new, actor=actor) for new in many]
    fresh = Task.objects.in_bulk([one.task.pk for one in created])
    return [Created(fresh[one.task.pk], one.existed) for one in created]


def insert_task(
    new: NewTask,
    *,
    holder: HopperInstance | None,
    parent: Task | None,
    actor: Actor,
    now: datetime,
    task_id: str | None = None,
) -> Task:
    """Write a new task's row, its predecessors and its event, and mark it due for placing.

    The holder is locked against change, the parent locked and adopted; for services of this room.
    `task_id` is the new task's id; without one, an id is made.
    """
    depends_on = require_known(new.depends_on)
    task_id = task_id or new_id("task")
    task = _row(task_id, new, holder, parent, actor, now)
    task.ready = not depends_on
    task.save(force_insert=True)
    task.remember(task.changed_fields())
    if depends_on:
        set_dependencies(task, depends_on)
        amend_task(task, "", actor=actor, now=now)
    record(task_event(task, "task.created", actor=actor, now=now))
    announce_due(task, actor)
    if depends_on:
        # After placing: a task that is still moving is not blocked (R23).
        after_commit(lambda: reevaluate(task_id))
    return task


def _row(
    task_id: str,
    new: NewTask,
    holder: HopperInstance | None,
    parent: Task | None,
    actor: Actor,
    now: datetime,
) -> Task:
    task = Task(
        **new.columns,
        id=task_id,
        root_id=parent.root_id if parent else task_id,
        parent=parent,
        instance=holder,
        origin=holder,
        status=T.PENDING,
        created_by=actor.name,
        created_by_id=actor.id,
        unique_among=_unique_among(new, holder.pk if holder else None, actor),
        created_at=now,
        updated_at=now,
    )
    task.queue_from(now)
    task.route_due = routes_on(task)
    return task


def _insert(new: NewTask, actor: Actor) -> Task:
    if _joins(new):
        lock_tree()
    instance_id = _place_for(new)
    holder = admitting(instance_id) if instance_id else None
    parent = _lock_parent(new.parent_id, actor) if new.parent_id else None
    now = database.now()
    if parent is not None and not new.instance_id and parent.instance_id != instance_id:
        raise Conflict(f"{parent.pk} moved meanwhile; try again.", state=parent.status)
    if parent is not None:
        adopt_child(parent, actor=actor, now=now)
    return insert_task(new, holder=holder, parent=parent, actor=actor, now=now)


def _joins(new: NewTask) -> bool:
    """Return whether a task waits and is waited for: a parallel edit could close a cycle."""
    return bool(new.parent_id and new.depends_on)


def _place_for(new: NewTask) -> str | None:
    """Return the instance for a new task: the given one, its parent's holder, or the GLOBAL."""
    if new.instance_id:
        return new.instance_id
    if new.parent_id:
        parents = Task.objects.filter(pk=new.parent_id)
        return parents.values_list("instance_id", flat=True).first()
    if not settings.HOPPER_AUTO_ROUTE:
        return None
    oldest = HopperInstance.objects.live().filter(scope="GLOBAL").order_by("created_at", "id")
    found: str | None = oldest.values_list("pk", flat=True).first()
    return found


def admitting(instance_id: str) -> HopperInstance:
    """Return the instance, locked against change, if tasks may be created there now (R3)."""
    instance = share_instance(instance_id, field="instance_id")
    if instance.scope == HopperScope.FEDERATED:
        raise NotAccepting(f"{instance_id} has no remote (NoRemote, R1).", code="no_remote")
    instance.standing().require("create")
    return instance


def _open_task_of(new: NewTask, actor: Actor) -> Task | None:
    if new.unique_key is None:
        return None
    among = _unique_among(new, _place_for(new), actor)
    return Task.objects.open().filter(unique_among=among, unique_key=new.unique_key).first()


def _unique_among(new: NewTask, place: str | None, actor: Actor) -> str:
    """Return among whose tasks the key of a new task is unique: an instance's or an actor's (R20).

    An actor that does not see the instance must not learn of its other tasks by a key.
    """
    if new.unique_key is None:
        return ""
    line = lineages([place]).get(place, []) if place else []
    return place if place and actor.holds("viewer", [one.id for one in line]) else actor.id
