"""Creating tasks, with their parents and predecessors (R6, R13, R23)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from hopper import database, tracing
from hopper.actors import Actor
from hopper.database.rows import columns, select
from hopper.errors import Conflict, FieldError, Invalid, NotAccepting, NotAllowed, RuleBroken
from hopper.ids import new_id
from hopper.task_fields import CHILD, CREATE, set_at
from instances.choices import AttemptOutcome, HopperScope, TaskStatus as T
from instances.history import copies_above, task_event
from instances.models import HopperInstance, Task, each_word_once, lineages
from instances.tasks.changes import (
    amend_task,
    announce_due,
    change_task,
    end_attempt,
    gathered,
    insert_rows,
    lock_counters,
    lock_tasks,
    routes_on,
)
from instances.tasks.create_sql import creating, insert_at_once
from instances.tasks.dependencies import (
    add_dependencies,
    may_begin,
    reevaluate_new,
    require_few_edges,
    statuses_of,
)
from instances.tree.locks import lock_edges, lock_trees
from instances.tree.status import share_instance

_NOT_YET = datetime.min.replace(tzinfo=UTC)
"""The moment of a row that gets its moment from the database."""

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
            f"it takes no children now{'; retry it first' if parent.is_terminal else ''}.",
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
    return create_tasks([new], actor=actor)[0]


def create_tasks(many: Sequence[NewTask], *, actor: Actor) -> list[Created]:
    """Create several tasks, all or nothing, in their order; for the rest see `create_task`.

    100 of them are placed after the commit, the others by the sweep. Raises Invalid for more than
    10,000 predecessors in all.
    """
    require_few_edges(len(new.depends_on) for new in many)
    for _ in range(3):
        try:
            created = _create_plain(many, actor)
            if created is None:
                with transaction.atomic():
                    created = _create(many, actor)
            break
        except IntegrityError:
            # Another transaction took a key, or archived a predecessor, meanwhile: look again.
            if not any(new.unique_key or new.depends_on for new in many):
                raise
    else:
        raise Conflict("unique_key: other requests keep using this key; try again.")
    fresh = _fresh({task_id for task_id, _ in created})
    return [Created(fresh[task_id], existed) for task_id, existed in created]


def _fresh(task_ids: Set[str]) -> dict[str, Task]:
    """Return tasks by id, as they are now."""
    marks = ", ".join(["%s"] * len(task_ids)) or "NULL"
    found = f"SELECT {columns(Task)} FROM {Task._meta.db_table} WHERE id IN ({marks})"  # noqa: S608
    return {task.pk: task for task in select(Task, found, list(task_ids))}


def _create_plain(many: Sequence[NewTask], actor: Actor) -> list[tuple[str, bool]] | None:
    """Create a single task that names its instance alone, by one call; None if that cannot be.

    Returns what `_create` returns.
    """
    if len(many) != 1 or not creating().is_kept():
        return None
    new = many[0]
    if not new.instance_id or new.parent_id or new.depends_on or new.unique_key is not None:
        return None
    task = new_task(new_id("task"), new, None, None, actor, _NOT_YET)
    task.instance_id = task.origin_id = new.instance_id
    if not insert_at_once(task, actor):
        return None
    announce_due(task, actor)
    return [(task.pk, False)]


def insert_tasks(
    tasks: Sequence[Task], depends_on: Mapping[str, Sequence[str]], *, actor: Actor, now: datetime
) -> None:
    """Write the rows of new tasks, their predecessors and events; mark them due for placing.

    `depends_on` holds predecessors by the id of a task, new ones too. The holders are locked
    against change, the parents locked and adopted; for services of this room.
    """
    new = {task.pk: T.PENDING.value for task in tasks}
    known = statuses_of(pk for before in depends_on.values() for pk in before if pk not in new)
    present = new.keys() | known.keys()
    edges = {
        pk: [one for one in dict.fromkeys(before) if one in present]
        for pk, before in depends_on.items()
        if before
    }
    for task in tasks:
        before = edges.get(task.pk, ())
        task.ready = may_begin(task, [new.get(pk) or known[pk] for pk in before])
    with gathered():
        insert_rows(*tasks)
        insert_rows(*(task_event(task, "task.created", actor=actor, now=now) for task in tasks))
        for task in tasks:
            announce_due(task, actor)
    for task in tasks:
        task.remember(task.changed_fields())
    add_dependencies(edges)
    if edges:
        # After placing: a task that is still moving is not blocked (R23).
        transaction.on_commit(lambda: reevaluate_new(edges), robust=True)


def insert_imported(tasks: Sequence[Task], *, actor: Actor, now: datetime) -> None:
    """Write the rows of tasks from elsewhere, in the state that each has, with their events.

    The end of a task that has ended is recorded at the instances above, as any end (R17).
    """
    common: dict[str, Any] = {"actor": actor, "now": now, "imported": True}
    ended = [task for task in tasks if task.is_terminal]
    bubbled = [
        (
            task_event(task, f"task.{task.status}", ending=True, bubbled=True, **common),
            {place for place in (task.origin_id, task.instance_id) if place},
        )
        for task in ended
    ]
    with gathered():
        insert_rows(*tasks)
        insert_rows(*(task_event(task, "task.created", **common) for task in tasks))
        insert_rows(
            *(task_event(task, f"task.{task.status}", ending=True, **common) for task in ended)
        )
        insert_rows(*copies_above(bubbled))


def new_task(
    task_id: str,
    new: NewTask,
    holder: HopperInstance | None,
    parent: Task | None,
    actor: Actor,
    now: datetime,
    among: str = "",
) -> Task:
    """Return the unsaved row of a new task. `among` is its `unique_among` if it has a key."""
    given = new.columns.get("traceparent") or tracing.current()
    given = given or (parent.traceparent if parent else "")
    attributes = {"task_id": task_id, "instance_id": holder.pk if holder else new.instance_id}
    with tracing.span("create task", given, **attributes) as trace:
        is_strange = given and not tracing.valid(given)
        columns = {**new.columns, "traceparent": given if is_strange else trace}
    task = Task(
        **columns,
        id=task_id,
        root_id=parent.root_id if parent else task_id,
        parent=parent,
        instance=holder,
        origin=holder,
        status=T.PENDING,
        created_by=actor.name,
        created_by_id=actor.id,
        unique_among=among,
        created_at=now,
        updated_at=now,
    )
    task.queue_from(now)
    task.route_due = routes_on(task)
    return task


def _create(many: Sequence[NewTask], actor: Actor) -> list[tuple[str, bool]]:
    """Create the tasks whose key is free; return each id, and whether the task existed already."""
    placed = list(zip(many, _places_of(many), strict=True))
    among = _unique_among({place for new, place in placed if new.unique_key is not None}, actor)
    taken = _open_tasks_of({new.unique_key for new in many if new.unique_key is not None})
    found: list[tuple[str, bool]] = []
    fresh: dict[str, tuple[NewTask, str | None, str]] = {}
    for new, place in placed:
        its = among[place] if new.unique_key is not None else ""
        key = (its, new.unique_key)
        if key not in taken:
            task_id = new_id("task")
            fresh[task_id] = (new, place, its)
            found.append((task_id, False))
            if new.unique_key is not None:
                taken[key] = task_id
        elif new.on_conflict == "reject":
            raise Conflict(
                f"unique_key: {taken[key]} is still open under this key.",
                code="unique_key_taken",
                task_id=taken[key],
            )
        else:
            found.append((taken[key], True))
    if fresh:
        _insert(fresh, actor)
    return found


def _insert(fresh: Mapping[str, tuple[NewTask, str | None, str]], actor: Actor) -> None:
    """Insert new tasks, by id with their instance and `unique_among`; lock first what they name."""
    # All instance rows before any task row, several only in locked trees (R6).
    places = {place for _, place, _ in fresh.values() if place}
    if len(places) > 1:
        lock_trees(*places)
    if any(_joins(new) for new, _, _ in fresh.values()):
        lock_edges()
    holders = {place: admitting(place) for place in sorted(places)}
    parents = _lock_parents({new.parent_id for new, _, _ in fresh.values() if new.parent_id}, actor)
    now = database.now()
    rows = []
    for task_id, (new, place, among) in fresh.items():
        parent = parents[new.parent_id] if new.parent_id else None
        if parent is not None and not new.instance_id and parent.instance_id != place:
            raise Conflict(f"{parent.pk} moved meanwhile; try again.", state=parent.status)
        holder = holders[place] if place else None
        rows.append(new_task(task_id, new, holder, parent, actor, now, among))
    for parent in parents.values():
        adopt_child(parent, actor=actor, now=now)
    depends_on = {task_id: new.depends_on for task_id, (new, _, _) in fresh.items()}
    insert_tasks(rows, depends_on, actor=actor, now=now)


def _joins(new: NewTask) -> bool:
    """Return whether a task waits and is waited for: a parallel edit could close a cycle."""
    return bool(new.parent_id and new.depends_on)


def _lock_parents(parent_ids: Set[str], actor: Actor) -> dict[str, Task]:
    """Return parent tasks by id, locked with their trees, where they may have children (R13)."""
    if not parent_ids:
        return {}
    parents = {parent.pk: parent for parent in lock_tasks(parent_ids)}
    if unknown := sorted(parent_ids - parents.keys()):
        raise Invalid.field("parent_id", f"there is no task {', '.join(unknown)}", "unknown")
    for parent in parents.values():
        require_lease_given(parent, actor)
        require_room_below(parent)
    # Each parent's lease ends with its first child.
    lock_counters(Task.objects.leased().filter(pk__in=parents))
    return parents


def _places_of(many: Sequence[NewTask]) -> list[str | None]:
    """Return the instance of each new task: the given one, its parent's holder, or the GLOBAL."""
    above = {new.parent_id for new in many if new.parent_id and not new.instance_id}
    holders = dict(Task.objects.filter(pk__in=above).values_list("pk", "instance_id"))
    loose = any(not new.instance_id and not new.parent_id for new in many)
    top = _oldest_global() if loose and settings.HOPPER_AUTO_ROUTE else None
    return [
        new.instance_id or (holders.get(new.parent_id) if new.parent_id else top) for new in many
    ]


