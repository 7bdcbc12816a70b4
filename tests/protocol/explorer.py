"""The exhaustive walk: breadth-first over every state that the rules can reach."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.protocol.invariants import breaches, stuck, wrong_steps
from tests.protocol.steps import SYSTEM, Bound, bind, following

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.protocol.living import Rules
    from tests.protocol.state import State


@dataclass(frozen=True)
class Walk:
    """One walk: the rules with their bounds, the first state, and the steps to take."""

    name: str
    rules: Rules
    begin: State
    moving: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass
class Report:
    """The result of a walk: counts of states and transitions, and the first breach with its way."""

    name: str
    states: int = 0
    transitions: int = 0
    resting: int = 0
    seconds: float = 0.0
    breach: str = ""
    way: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        found = f"; {self.breach} by {' > '.join(self.way)}" if self.breach else ""
        return (
            f"{self.name}: {self.states} states, {self.transitions} transitions, "
            f"{self.resting} at rest, {self.seconds:.1f} s{found}"
        )


class Explorer:
    """One walk. Stops at the first breach, which breadth-first is one of the nearest."""

    def __init__(self, walk: Walk, *, most: int = 10_000_000) -> None:
        self.rules, self.most = walk.rules, most
        self.steps = bind(
            walk.rules, len(walk.begin.works), moving=walk.moving, without=walk.without
        )
        self.report = Report(walk.name)
        self.known: dict[State, int] = {walk.begin: 0}
        self.states: list[State] = [walk.begin]
        self.came: list[tuple[int, Bound | None]] = [(-1, None)]
        self.edges_from, self.edges_to = array("L"), array("L")

    def run(self) -> Report:
        """Walk to the end, or to a breach."""
        began = time.perf_counter()
        place = 0
        while place < len(self.states) < self.most and not self.report.breach:
            self._look(place)
            place += 1
        if not self.report.breach:
            self._require_rest()
        self.report.states = len(self.states)
        self.report.seconds = time.perf_counter() - began
        return self.report

    def _look(self, place: int) -> None:
        state, busy = self.states[place], False
        for breach in breaches(self.rules, state):
            return self._breach(breach, place)
        for step, after in following(self.rules, state, self.steps):
            self.report.transitions += 1
            busy = busy or step.by == SYSTEM
            for breach in wrong_steps(self.rules, step, state, after):
                return self._breach(breach, place, step)
            if step.by == SYSTEM and after == state:
                return self._breach("the system sweeps for ever", place, step)
            if after == state or not self._within(after):
                continue
            number = self.known.setdefault(after, len(self.states))
            if number == len(self.states):
                self.states.append(after)
                self.came.append((place, step))
            if step.by == SYSTEM:
                self.edges_from.append(place)
                self.edges_to.append(number)
        if not busy:
            self.report.resting += 1
            for breach in stuck(self.rules, state):
                return self._breach(breach, place)
        return None

    def _within(self, state: State) -> bool:
        rules = self.rules
        return all(
            work.epoch <= rules.most_epochs and work.asked <= rules.most_questions
            for work in state.works
        )

    def _require_rest(self) -> None:
        """Find a circle in what the system does by itself: what never comes to rest.

        States from which every way leads to rest are taken off one by one; what remains circles.
        """
        size = len(self.states)
        ways, starts = array("L", bytes(8 * size)), array("L", bytes(8 * (size + 1)))
        for source, target in zip(self.edges_from, self.edges_to, strict=True):
            ways[source] += 1
            starts[target + 1] += 1
        for place in range(size):
            starts[place + 1] += starts[place]
        into, filled = array("L", bytes(8 * len(self.edges_to))), array("L", starts)
        for source, target in zip(self.edges_from, self.edges_to, strict=True):
            into[filled[target]] = source
            filled[target] += 1
        calm = [place for place in range(size) if not ways[place]]
        for place in calm:
            for source in into[starts[place] : starts[place + 1]]:
                ways[source] -= 1
                if not ways[source]:
                    calm.append(source)
        if len(calm) < size:
            restless = next(place for place in range(size) if ways[place])
            self._breach("the system never comes to rest: a routing circle", restless)

    def _breach(self, breach: str, place: int, last: Bound | None = None) -> None:
        way = [str(last)] if last else []
        while place:
            place, step = self.came[place]
            way.append(str(step))
        self.report.breach, self.report.way = breach, way[::-1]


def explore(walks: Sequence[Walk]) -> list[Report]:
    """Return the report of each walk."""
    return [Explorer(walk).run() for walk in walks]
