"""The rights of each effective status (R3, R4), and which scopes route and execute (R1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol, Self

from hopper.errors import Conflict, NotAccepting
from hopper.protocol import ACTIONS, INSTANCE, PARENTS, ROOTS, TASK
from instances.choices import HopperScope as S, InstanceStatus as I

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
    "Right",
    "Standing",
    "allowing",
    "effective_status",
    "queue_full",
]

MAX_DEPTH = 8
"""The most levels in a tree of instances (R1). The root is level 1."""

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

UNSTARTED = (I.CREATED, I.STARTING)
"""Statuses that restrict the instance itself and nothing below it (R4)."""


def effective_status(own: str, ancestors: Iterable[str]) -> str:
    """Return the most restrictive of an instance's own status and its ancestors' statuses (R4).

    An unstarted ancestor does not count.
    """
    return _most_restrictive(own, tuple(ancestors))


@cache
def _most_restrictive(own: str, ancestors: tuple[str, ...]) -> str:
    inherited = (status for status in ancestors if status not in UNSTARTED)
    return max((own, *inherited), key=lambda status: RESTRICTION.index(I(status)))


@dataclass(frozen=True)
class Allowance:
    """One row of R3. `explicit` grants a right only to a caller who names the instance."""

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
"""The row of R3 for each effective status."""


Right = Literal["create", "offer", "accept", "route", "claim"]
"""A column of R3."""

_REFUSALS: dict[Right, tuple[type[Conflict], str, str]] = {
    "create": (NotAccepting, "", "takes no new tasks"),
    "offer": (NotAccepting, "", "takes no offers"),
    "accept": (NotAccepting, "", "cannot accept now"),
    "route": (Conflict, "not_routing", "passes nothing on"),
    "claim": (Conflict, "not_claiming", "starts no new work"),
}
"""The error for each missing right: class, code ("" for the class's own code), message."""


class _Status(Protocol):
    """An instance, or its entry in a lineage."""

    @property
    def id(self) -> str: ...
    @property
    def status(self) -> str: ...


@dataclass(frozen=True)
class Standing:
    """The effective status of an instance (R4) and its rights (R3); a value, read once."""

    instance_id: str
    effective: str

    @classmethod
    def along(cls, line: Sequence[_Status]) -> Self:
        """Return the standing of the last instance of a lineage. The lineage begins at the root."""
        *above, own = line
        return cls(own.id, cls.under((one.status for one in above), own.status))

    @staticmethod
    def under(ancestors: Iterable[str], own: str) -> str:
        """Return the effective status of an instance from the plain statuses of its lineage."""
        return effective_status(own, ancestors)

    def may(self, right: Right, *, by_name: bool = False) -> bool:
        """Return whether R3 grants the right. `explicit` grants the right only `by_name`."""
        granted = getattr(ALLOWANCES[self.effective], right)
        return granted in (True, "yes") or (by_name and granted == "explicit")

    def require(self, right: Right) -> None:
        """Return if R3 grants the right to a caller who names the instance.

        Raises Conflict with `state`, and `allowed`: the effective statuses that grant the right.
        """
        if self.may(right, by_name=True):
            return
        error, code, words = _REFUSALS[right]
        raise error(
            f"{self.instance_id} is {self.effective} and {words} (R3).",
            code=code,
            state=self.effective,
            allowed=allowing(right),
        )


def allowing(right: Right) -> list[str]:
    """Return the effective statuses that grant a right, `explicit` included, sorted (R3)."""
    return sorted(status for status in ALLOWANCES if Standing("", status).may(right, by_name=True))


def queue_full(instance_id: str, waiting: int, most: int) -> str:
    """Return the sentence that a queue is full, or "" if one more task may wait there (R22)."""
    return f"{instance_id} has {waiting} of {most} tasks waiting" if waiting >= most else ""
