"""What each effective status allows (R3, R4), and who routes and executes (R1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hopper.protocol import ACTIONS, INSTANCE, PARENTS, ROOTS, TASK
from instances.choices import HopperScope as S
from instances.choices import InstanceStatus as I

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ACTIONS",
    "ALLOWANCES",
    "EXECUTING",
    "INSTANCE",
    "MAX_DEPTH",
    "PARENTS",
    "RESTRICTION",
    "ROOTS",
    "ROUTING",
    "TASK",
    "Allowance",
    "allowing",
    "effective_status",
]

MAX_DEPTH = 8
"""Levels in a tree of instances (R1), the root being the first."""

ROUTING = frozenset({S.GLOBAL, S.FAMILY, S.PERSONAL, S.PROJECT, S.EVENT})
"""Scopes that send work down (R1)."""

EXECUTING = frozenset({S.FAMILY, S.PERSONAL, S.PROJECT, S.EVENT, S.ORCHESTRATION})
"""Scopes where work may be claimed (R1): all but GLOBAL and FEDERATED."""

RESTRICTION = (
    I.RUNNING,
    I.CREATED,
    I.STARTING,
    I.PAUSED,
    I.ERROR,
    I.STOPPING,
    I.STOPPED,
    I.TERMINATED,
)
"""Statuses from the least to the most restrictive (R4)."""


def effective_status(own: str, ancestors: Iterable[str]) -> str:
    """Return the most restrictive of an instance's status and its ancestors' (R4).

    An ancestor that was merely never started restricts nobody but itself.
    """
    inherited = (status for status in ancestors if status not in (I.CREATED, I.STARTING))
    return max((own, *inherited), key=lambda status: RESTRICTION.index(I(status)))


@dataclass(frozen=True)
class Allowance:
    """One row of R3; offers and acceptance: `yes`, `explicit` (asked by name), `no`."""

    create: bool
    offer: str
    accept: str
    route: bool
    claim: bool
    finish: bool


ALLOWANCES: dict[str, Allowance] = {
    I.CREATED: Allowance(True, "yes", "explicit", False, False, True),
    I.STARTING: Allowance(True, "yes", "explicit", False, False, True),
    I.RUNNING: Allowance(True, "yes", "yes", True, True, True),
    I.PAUSED: Allowance(True, "explicit", "no", False, False, True),
    I.STOPPING: Allowance(False, "no", "no", False, False, True),
    I.STOPPED: Allowance(False, "no", "no", False, False, True),
    I.ERROR: Allowance(False, "no", "no", False, False, True),
    I.TERMINATED: Allowance(False, "no", "no", False, False, False),
}
"""Effective status to what it allows (R3)."""


def allowing(right: str) -> list[str]:
    """Return the effective statuses whose row of R3 grants `right`, a name of Allowance, sorted."""
    return sorted(
        status for status, row in ALLOWANCES.items() if getattr(row, right) not in (False, "no")
    )
