"""Waiting for the answer to a question, by requests that wait at the server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hopper.cli.transport import at

if TYPE_CHECKING:
    from hopper.cli.transport import Client

ONE_WAIT = 25
"""The most seconds that one request waits."""
PAUSE = 1.0
"""The least seconds between two requests: a busy server answers at once."""


def awaited_answer(client: Client, task_id: str, seconds: float) -> list[Any]:
    """Return the questions about a task as soon as none is open, else after these seconds."""
    until = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        wait = max(0, min(ONE_WAIT, int(until - began)))
        rows = client.pages(at("tasks", task_id, "questions"), {"wait": wait or None})
        left = until - time.monotonic()
        if left <= 0 or not any(row["state"] == "open" for row in rows):
            return rows
        time.sleep(max(0, min(left, began + PAUSE - time.monotonic())))
