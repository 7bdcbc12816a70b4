"""Waiting for an answer takes requests of at most 25 s each, and asks nobody all the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from hopper.cli import waiting
from hopper.cli.waiting import awaited_answer

if TYPE_CHECKING:
    from hopper.cli.transport import Client


class Server:
    """Answers after a time of its own; the question is answered at `answered`."""

    def __init__(self, answered: float, *, takes: float | None = None) -> None:
        self.answered, self.takes = answered, takes
        self.now = 0.0
        self.waits: list[Any] = []

    def pages(self, path: str, params: dict[str, Any]) -> list[dict[str, str]]:
        self.waits.append(params["wait"])
        wait = float(params["wait"] or 0)
        took = wait if self.takes is None else min(wait, self.takes)
        self.now += min(took, max(0.0, self.answered - self.now))
        return [{"state": "open" if self.now < self.answered else "answered"}]

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("answered", "seconds", "takes", "state", "waits"),
    [
        (0, 60, None, "answered", [25]),
        (40, 60, None, "answered", [25, 25]),
        (90, 60, None, "open", [25, 25, 10]),
        (90, 0, None, "open", [None]),
        # A server that waits no longer is asked once in a second.
        (90, 3, 0, "open", [3, 2, 1, None]),
    ],
)
def test_the_wait_is_made_of_requests(
    answered: float,
    seconds: int,
    takes: float | None,
    state: str,
    waits: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(answered, takes=takes)
    monkeypatch.setattr(waiting, "time", server)
    (row,) = awaited_answer(cast("Client", server), "task-1", seconds)
    assert (row["state"], server.waits) == (state, waits)
