"""Lists filtered by a reason and the dashboard's counts agree with what tasks say (R26)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import time_machine
from django.db import transaction
from django.test import TestCase

from hopper.errors import HopperError
from instances.choices import WaitingCode
from instances.models import Task
from instances.waiting import waiting_on
from tests.protocol.aims import AIMS
from tests.protocol.random_life import RandomLife
from tests.protocol.reason_walk import A_STEP, NAMES, require_agreement

pytestmark = pytest.mark.unmeasured

STEPS = 9


@pytest.mark.storm
def test_in_random_worlds_each_code_lists_and_counts_its_tasks(
    db: None, storm: Callable[[int, int], int]
) -> None:
    die, seen = random.Random(1), Counter[str]()
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        for _ in range(storm(12, 200)):
            with transaction.atomic():
                live(die, clock)
                reasons = waiting_on(list(Task.objects.open()))
                require_agreement(reasons, WaitingCode.values)
                seen.update(reason["code"] for reason in reasons.values())
                transaction.set_rollback(True)
    print(f"{seen.total()} reasons of {len(seen)} kinds")


def live(die: random.Random, clock: time_machine.Traveller) -> None:
    """Plant a forest and have a few things happen; what should follow a commit is lost at times."""
    life = RandomLife()
    life.plant()
    for _ in range(STEPS):
        clock.shift(A_STEP)
        with TestCase.captureOnCommitCallbacks(execute=die.random() < 0.7):
            if die.random() < 0.5:
                with suppress(HopperError):
                    AIMS[die.choice(list(WaitingCode))]()
            else:
                life.step(die.choice(NAMES), str(die.random()))
