"""The actions on instances: one function for each change, all by the table of R2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from hopper import database
from hopper.actors import Actor
from hopper.counts import counted
from hopper.errors import Conflict, InvalidTransition
from hopper.protocol import ACTIONS, INSTANCE, Action
from instances.choices import AttemptOutcome, InstanceStatus as I
from instances.models import HopperInstance, Task, TaskQuerySet
from instances.signals import instance_stops, instances_end
from instances.tasks.leases import revoke_leases
from instances.tree.locks import lock_trees
from instances.tree.shape import describe_instance, is_root, move_instance, rename_instance
from instances.tree.status import (
    change_instance,
    lock_instance,
    present_instance,
    write_status,
)


def start_instance(instance_id: str, *, actor: Actor) -> HopperInstance:
    """Bring an instance to running, through starting; both steps are recorded (R2)."""
    return _act(instance_id, "start", actor=actor)


def pause_instance(instance_id: str, *, actor: Actor) -> HopperInstance:
    """Pause a running instance. Running work goes on; no new work begins below (R3, R5)."""
    return _act(instance_id, "pause", actor=actor)


def resume_instance(instance_id: str, *, actor: Actor) -> HopperInstance:
    """Resume a paused instance. Raises InvalidTransition from any other state."""
    return _act(instance_id, "resume", actor=actor)


def recover_instance(instance_id: str, *, actor: Actor) -> HopperInstance:
    """Bring an instance in error back to running (R2)."""
    return _act(instance_id, "recover", actor=actor)


def fail_instance(instance_id: str, *, reason: str = "", actor: Actor) -> HopperInstance:
    """Declare an instance in error. Offers to the instance are cancelled (R5)."""
    return _act(instance_id, "fail", actor=actor, reason=reason)


def stop_instance(
    instance_id: str, *, force: bool = False, evacuate: bool = False, actor: Actor
) -> HopperInstance:
    """Stop an instance: stopping now, stopped once no live lease remains below (R5).

    `force` revokes the leases below; their attempts are recorded as evicted and do not count.
    `evacuate` sends unstarted tasks back up. An instance that is stopping or stopped keeps its
    status, and `force` and `evacuate` still act.
    """
    with transaction.atomic():
        if evacuate:
            # An evacuation gives tasks to other instances, so it locks several instance rows.
            lock_trees(instance_id)
        instance = lock_instance(instance_id)
        _begin_stop(instance, evacuate=evacuate, force=force, actor=actor)
        if not Task.objects.in_subtree(instance_id).leased().exists():
            if instance.status == I.STOPPING:
                # No claim succeeds below any more. The receivers withdraw offers only once.
                write_status(instance, I.STOPPED, actor, database.now())
        elif force:
            # A claim may have been granted while the status changed. Its lease is revoked after the
            # commit, also under a key: no task may be locked after a counter (R6).
            transaction.on_commit(lambda: _revoke_late(instance_id, actor), robust=True)
    return HopperInstance.objects.get(pk=instance_id)


def _revoke_late(instance_id: str, actor: Actor) -> None:
    with transaction.atomic():
        _revoke(Task.objects.in_subtree(instance_id), actor)


def restart_instance(instance_id: str, *, force: bool = False, actor: Actor) -> HopperInstance:
    """Stop and start an instance in one transaction; only start where R2 allows a start now.

    Raises Conflict with the number of live leases below, unless `force` revokes them.
    """
    with transaction.atomic():
        instance = lock_instance(instance_id)
        if not INSTANCE.permits(instance.status, I.STARTING):
            _require_source(instance, "stop", ACTIONS["stop"])
            if not force:
                _refuse_live_leases(instance_id)
            _begin_stop(instance, evacuate=False, force=force, actor=actor)
            # No signal: this stop is over before any other transaction can see it.
            write_status(instance, I.STOPPED, actor, database.now())
        for status in ACTIONS["start"].steps:
            change_instance(instance, status, actor, database.now())
    return instance


def _begin_stop(instance: HopperInstance, *, evacuate: bool, force: bool, actor: Actor) -> None:
    """Bring a locked instance to stopping, and apply `evacuate` and `force` (R5)."""
    leased: list[str] = []
    if force:
        leased = list(Task.objects.in_subtree(instance.pk).leased().values_list("pk", flat=True))
    now = database.now()
    if instance.status not in ACTIONS["stop"].steps:
        _require_source(instance, "stop", ACTIONS["stop"])
        change_instance(instance, I.STOPPING, actor, now, evacuate=evacuate, leased=leased)
    elif evacuate or leased:
        instance_stops.announce(
            instance_id=instance.pk, evacuate=evacuate, leased=leased, actor=actor, now=now
        )
    # Only these: their roots are locked by now, in the order of R6, and no other may be any more.
    _revoke(Task.objects.filter(pk__in=leased), actor)


def _revoke(tasks: TaskQuerySet, actor: Actor) -> None:
    revoke_leases(tasks, outcome=AttemptOutcome.EVICTED, actor=actor, now=database.now())


def set_instance_status(instance_id: str, *, status: str, actor: Actor) -> HopperInstance:
    """Take the one step to `status` with all its effects. The present status is no change."""
    if status == I.TERMINATED:
        return terminate_instance(instance_id, actor=actor)
    with transaction.atomic():
        instance = lock_instance(instance_id)
        if instance.status != status:
            if status == I.STOPPED:
                _refuse_live_leases(instance_id)
            change_instance(instance, status, actor, database.now())
    return instance


def terminate_instance(instance_id: str, *, cascade: bool = False, actor: Actor) -> HopperInstance:
    """Terminate an instance (R5). A terminated instance stays as it is.

    Raises Conflict with the counts if live children or unfinished tasks exist and `cascade` is not
    set. `cascade` terminates everything below too, deepest first, and loses no unfinished task.
    """
    with transaction.atomic():
        lock_trees(instance_id)
        below = HopperInstance.objects.under(instance_id).live()
        locked = database.lock_rows(HopperInstance, list(below.values_list("pk", flat=True)))
        now = database.now()
        instance = locked.get(instance_id)
        if instance is None:
            return present_instance(instance_id)
        unfinished = Task.objects.open().filter(instance__in=list(locked)).count()
        if (len(locked) > 1 or unfinished) and not cascade:
            raise Conflict(
                f"{instance_id} has {counted(len(locked) - 1, 'live instance')} below it and "
                f"{counted(unfinished, 'unfinished task')}; cascade=true ends the instances and "
                "moves the tasks up.",
                code="not_empty",
                live_children=len(locked) - 1,
                unfinished_tasks=unfinished,
            )
        for row in sorted(locked.values(), key=lambda row: -row.depth()):
            write_status(row, I.TERMINATED, actor, now)
        instances_end.announce(instance_ids=frozenset(locked), actor=actor, now=now)
    return instance


def _refuse_live_leases(instance_id: str) -> None:
    leases = Task.objects.in_subtree(instance_id).leased().count()
    if leases:
        raise Conflict(
            f"{counted(leases, 'live lease')} below {instance_id}: wait, or use force.",
            code="live_leases",
            live_leases=leases,
        )


def _act(instance_id: str, name: str, *, actor: Actor, reason: str = "") -> HopperInstance:
    """Take the remaining steps of an action. Raises InvalidTransition where it may not begin."""
    action = ACTIONS[name]
    with transaction.atomic():
        instance = lock_instance(instance_id)
        if instance.status == action.steps[-1]:
            return instance
        _require_source(instance, name, action)
        now = database.now()
        for status in action.ahead(instance.status):
            change_instance(instance, status, actor, now, reason=reason)
    return instance


def _require_source(instance: HopperInstance, name: str, action: Action) -> None:
    if instance.status in action.sources:
        return
    allowed = INSTANCE.allowed(instance.status)
    raise InvalidTransition(
        f"instance {instance.pk} is {instance.status}; {name} is for {' or '.join(action.sources)} "
        f"ones. Allowed from here: {', '.join(allowed) or 'nothing, this is final'}.",
        state=instance.status,
        requested=action.steps[-1],
        allowed=allowed,
    )


_DETAILS = ("description", "config", "runtime_metadata", "expires_at")


def update_instance(
    instance_id: str, *, changes: Mapping[str, Any], actor: Actor
) -> HopperInstance:
    """Apply changes of name, parent_id, status, description, config, runtime_metadata, expires_at.

    Raises the errors of the single changes; an error undoes all of them.
    """
    with transaction.atomic():
        if {"name", "parent_id", "status"} & set(changes):
            parent_id = changes.get("parent_id")
            to_root = "parent_id" in changes and parent_id is None
            lock_trees(instance_id, parent_id, roots=to_root or is_root(instance_id))
        if "name" in changes:
            rename_instance(instance_id, name=changes["name"], actor=actor)
        if "parent_id" in changes:
            move_instance(instance_id, parent_id=changes["parent_id"], actor=actor)
        details = {name: value for name, value in changes.items() if name in _DETAILS}
        if details:
            describe_instance(instance_id, changes=details, actor=actor)
        if "status" in changes:
            set_instance_status(instance_id, status=changes["status"], actor=actor)
    return HopperInstance.objects.get(pk=instance_id)
