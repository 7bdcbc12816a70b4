"""The locks that are taken first (R6, kind 1): trees, then edges, then lines.

None waits for another tree: a long change, or the preview of one, holds up its own tree alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from django.db import transaction

from hopper.database import engine, lock_names, lock_within
from instances.models import lineages

_ROOTS, _EDGES, LINES = "roots", "edges", "lines"
_STEPS, _STEP_SECONDS = 25, 0.1


def lock_trees(*instance_ids: str | None, roots: bool = False) -> None:
    """Lock the trees in which the instances stand, by the id of the root.

    No instance is created, moved, renamed or terminated in a locked tree, or leaves it. `roots`
    also locks the making of roots. Call it once in a transaction, with all instances.
    """
    if engine().one_writer:
        return
    if roots:
        lock_names(_ROOTS)
    wanted = [pk for pk in instance_ids if pk is not None]
    while not _hold(wanted):
        pass


def _hold(instance_ids: Iterable[str]) -> bool:
    """Lock the trees; return whether the instances still stand in them. If not, lock nothing."""
    with transaction.atomic():
        found = _roots_of(instance_ids)
        if found:
            lock_names(*(f"tree {root}" for root in sorted(found)))
        held = _roots_of(instance_ids) <= found
        transaction.set_rollback(not held)
    return held


def _roots_of(instance_ids: Iterable[str]) -> set[str]:
    return {line[0].id for line in lineages(instance_ids).values()}


def lock_edges() -> None:
    """Lock the graph of dependencies: two edits at once could close a cycle that neither sees.

    Its edges join tasks of any trees. Nobody holds this lock for long.
    """
    lock_names(_EDGES)


def share_lines() -> None:
    """Keep instances from moving: the end of a task is recorded at each instance above it (R17)."""
    lock_names(LINES, shared=True)


def lock_lines() -> None:
    """Keep tasks from ending while an instance moves.

    Waits in short steps with pauses at first: the ends of all trees queue behind a wait.
    """
    for _ in range(_STEPS):
        if lock_within(LINES, seconds=_STEP_SECONDS):
            return
        time.sleep(_STEP_SECONDS)
    lock_names(LINES)
