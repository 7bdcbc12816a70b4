"""Whether the tree's numbers agree with its pointers; the only check that names the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instances.models import HopperInstance

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
