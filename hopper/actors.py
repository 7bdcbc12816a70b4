"""The actor: the id that decides about rights, the name that people read, and the roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

EVERYWHERE = "*"
ID_LENGTH = 150
"""The most characters of the id of an actor."""
ROLES = ("viewer", "worker", "operator", "admin")


RESERVED = frozenset({"anybody", "local", "router", "system"})
"""Names of actors that are part of Hopper. No token has one of them."""

MAY = {
    "viewer": "read",
    "worker": "create tasks, claim, report, decompose, escalate and file lessons",
    "operator": (
        "edit, delegate, accept, reject, cancel, retry, discard and route tasks, "
        "start and stop instances, create orchestrations"
    ),
    "admin": "create, move, configure and terminate instances, and send their events to webhooks",
}
"""The rights that each role adds to the roles before it, in words."""


@dataclass(frozen=True)
class Actor:
    """A caller. `grants` maps an instance id (or `*`) to the caller's role there and below.

    `id` never changes and is never given again: `user:7`, `token:0192…`, `lease:5`. Two actors may
    have one name at different times; a comparison uses the ids. An actor without an id of its own
    is the operator of that name on this machine.
    """

    name: str
    grants: Mapping[str, str] = field(default_factory=dict)
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", operator_id(self.name))

    @property
    def is_admin(self) -> bool:
        """Whether the caller may do everything everywhere."""
        return self.grants.get(EVERYWHERE) == "admin"

    def may(self, role: str) -> list[str]:
        """Return in words what the role may do."""
        return [MAY[name] for name in ROLES[: ROLES.index(role) + 1]]

    def holds(self, role: str, lineage: list[str]) -> bool:
        """Return whether the caller has at least `role` on one of `lineage` (instance ids)."""
        wanted = ROLES.index(role)
        return any(
            ROLES.index(self.grants[place]) >= wanted
            for place in (EVERYWHERE, *lineage)
            if place in self.grants
        )


def operator_id(name: str) -> str:
    """Return the id of the operator of that name: a person who needs no credentials."""
    return f"operator:{name}"[:ID_LENGTH]


SYSTEM = Actor("system", {EVERYWHERE: "admin"}, id="hopper:system")
ROUTER = Actor("router", {EVERYWHERE: "admin"}, id="hopper:router")
