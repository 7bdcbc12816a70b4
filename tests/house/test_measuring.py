"""A test that would show no new line runs without the measuring of coverage."""

from __future__ import annotations

import coverage
import pytest


@pytest.mark.unmeasured
def test_nothing_measures_an_unmeasured_test() -> None:
    """In a worker of pytest-xdist two measurements run before."""
    assert coverage.Coverage.current() is None
