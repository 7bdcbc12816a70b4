"""The services do what the rules of the model say, step by step, on the database of this run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import time_machine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.protocol.machine import Compared
from tests.protocol.services import Services
from tests.protocol.walks import SIX

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.unmeasured

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.storm
@pytest.mark.django_db
def test_the_services_go_the_way_of_the_model(storm: Callable[[int, int], int]) -> None:
    with time_machine.travel(BEGIN, tick=False) as clock:
        services = Services(SIX, clock)
        services.plant()

        class Machine(Compared):
            pass

        Machine.services = services
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=storm(12, 150),
                stateful_step_count=storm(20, 40),
                derandomize=storm(1, 0) == 1,
                deadline=None,
                # A failure shows its steps; making them fewer would take minutes.
                phases=[Phase.generate],
                report_multiple_bugs=False,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    print(f"{Machine.count} states compared")
