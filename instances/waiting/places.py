"""The standing of instances: obstacles to work and free slots (R4, R22, R26)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from instances.allowances import EXECUTING
from instances.choices import HopperScope, InstanceStatus, WaitingCode
from instances.models import HopperInstance, lineages
from instances.queue_settings import queue_settings

_WORDS = {
    InstanceStatus.CREATED: "NotStarted",
    InstanceStatus.STARTING: "NotStarted",
    InstanceStatus.PAUSED: "Paused",
    InstanceStatus.STOPPING: "Stopped",
    InstanceStatus.STOPPED: "Stopped",
    InstanceStatus.TERMINATED: "Stopped",
    InstanceStatus.ERROR: "Error",
}
_Row = tuple[str, str | None, str, str, "Mapping[str, Any]", int | None]


@dataclass(frozen=True)
class Hindrance:
    """The obstacle at an instance: `instance_id`, the instance or one above it, is in `status`."""

    code: WaitingCode
    instance_id: str
    status: str


@dataclass(frozen=True)
class Place:
    """One instance: its scope, its obstacle, its limit of leases and its live leases.

    `stalled_seconds` is the setting of that name.
    """

    id: str
    scope: str
    hindrance: Hindrance | None
    most: int
    running: int
    stalled_seconds: int | None

    @property
    def free(self) -> int:
        """The number of leases that the instance may still grant."""
        return max(0, self.most - self.running)


class Places:
    """Instances by id, with the ids that R26 asks for."""

    def __init__(self, rows: Iterable[_Row]) -> None:
        """Read the rows, parents before their children."""
        self._above: dict[str, Hindrance | None] = {}
        self._at: dict[str, Place] = {}
        for row in rows:
            if row[0] not in self._at:
                self._add(*row)

    @classmethod
    def around(cls, instance_ids: Iterable[str]) -> Self:
        """Return these instances and those above them, in one query."""
        return cls(
            (one.id, one.parent_id, one.scope, one.status, one.config, one.running)
            for line in lineages(instance_ids).values()
            for one in line
        )

    @classmethod
    def all(cls) -> Self:
        """Return every live instance, in one query."""
        rows = HopperInstance.objects.live().order_by("level")
        return cls(
            rows.values_list("pk", "parent_id", "scope", "status", "config", "load__running")
        )

    def of(self, scopes: Container[str]) -> Self:
        """Return the instances of these scopes alone, each with its obstacle."""
        found = type(self)(())
        found._at = {one.id: one for one in self if one.scope in scopes}
        return found

    def __getitem__(self, instance_id: str) -> Place:
        return self._at[instance_id]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._at.values())

    @cached_property
    def hindered(self) -> dict[WaitingCode, frozenset[str]]:
        """The ids of instances that start no work, by the code of the reason."""
        found: dict[WaitingCode, set[str]] = defaultdict(set)
        for place in self:
            if place.hindrance is not None:
                found[place.hindrance.code].add(place.id)
        return {code: frozenset(ids) for code, ids in found.items()}

    @cached_property
    def full(self) -> frozenset[str]:
        """The ids of instances that execute and have no free slot."""
        return frozenset(one.id for one in self if one.scope in EXECUTING and not one.free)

    @cached_property
    def queues(self) -> frozenset[str]:
        """The ids of worker queues with a free slot."""
        orchestrations = (one for one in self if one.scope == HopperScope.ORCHESTRATION)
        return frozenset(one.id for one in orchestrations if one.free and not one.hindrance)

    def of_scopes(self, scopes: Iterable[str]) -> frozenset[str]:
        """Return the ids of the instances of these scopes."""
        wanted = frozenset(scopes)
        return frozenset(one.id for one in self if one.scope in wanted)

    def _add(
        self,
        pk: str,
        parent_id: str | None,
        scope: str,
        status: str,
        config: Mapping[str, Any],
        running: int | None,
    ) -> None:
        inherited = self._above.get(parent_id) if parent_id else None
        word = _WORDS.get(InstanceStatus(status))
        hindrance = Hindrance(WaitingCode(f"Holder{word}"), pk, status) if word else inherited
        # An instance that was never started restricts only itself (R4).
        passes = hindrance if word not in (None, "NotStarted") else inherited
        self._above[pk] = (
            Hindrance(_of_ancestor(passes.code), passes.instance_id, passes.status)
            if passes
            else None
        )
        settings = queue_settings(scope, config)
        most, stalled = settings.max_concurrent_tasks, settings.stalled_seconds
        self._at[pk] = Place(pk, scope, hindrance, most, running or 0, stalled)


def _of_ancestor(code: WaitingCode) -> WaitingCode:
    return WaitingCode(code.replace("Holder", "Ancestor"))
