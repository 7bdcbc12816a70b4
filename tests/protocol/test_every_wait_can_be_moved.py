"""In every state each unfinished task has one reason, and what it names moves the task (R26)."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import time_machine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from instances.choices import WaitingCode
from tests.protocol.aims import AIMS
from tests.protocol.moves import MOVES
from tests.protocol.random_life import RandomLife
from tests.protocol.reason_walk import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.unmeasured

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def machine(db: None) -> Iterator[type[Walk]]:
    """The walk through a freshly planted forest, in its own time."""

    class Machine(Walk):
        seen: Counter[str] = Counter()

    with time_machine.travel(BEGIN, tick=False) as clock:
        Machine.clock, Machine.life = clock, RandomLife()
        Machine.life.plant()
        yield Machine


def test_every_reason_names_a_way_on() -> None:
    assert set(MOVES) == set(AIMS) == set(WaitingCode)


@pytest.mark.parametrize("code", WaitingCode)
def test_every_reason_can_be_come_to_and_left(machine: type[Walk], code: WaitingCode) -> None:
    walk = machine()
    walk.take(AIMS[code], whole=False)
    walk.look()
    walk.teardown()
    assert machine.seen[code] >= 1


@pytest.mark.storm
def test_doing_what_a_reason_names_moves_the_task(
    machine: type[Walk], storm: Callable[[int, int], int]
) -> None:
    short = storm(1, 0) == 1
    for first in [None] if short else WaitingCode:
        machine.first = first
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=2,
                stateful_step_count=storm(12, 20),
                derandomize=short,
                deadline=None,
                # A failure shows its steps; making them fewer would take minutes.
                phases=[Phase.generate],
                report_multiple_bugs=False,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    print(f"{machine.states} states, {machine.moved} waits moved")
    print(", ".join(f"{code} {machine.seen[code]}" for code in WaitingCode))
    unseen = {str(code) for code in WaitingCode} - set(machine.seen)
    assert short or not unseen
