"""The winner of a decision, made again from its record alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scopes.behaviors.base import rank
from scopes.decisions import Considered


def winner_of(candidates: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the winner's id recomputed from a stored record's candidates alone, or None.

    If the task matched some candidates, one of these won. If it matched none, all were equal.
    """
    considered = [Considered(**candidate) for candidate in candidates]
    spoken = [one for one in considered if one.speaks]
    best = rank(spoken or considered)
    return best[0].instance_id if best else None
