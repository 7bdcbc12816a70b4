"""Two servers of several processes on one database limit a caller together."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import cycle

import pytest

from hopper.rest.limits import present_minute
from tests.serving.conftest import Served, start

FAILURES, REQUESTS = 6, 40
LIMITS = {
    "HOPPER_FAILURES_PER_MINUTE": str(FAILURES),
    "HOPPER_REQUESTS_PER_MINUTE": str(REQUESTS),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Served]]:
    """Two servers of two processes each, on the same store."""
    home = tmp_path_factory.mktemp("pair")
    made = [start(home, "--workers", "2", **LIMITS) for _ in range(2)]
    yield made
    assert [one.stop() for one in made] == [0, 0]


def within_a_minute(pair: list[Served], token: str, number: int) -> list[int]:
    """Return the answers to so many requests of one minute, which go to the servers in turn."""
    while True:
        began = present_minute()
        found = statuses(pair, token, number)
        if present_minute() == began:
            return found


def statuses(pair: list[Served], token: str, number: int) -> list[int]:
    """Return the answers to requests that go to the servers in turn, each by its own connection."""
    found = []
    for served, _ in zip(cycle(pair), range(number), strict=False):
        request = urllib.request.Request(
            f"{served.address}/api/v1/me", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found.append(answer.status)
        except urllib.error.HTTPError as error:
            found.append(error.code)
    return found


def test_wrong_tokens_are_counted_by_all_processes(pair: list[Served]) -> None:
    found = within_a_minute(pair, "hop_wrong", FAILURES + 4)
    assert found.count(401) <= FAILURES
    assert found[-1] == 429


def test_a_token_is_counted_by_all_processes(pair: list[Served]) -> None:
    found = within_a_minute(pair, pair[0].token, REQUESTS + 8)
    assert found.count(200) <= REQUESTS
    assert found[-1] == 429
