"""The shape of the tree: create, move, rename. The only structural writes, in locked trees."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from hopper import database
from hopper.actors import Actor
from hopper.errors import Conflict, FieldError, Invalid, RuleBroken
from hopper.ids import is_slug, slug_of
from hopper.protocol import PARENTS, ROOTS
from hopper.words import key_of
from instances.allowances import MAX_DEPTH
from instances.choices import HopperScope, InstanceStatus, InstanceType
from instances.history import instance_event, record
from instances.models import HopperInstance, InstanceLoad
from instances.signals import instance_moves, instance_runs
from instances.tree import numbers
from instances.tree.locks import lock_lines, lock_trees
from instances.tree.status import lock_instance, share_instance

_TRIES = 3
_CLOSED = (InstanceStatus.STOPPING, InstanceStatus.STOPPED, InstanceStatus.TERMINATED)


def create_instance(
    name: str,
    *,
    scope: str,
    id: str | None = None,
    instance_type: str = InstanceType.PERSISTENT,
    parent_id: str | None = None,
    config: dict[str, Any] | None = None,
    runtime_metadata: dict[str, Any] | None = None,
    description: str = "",
    expires_at: datetime | None = None,
    actor: Actor,
) -> HopperInstance:
    """Create an instance and return it, in status created (R1).

    Raises Invalid for a bad id, RuleBroken (422) where R1 forbids it, Conflict for a taken name or
    id and for a parent that is stopping, stopped or terminated.
    """
    with transaction.atomic():
        lock_trees(parent_id, roots=parent_id is None)
        parent = _fitting_parent(scope, parent_id)
        _require_end(scope, expires_at)
        instance = HopperInstance(
            name_key=_free_key(name, parent_id),
            name=name,
            scope=scope,
            instance_type=instance_type,
            parent=parent,
            config=config or {},
            runtime_metadata=runtime_metadata or {},
            description=description,
            expires_at=expires_at,
        )
        instance.created_by, instance.created_by_id = actor.name, actor.id
        now = instance.created_at = instance.updated_at = database.now()
        _insert(instance, id)
        InstanceLoad.objects.create(instance=instance)
        record(instance_event(instance, "instance.created", actor=actor, now=now))
    return instance


def import_instance(values: Mapping[str, Any], *, actor: Actor) -> HopperInstance:
    """Create an instance from elsewhere, with the status and times that it has.

    `values` are fields by name; `id`, `name` and `scope` are given. Raises as `create_instance`; a
    closed parent takes it.
    """
    given = {"parent_id": None, "status": InstanceStatus.CREATED, **values}
    with transaction.atomic():
        parent_id, name = given.pop("parent_id"), given["name"]
        lock_trees(parent_id, roots=parent_id is None)
        _require_end(given["scope"], given.get("expires_at"))
        live = given["status"] != InstanceStatus.TERMINATED
        now = database.now()
        instance = HopperInstance(
            **{"created_by": actor.name, "created_at": now, **given, "updated_at": now},
            name_key=_free_key(name, parent_id) if live else key_of(name),
            parent=_fitting_parent(given["scope"], parent_id, closed=True),
            created_by_id=actor.id,
        )
        _insert(instance, given["id"])
        InstanceLoad.objects.create(instance=instance)
        imported: dict[str, Any] = {"actor": actor, "now": now, "imported": True}
        record(instance_event(instance, "instance.created", **imported))
    return instance


def _insert(instance: HopperInstance, wanted: str | None) -> None:
    """Insert an instance with a free id. Another tree may have taken the id meanwhile."""
    for left in reversed(range(_TRIES)):
        instance.pk = _free_id(wanted, instance.name, instance.scope)
        try:
            with transaction.atomic():
                numbers.insert(instance)
            return
        except IntegrityError:
            if not left:
                raise


def move_instance(instance_id: str, *, parent_id: str | None, actor: Actor) -> HopperInstance:
    """Move an instance with its subtree under another parent, or make it a root (R1).

    Raises RuleBroken for a cycle, a scope or a depth that R1 forbids, Conflict for a taken name, a
    closed parent, or a live offer or active path that crosses the moved edge.
    """
    with transaction.atomic():
        lock_trees(instance_id, parent_id, roots=parent_id is None)
        lock_lines()
        instance = lock_instance(instance_id)
        now = database.now()
        before = instance.parent_id
        if before == parent_id:
            return instance
        if not instance.is_live:
            raise Conflict(f"{instance_id} is terminated and cannot move.", state=instance.status)
        _fitting_parent(instance.scope, parent_id, moving=instance)
        name_key = _free_key(instance.name, parent_id, but=instance_id)
        instance_moves.announce(instance=instance)
        numbers.move(instance_id, parent_id)
        HopperInstance.objects.filter(pk=instance_id).update(name_key=name_key, updated_at=now)
        moved = HopperInstance.objects.get(pk=instance_id)
        record(
            instance_event(
                moved, "instance.moved", actor=actor, now=now, was=before, parent_id=parent_id
            )
        )
    return moved


def rename_instance(instance_id: str, *, name: str, actor: Actor) -> HopperInstance:
    """Give an instance another name. Raises Conflict where a live sibling has it."""
    with transaction.atomic():
        lock_trees(instance_id, roots=is_root(instance_id))
        instance = lock_instance(instance_id)
        now = database.now()
        name_key = key_of(name)
        if (instance.name, instance.name_key) == (name, name_key):
            return instance
        if instance.is_live:
            _free_key(name, instance.parent_id, but=instance_id)
        HopperInstance.objects.filter(pk=instance_id).update(
            name=name, name_key=name_key, updated_at=now
        )
        before, instance.name, instance.updated_at = instance.name, name, now
        record(instance_event(instance, "instance.renamed", actor=actor, now=now, was=before))
    return instance


def describe_instance(instance_id: str, *, changes: dict[str, Any], actor: Actor) -> HopperInstance:
    """Set description, config, runtime_metadata or expires_at. JSON is replaced whole.

    A changed config is announced, because it may let waiting tasks go on (R9).
    """
    with transaction.atomic():
        instance = lock_instance(instance_id)
        now = database.now()
        changed = {
            name: value for name, value in changes.items() if getattr(instance, name) != value
        }
        if not changed:
            return instance
        HopperInstance.objects.filter(pk=instance_id).update(**changed, updated_at=now)
        instance = HopperInstance.objects.get(pk=instance_id)
        record(
            instance_event(
                instance, "instance.updated", actor=actor, now=now, fields=sorted(changed)
            )
        )
        if "config" in changed and instance.is_live:
            instance_runs.announce(instance_id=instance_id, actor=actor)
    return instance


def is_root(instance_id: str) -> bool:
    """Return whether an instance is a root now; its name must then be free among all roots."""
    return HopperInstance.objects.filter(pk=instance_id, parent=None).exists()


def rebuild_tree() -> None:
    """Write all tree numbers anew from the parent pointers: the repair of `hopper_check --fix`."""
    with transaction.atomic():
        roots = HopperInstance.objects.filter(parent=None).values_list("pk", flat=True)
        lock_trees(*roots, roots=True)
        # mptt has no types: the type checker sees Django's manager.
        HopperInstance.objects.rebuild()  # type: ignore[attr-defined]


def _fitting_parent(
    scope: str,
    parent_id: str | None,
    moving: HopperInstance | None = None,
    *,
    closed: bool = False,
) -> HopperInstance | None:
    """Return the locked parent, after the checks of scope, depth and cycles (R1).

    `closed` allows a parent that takes no new children.
    """
    allowed = sorted(PARENTS[scope])
    if parent_id is None:
        if scope not in ROOTS:
            raise _illegal_parent(f"{scope} cannot stand without a parent", allowed)
        return None
    parent = share_instance(parent_id, field="parent_id")
    line = parent.lineage()
    if moving and moving.pk in {ancestor.id for ancestor in line}:
        raise RuleBroken(
            f"{parent_id} lies below {moving.pk}: that would be a cycle.", code="cycle"
        )
    if parent.scope not in allowed:
        raise _illegal_parent(f"{scope} cannot stand under {parent.scope}", allowed)
    _require_one_phase_level(scope, [ancestor.scope for ancestor in line], moving)
    height = _height(moving) if moving else 1
    if len(line) + height > MAX_DEPTH:
        raise RuleBroken(f"A tree has at most {MAX_DEPTH} levels.", code="too_deep")
    if parent.status in _CLOSED and not closed:
        raise Conflict(
            f"{parent_id} is {parent.status} and takes no children.",
            code="parent_closed",
            state=parent.status,
        )
    return parent


def _require_end(scope: str, expires_at: datetime | None) -> None:
    if scope == HopperScope.EVENT and expires_at is None:
        raise RuleBroken(
            "expires_at: an EVENT must have an end (R1).",
            errors=[FieldError("expires_at", "required", "an EVENT must have an end")],
        )


def _require_one_phase_level(
    scope: str, scopes_above: list[str], moving: HopperInstance | None
) -> None:
    """A run may hold phases; a phase may not: ORCHESTRATION under ORCHESTRATION once (R1)."""
    if scope != HopperScope.ORCHESTRATION or scopes_above[-1] != HopperScope.ORCHESTRATION:
        return
    has_phases = moving is not None and moving.children.exists()
    if has_phases or scopes_above[-2:-1] == [HopperScope.ORCHESTRATION]:
        raise _illegal_parent(
            "A phase of a run cannot have phases of its own", sorted(PARENTS[scope])
        )


def _height(instance: HopperInstance) -> int:
    deepest = (
        HopperInstance.objects.under(instance.pk).order_by("-level").values_list("level", flat=True)
    )
    return int(deepest[0]) - instance.depth() + 1


def _illegal_parent(problem: str, allowed: list[str]) -> RuleBroken:
    words = ", ".join(allowed) or "none, it is always a root"
    return RuleBroken(
        f"{problem}; allowed parents: {words}.",
        code="illegal_parent",
        errors=[FieldError("parent_id", "illegal_parent", f"allowed parents: {words}")],
        allowed=allowed,
    )


def _free_key(name: str, parent_id: str | None, but: str = "") -> str:
    """Return the key of a name that no live sibling has (R25). Raises Invalid, Conflict."""
    key = key_of(name)
    if not key:
        raise Invalid.field("name", "at least one visible character", "blank")
    siblings = HopperInstance.objects.live().filter(parent_id=parent_id).exclude(pk=but)
    taken = siblings.filter(name_key=key).first()
    if taken:
        raise Conflict(
            f"name: {taken.pk} already bears the name {taken.name!r} there; case, blanks at the "
            "ends and invisible characters make no difference.",
            code="name_taken",
            errors=[FieldError("name", "name_taken", "unique among live siblings")],
            instance_id=taken.pk,
        )
    return key


def _free_id(wanted: str | None, name: str, scope: str) -> str:
    """Return the wanted id, or the slug of the name with the first free number."""
    if wanted is not None:
        if not is_slug(wanted):
            raise Invalid.field(
                "id", "a slug: lower-case letters, digits, '.', '_', '-', at most 100 characters"
            )
        if HopperInstance.objects.filter(pk=wanted).exists():
            raise Conflict(
                f"id: {wanted} is taken; an id is never used twice.",
                code="id_taken",
                errors=[FieldError("id", "id_taken", "an id is never used twice")],
            )
        return wanted
    base = slug_of(name) or scope.lower()
    taken = set(HopperInstance.objects.filter(pk__startswith=base).values_list("pk", flat=True))
    if base not in taken:
        return base
    number = 2
    while f"{base}-{number}" in taken:
        number += 1
    return f"{base}-{number}"
