"""Waiting for an answer or a task, by requests that wait at the server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from hopper.cli.transport import Client, at, clean

ONE_WAIT = 25
"""The most seconds that one request waits."""
LONGEST_WAIT = 300
"""The most seconds that a tool waits."""
PAUSE = 1.0
"""The least seconds between two requests: a busy server answers at once."""

Found = TypeVar("Found")


def awaited_answer(client: Client, task_id: str, seconds: float) -> list[Any]:
    """Return the questions about a task as soon as none is open, else after these seconds."""
    return _awaited(
        lambda wait: list(client.pages(at("tasks", task_id, "questions"), {"wait": wait})),
        lambda rows: not any(row["state"] == "open" for row in rows),
        seconds,
    )


def awaited_claim(
    client: Client, instance_id: str, fields: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Claim at an instance; return the answer as soon as it has a task, else after these seconds.

    `fields` are those of a claim.
    """
    path = at("instances", instance_id, "claim")
    return _awaited(
        lambda wait: dict(client.post(path, clean(fields), params={"wait": wait})),
        lambda answer: bool(answer["tasks"]),
        seconds,
    )


def _awaited(
    ask: Callable[[int | None], Found], is_there: Callable[[Found], bool], seconds: float
) -> Found:
    until = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        wait = max(0, min(ONE_WAIT, int(until - began)))
        found = ask(wait or None)
        left = until - time.monotonic()
        if left <= 0 or is_there(found):
            return found
        time.sleep(max(0, min(left, began + PAUSE - time.monotonic())))
