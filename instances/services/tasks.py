"""Tasks come in, are edited, are cancelled (R6, R16, R19)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from hopper.errors import Conflict, Invalid, NotAccepting
from hopper.ids import new_id
from hopper.locks import lock_shared, lock_tree
from instances.choices import (
    PLACING_BLOCKS,
    ChildFailure,
    Completion,
    DependencyRule,
    FailurePolicy,
    HopperScope,
    ParentClose,
)
from instances.choices import TaskStatus as T
from instances.models import HopperInstance, Task
from instances.services.adopting import lock_parent
from instances.services.dependencies import (
    predecessors,
    reevaluate,
    require_known,
    set_dependencies,
)
from instances.services.history import record, task_event
from instances.services.transitions import (
    change_task,
    hold_places,
    lock_task,
    lock_tasks,
    rest_or_route,
    save_task,
)
from instances.signals import offer_overtaken, routing_due
from instances.states import ALLOWANCES, allowing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from hopper.actors import Actor


_ROUTING_FIELDS = ("project", "tags", "required_capabilities")


@dataclass(frozen=True)
class NewTask:
    """What a caller may say of a task to be created; `instance_id` null leaves it unassigned."""

    title: str
    description: str = ""
    instance_id: str | None = None
    project: str = ""
    tags: Sequence[str] = ()
    priority: str = "medium"
    required_capabilities: Sequence[str] = ()
    depends_on: Sequence[str] = ()
    parent_id: str | None = None
    requester: str = ""
    owner: str = ""
    source: str = ""
    external_id: str = ""
    external_url: str = ""
    external_platform: str = ""
    conversation_id: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    task_type: str = ""
    complexity: int | None = None
    executor_preference: str = "any"
    estimated_effort: str = ""
    velocity_requirement: str = ""
    not_before: datetime | None = None
    unique_key: str | None = None
    max_attempts: int | None = None
    completion: str = Completion.AUTO
    failure_policy: str = FailurePolicy.WAIT_ALL
    quorum: int = 1
    failure_means: str = ChildFailure.AS_PARENT
    on_parent_close: str = ParentClose.CANCEL
    dependency_rule: str = DependencyRule.DONE
    key: str | None = None
    on_conflict: str = "return_existing"


@dataclass(frozen=True)
class Created:
    """A task, and whether it was there already under its `unique_key` (R20)."""

    task: Task
    existed: bool = False


def create_task(new: NewTask, *, actor: Actor) -> Created:
    """Create a task and place it as far as it goes; or return the open one of that `unique_key`.

    Raises Invalid for unknown ids, NotAccepting where the instance takes no new tasks (R3),
    Conflict where the parent cannot have children or, if asked to reject, the key is taken.
    """
    for _ in range(3):
        existing = _open_task_of(new)
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
                task = _insert(new, actor, timezone.now())
            break
        except IntegrityError:
            # Somebody took the key meanwhile: look again.
            if new.unique_key is None:
                raise
    else:
        raise Conflict("unique_key: somebody else keeps taking this key; try again.")
    return Created(Task.objects.get(pk=task.pk))


def create_tasks(many: Sequence[NewTask], *, actor: Actor) -> list[Created]:
    """Create several tasks, all or nothing, in their order; each is placed after the commit."""
    with transaction.atomic():
        # All instance rows before any task row, several only under the tree lock (R6).
        places = {place for new in many if (place := _place_for(new))}
        if len(places) > 1 or any(map(_joins, many)):
            lock_tree()
        for instance_id in sorted(places):
            lock_shared(HopperInstance, instance_id)
        parents = lock_tasks(new.parent_id for new in many if new.parent_id)
        # Each gives its lease back when its first child comes.
        hold_places(Task.objects.leased().filter(pk__in=[parent.pk for parent in parents]))
        created = [create_task(new, actor=actor) for new in many]
    fresh = Task.objects.in_bulk([one.task.pk for one in created])
    return [Created(fresh[one.task.pk], one.existed) for one in created]


def update_task(task_id: str, *, changes: Mapping[str, Any], actor: Actor) -> Task:
    """Edit a task's own fields; an edit of project, tags or capabilities places it anew (R9).

    Raises Conflict for a finished task, Invalid for unknown predecessors.
    """
    with transaction.atomic():
        depends_on = changes.get("depends_on")
        if depends_on is not None:
            # Two edits at once could close a cycle that neither sees alone.
            lock_tree()
        task = lock_task(task_id)
        if task.is_terminal:
            raise Conflict(
                f"{task_id} is {task.status} and cannot be edited.", state=task.status, allowed=[]
            )
        now = timezone.now()
        changed = _edit(task, changes)
        if depends_on is None and "dependency_rule" in changed:
            depends_on = predecessors(task)
        if depends_on is not None:
            set_dependencies(task, require_known(depends_on))
        task.queue_from(task.created_at)
        if changed or depends_on is not None:
            save_task(task, now)
            names = sorted(changed) + (["depends_on"] if "depends_on" in changes else [])
            record(
                task_event(
                    task, "task.updated", actor=actor, now=now, before=task.status, fields=names
                )
            )
        if any(name in changed for name in _ROUTING_FIELDS):
            begin_placing_anew(task, actor=actor, now=now, reason="edited")
        if depends_on is not None:
            # After it is placed: what still moves is not blocked (R23).
            transaction.on_commit(lambda: _reevaluate(task_id), robust=True)
    return Task.objects.get(pk=task_id)


def _edit(task: Task, changes: Mapping[str, Any]) -> list[str]:
    """Set the fields that differ on the object, predecessors apart; return their names."""
    own = {name: value for name, value in changes.items() if name != "depends_on"}
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
        offer_overtaken.send(Task, task=task, reason="rerouted", actor=actor, now=now)
    task.epoch += 1
    task.wait("")
    if by_placing:
        change_task(task, T.PENDING, actor=actor, now=now, kind="task.unblocked", reason=reason)
    rest_or_route(task)
    save_task(task, now)
    record(
        task_event(task, "task.rerouted", actor=actor, now=now, before=task.status, reason=reason)
    )
    announce_due(task, actor)
    return True


def cancel_task(task_id: str, *, reason: str = "", actor: Actor) -> Task:
    """Cancel a task and its open descendants, in one transaction (R16); again changes nothing.

    Children with `on_parent_close` abandon stay and become roots. Raises Conflict for a task that
    is done or failed.
    """
    with transaction.atomic():
        task = lock_task(task_id)
        if task.status == T.CANCELLED:
            return task
        now = timezone.now()
        task.error = reason
        if task.decomposed:
            hold_places(Task.objects.filter(root_id=task.root_id))
        change_task(task, T.CANCELLED, actor=actor, now=now, reason=reason)
        end_open_children(task, actor=actor, now=now, reason=reason or "its parent was cancelled")
    return task


def end_open_children(task: Task, *, actor: Actor, now: datetime, reason: str) -> None:
    """Cancel the open descendants of a locked, ended task; release abandoned ones.

    Each before its own children, so that these do not aggregate it while they fall (R14).
    """
    for child in lock_tasks(task.children.open().values_list("pk", flat=True)):
        if child.on_parent_close == "abandon":
            _make_root(child, actor, now)
            continue
        child.error = reason
        change_task(child, T.CANCELLED, actor=actor, now=now, reason=reason, cascade_from=task.pk)
        end_open_children(child, actor=actor, now=now, reason=reason)


def announce_due(task: Task, actor: Actor) -> None:
    """After the commit, have a due task placed; the sweep does it should this be lost."""
    if task.route_due:
        task_id = task.pk
        transaction.on_commit(lambda: _send_due(task_id, actor))


def insert_task(
    new: NewTask,
    *,
    holder: HopperInstance | None,
    parent: Task | None,
    actor: Actor,
    now: datetime,
) -> Task:
    """Write a new task's row, its predecessors and its event, and mark it due for placing.

    The holder is locked against change, the parent locked and adopted; for services of this room.
    """
    depends_on = require_known(new.depends_on)
    task = _row(new, holder, parent, actor, now)
    task_id = task.pk
    task.ready = not depends_on
    task.save(force_insert=True)
    if depends_on:
        set_dependencies(task, depends_on)
        save_task(task, now)
    record(task_event(task, "task.created", actor=actor, now=now))
    announce_due(task, actor)
    if depends_on:
        # After it is placed: what still moves is not blocked (R23).
        transaction.on_commit(lambda: _reevaluate(task_id), robust=True)
    return task


def _row(
    new: NewTask, holder: HopperInstance | None, parent: Task | None, actor: Actor, now: datetime
) -> Task:
    task_id = new_id("task")
    task = Task(
        **{name: value for name, value in asdict(new).items() if name not in _NOT_COLUMNS},
        id=task_id,
        root_id=parent.root_id if parent else task_id,
        parent=parent,
        instance=holder,
        origin=holder,
        status=T.PENDING,
        created_by=actor.name,
        created_at=now,
        updated_at=now,
    )
    task.tags, task.required_capabilities = list(new.tags), list(new.required_capabilities)
    task.queue_from(now)
    rest_or_route(task)
    return task


def _insert(new: NewTask, actor: Actor, now: datetime) -> Task:
    if _joins(new):
        lock_tree()
    instance_id = _place_for(new)
    holder = admitting(instance_id) if instance_id else None
    parent = lock_parent(new.parent_id, actor=actor, now=now) if new.parent_id else None
    if parent is not None and not new.instance_id and parent.instance_id != instance_id:
        raise Conflict(f"{parent.pk} moved meanwhile; try again.", state=parent.status)
    return insert_task(new, holder=holder, parent=parent, actor=actor, now=now)


def _joins(new: NewTask) -> bool:
    """Return whether a task is waited for and waits: an edit beside it could close a cycle."""
    return bool(new.parent_id and new.depends_on)


_NOT_COLUMNS = frozenset({"instance_id", "parent_id", "depends_on", "on_conflict"})


def _place_for(new: NewTask) -> str | None:
    """Return where a task is to be created: as said, with its parent, or, if on, at the GLOBAL."""
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
    instance = lock_shared(HopperInstance, instance_id)
    if instance is None:
        raise Invalid.field("instance_id", f"there is no instance {instance_id}", "unknown")
    if instance.scope == HopperScope.FEDERATED:
        raise NotAccepting(f"{instance_id} has no remote (NoRemote, R1).", code="no_remote")
    effective = instance.effective_status()
    if not ALLOWANCES[effective].create:
        raise NotAccepting(
            f"{instance_id} is {effective} and takes no new tasks (R3).",
            state=effective,
            allowed=allowing("create"),
        )
    return instance


def _open_task_of(new: NewTask) -> Task | None:
    if new.unique_key is None:
        return None
    found = Task.objects.open().filter(origin_id=_place_for(new), unique_key=new.unique_key)
    return found.first()


def _make_root(task: Task, actor: Actor, now: datetime) -> None:
    """Cut a child loose from its parent: it and what is below it become a tree of their own."""
    was, task.parent = task.parent_id, None
    save_task(task, now)
    record(task_event(task, "task.cut_loose", actor=actor, now=now, before=task.status, was=was))
    frontier = [task.pk]
    while frontier:
        Task.objects.filter(pk__in=frontier).update(root_id=task.pk)
        frontier = list(Task.objects.filter(parent__in=frontier).values_list("pk", flat=True))


def _send_due(task_id: str, actor: Actor) -> None:
    routing_due.send(Task, task_id=task_id, actor=actor)


def _reevaluate(task_id: str) -> None:
    reevaluate(task_id)
