"""The rules, walked in full: no invariant breaks, nothing waits for ever, nothing goes in circles.

Every other reading of them breaks something, so the walk can fail.
"""

from __future__ import annotations

import os

import pytest

from tests.protocol.explorer import Explorer
from tests.protocol.walks import LARGE, SMALL, walk
from tests.protocol.wrong_questions import WRONG_ABOUT_QUESTIONS
from tests.protocol.wrong_readings import WRONG, SweepInTwoSteps, Wrong

pytestmark = pytest.mark.unmeasured  # The model runs no line of Hopper.

full = pytest.mark.skipif(os.environ.get("HOPPER_STORM") != "1", reason="minutes: HOPPER_STORM=1")


@pytest.mark.parametrize("name", SMALL)
def test_the_rules_hold_in_every_state_of_a_small_world(name: str) -> None:
    report = Explorer(walk(name, **SMALL[name])).run()
    assert report.breach == "", report
    assert report.resting


@pytest.mark.storm
@full
@pytest.mark.parametrize("name", LARGE)
def test_the_rules_hold_in_every_state_of_a_larger_world(name: str) -> None:
    report = Explorer(walk(name, **LARGE[name])).run()
    print(report)
    assert report.breach == "", report


@pytest.mark.parametrize(
    "wrong", [*WRONG, *WRONG_ABOUT_QUESTIONS], ids=lambda wrong: wrong.reading.__name__
)
def test_every_other_reading_of_the_rules_breaks_an_invariant(wrong: Wrong) -> None:
    report = Explorer(walk(wrong.walk, **SMALL[wrong.walk], rules=wrong.reading)).run()
    assert wrong.breach in report.breach, report


def test_a_sweep_that_repeats_its_condition_may_read_first() -> None:
    report = Explorer(walk("hands", **SMALL["hands"], rules=SweepInTwoSteps)).run()
    assert report.breach == "", report