def _oldest_global() -> str | None:
    oldest = HopperInstance.objects.live().filter(scope="GLOBAL").order_by("created_at", "id")
    found: str | None = oldest.values_list("pk", flat=True).first()
    return found


def _open_tasks_of(keys: Set[str]) -> dict[tuple[str, str | None], str]:
    """Return the ids of the open tasks with these keys, by `unique_among` and key."""
    rows = Task.objects.open().filter(unique_key__in=keys)
    found = rows.values_list("unique_among", "unique_key", "pk")
    return {(among, key): pk for among, key, pk in found}


def _unique_among(places: Set[str | None], actor: Actor) -> dict[str | None, str]:
    """Return among whose tasks a key is unique at each place: an instance's or an actor's (R20).

    An actor that does not see the instance must not learn of its other tasks by a key.
    """
    lines = lineages(place for place in places if place)
    seen = {
        place for place, line in lines.items() if actor.holds("viewer", [one.id for one in line])
    }
    return {place: place if place and place in seen else actor.id for place in places}


def admitting(instance_id: str) -> HopperInstance:
    """Return the instance, locked against change, if tasks may be created there now (R3)."""
    instance = share_instance(instance_id, field="instance_id")
    if instance.scope == HopperScope.FEDERATED:
        raise NotAccepting(f"{instance_id} has no remote (NoRemote, R1).", code="no_remote")
    instance.standing().require("create")
    return instance
