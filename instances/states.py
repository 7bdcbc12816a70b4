"""The transition tables of instances (R2) and tasks (R19), the parent table (R1), and what each
effective status allows (R3, R4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hopper.states import StateMachine
from instances.choices import HopperScope as S
from instances.choices import InstanceStatus as I
from instances.choices import TaskStatus as T

if TYPE_CHECKING:
    from collections.abc import Iterable

INSTANCE = StateMachine(
    "instance",
    {
        I.CREATED: frozenset({I.STARTING, I.TERMINATED, I.ERROR}),
        I.STARTING: frozenset({I.RUNNING, I.STOPPING, I.ERROR, I.TERMINATED}),
        I.RUNNING: frozenset({I.PAUSED, I.STOPPING, I.ERROR, I.TERMINATED}),
        I.PAUSED: frozenset({I.RUNNING, I.STOPPING, I.ERROR, I.TERMINATED}),
        I.STOPPING: frozenset({I.STOPPED, I.ERROR, I.TERMINATED}),
        I.STOPPED: frozenset({I.STARTING, I.ERROR, I.TERMINATED}),
        I.ERROR: frozenset({I.STARTING, I.RUNNING, I.STOPPING, I.TERMINATED}),
        I.TERMINATED: frozenset(),
    },
)

TASK = StateMachine(
    "task",
    {
        T.PENDING: frozenset({T.CLAIMED, T.IN_PROGRESS, T.BLOCKED, T.CANCELLED, T.DONE}),
        T.CLAIMED: frozenset({T.IN_PROGRESS, T.PENDING, T.BLOCKED, T.DONE, T.FAILED, T.CANCELLED}),
        T.IN_PROGRESS: frozenset({T.PENDING, T.BLOCKED, T.DONE, T.FAILED, T.CANCELLED}),
        T.BLOCKED: frozenset({T.PENDING, T.IN_PROGRESS, T.CANCELLED, T.FAILED, T.DONE}),
        T.DONE: frozenset({T.PENDING}),
        T.FAILED: frozenset({T.PENDING}),
        T.CANCELLED: frozenset({T.PENDING}),
    },
)

MAX_DEPTH = 8
"""Levels in a tree of instances (R1), the root being the first."""

_BY_HAND_PARENTS = frozenset({S.GLOBAL, S.FAMILY, S.PERSONAL})

PARENTS: dict[str, frozenset[str]] = {
    S.GLOBAL: frozenset(),
    S.FAMILY: frozenset({S.GLOBAL}),
    S.PERSONAL: frozenset({S.GLOBAL, S.FAMILY}),
    S.PROJECT: _BY_HAND_PARENTS | {S.EVENT},
    S.EVENT: _BY_HAND_PARENTS | {S.PROJECT},
    S.ORCHESTRATION: frozenset({S.PROJECT, S.PERSONAL, S.FAMILY, S.EVENT, S.ORCHESTRATION}),
    S.FEDERATED: frozenset({S.GLOBAL, S.PROJECT}),
}
"""Scope to the scopes its parent may have (R1); an ORCHESTRATION under one is a phase, once."""

ROOTS = frozenset({S.GLOBAL, S.FAMILY, S.PERSONAL, S.PROJECT})
"""Scopes that may stand without a parent (R1)."""

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
