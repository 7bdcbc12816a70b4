"""The numbers of the tree: nested sets with gaps, so that most inserts write one row.

Nested sets need proper nesting, not dense numbers (docs/adr/0007). A new instance gets spare
numbers for children. When the spare numbers are used up, the interval grows by more than its
present width, and the numbers to the right shift. So growth to n instances costs few shifts. The
caller of every function has locked the trees; the functions read their rows under the lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from django.db.models import Case, F, Max, Value, When

from hopper.protocol import PARENTS, ROOTS
from instances.allowances import MAX_DEPTH
from instances.choices import HopperScope
from instances.models import HopperInstance

# In numbers. A child without children takes two.
FIRST_ROOM = 32
LEAVES = (HopperScope.ORCHESTRATION, HopperScope.FEDERATED)


class Place(NamedTuple):
    """The numbers of an instance."""

    tree_id: int
    lft: int
    rght: int
    level: int


def insert(instance: HopperInstance) -> None:
    """Insert a new instance, last under its parent."""
    width = 2 if instance.scope in LEAVES else 2 + FIRST_ROOM
    place = _find_gap(instance.parent_id, width)
    instance.tree_id, instance.lft, instance.rght, instance.level = place
    # Forced, mptt takes the numbers as they are.
    instance.save(force_insert=True)


def move(instance_id: str, parent_id: str | None) -> None:
    """Move an instance with its subtree: last under another parent, or to be a root."""
    before = _place(instance_id)
    target = _find_gap(parent_id, before.rght - before.lft + 1)
    # Read again: making room may have shifted the instance.
    here = _place(instance_id)
    HopperInstance.objects.filter(
        tree_id=here.tree_id, lft__gte=here.lft, lft__lte=here.rght
    ).update(
        tree_id=target.tree_id,
        lft=F("lft") + (target.lft - here.lft),
        rght=F("rght") + (target.lft - here.lft),
        level=F("level") + (target.level - here.level),
        # In the same statement: two roots must never share a tree_id.
        parent=Case(When(pk=instance_id, then=Value(parent_id)), default=F("parent")),
    )


def _find_gap(parent_id: str | None, width: int) -> Place:
    """Return a place of `width` numbers after the last child; without a parent, in a new tree."""
    if parent_id is None:
        last_tree = HopperInstance.objects.aggregate(last=Max("tree_id"))["last"] or 0
        return Place(last_tree + 1, 1, width, 0)
    parent = _place(parent_id)
    children = HopperInstance.objects.filter(parent_id=parent_id).order_by("-lft")
    last = children.values_list("rght", flat=True).first() or parent.lft
    if last + width >= parent.rght:
        _widen(parent, 2 * (last - parent.lft + width))
    return Place(parent.tree_id, last + 1, last + width, parent.level + 1)


def _widen(place: Place, extra: int) -> None:
    tree = HopperInstance.objects.filter(tree_id=place.tree_id)
    tree.filter(lft__gt=place.rght).update(lft=F("lft") + extra, rght=F("rght") + extra)
    tree.filter(lft__lte=place.lft, rght__gte=place.rght).update(rght=F("rght") + extra)


def _place(instance_id: str) -> Place:
    row = HopperInstance.objects.values_list("tree_id", "lft", "rght", "level").get(pk=instance_id)
    return Place(*row)


def unsound_places() -> Iterator[tuple[str, str]]:
    """Yield the id of each instance with wrong numbers, and the fault in words."""
    rows = list(
        HopperInstance.objects.order_by("tree_id", "lft").values_list(
            "pk", "parent_id", "tree_id", "lft", "rght", "level"
        )
    )
    open_nodes: list[tuple[str, int, int]] = []
    for pk, parent_id, tree, left, right, level in rows:
        if left >= right:
            yield pk, f"its interval {left}-{right} is empty"
        while open_nodes and (open_nodes[-1][1] != tree or open_nodes[-1][2] < left):
            open_nodes.pop()
        around = open_nodes[-1][0] if open_nodes else None
        if around != parent_id:
            yield pk, f"its numbers place it under {around}, its pointer under {parent_id}"
        if level != len(open_nodes):
            yield pk, f"its level is {level}, but it has {len(open_nodes)} ancestors"
        if open_nodes and right >= open_nodes[-1][2]:
            yield pk, f"its interval reaches beyond that of {around}"
        open_nodes.append((pk, tree, right))


def unlawful_places() -> Iterator[tuple[str, str]]:
    """Yield the id of each instance that R1 forbids under its parent, and the fault in words."""
    rows = HopperInstance.objects.order_by("pk").values_list("pk", "scope", "parent_id")
    known = {pk: (scope, parent_id) for pk, scope, parent_id in rows}
    for pk, (scope, parent_id) in known.items():
        line = [scope]
        while parent_id is not None and len(line) <= MAX_DEPTH:
            above, parent_id = known[parent_id]
            line.append(above)
        if len(line) == 1 and scope not in ROOTS:
            yield pk, f"{scope} cannot stand without a parent (R1)"
        if len(line) > 1 and line[1] not in PARENTS[scope]:
            yield pk, f"{scope} cannot stand under {line[1]} (R1)"
        if line[:3] == [HopperScope.ORCHESTRATION] * 3:
            yield pk, "a phase of a run cannot have phases of its own (R1)"
        if len(line) > MAX_DEPTH:
            yield pk, f"it lies deeper than {MAX_DEPTH} levels (R1)"
