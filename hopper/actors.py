"""The actor: the name that history records, and the roles that the caller has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERYWHERE = "*"
ROLES = ("viewer", "worker", "operator", "admin")


@dataclass(frozen=True)
class Actor:
    """A caller. `grants` maps an instance id (or `*`) to the caller's role there and below."""

    name: str
    grants: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_admin(self) -> bool:
        """Whether the caller may do everything everywhere."""
        return self.grants.get(EVERYWHERE) == "admin"

    def holds(self, role: str, lineage: list[str]) -> bool:
        """Return whether the caller has at least `role` on one of `lineage` (instance ids)."""
        wanted = ROLES.index(role)
        return any(
            ROLES.index(self.grants[place]) >= wanted
            for place in (EVERYWHERE, *lineage)
            if place in self.grants
        )


SYSTEM = Actor("system", {EVERYWHERE: "admin"})
ROUTER = Actor("router", {EVERYWHERE: "admin"})
