"""Shared by the laboratory: the failpoints that are due, and the count of killed processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

KILLS: Counter[tuple[str, str]] = Counter()


@pytest.fixture
def due(storm: Callable[[int, int], int]) -> Callable[[str, str], bool]:
    """`due(commit, moment)`: whether to kill there now; in the short run once each. Counts it."""

    def decide(commit: str, moment: str) -> bool:
        wanted = bool(storm(0, 1)) or not KILLS[commit, moment]
        KILLS[commit, moment] += wanted
        return wanted

    return decide


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many processes were killed."""
    if KILLS.total():
        terminalreporter.write_line(
            f"crash laboratory: {KILLS.total()} kills at {len(KILLS)} places"
        )
