"""Whether the tree's numbers agree with its pointers, and these with R1; names the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instances.choices import HopperScope
from instances.models import HopperInstance
from instances.states import MAX_DEPTH, PARENTS, ROOTS

if TYPE_CHECKING:
    from collections.abc import Iterator


def unsound_places() -> Iterator[tuple[str, str]]:
    """Yield the id of each instance whose place is wrong, and how, in words."""
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
    """Yield the id of each instance that R1 does not allow where its pointer says, and why."""
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
            yield pk, f"{scope} cannot hang under {line[1]} (R1)"
        if line[:3] == [HopperScope.ORCHESTRATION] * 3:
            yield pk, "a phase of a run cannot have phases of its own (R1)"
        if len(line) > MAX_DEPTH:
            yield pk, f"it lies deeper than {MAX_DEPTH} levels (R1)"
