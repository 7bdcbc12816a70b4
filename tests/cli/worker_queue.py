"""The tasks that a made-up server hands to a worker."""

from __future__ import annotations

import sys
from typing import Any

from tests.cli.fakes import Answer, Call, FakeTransport, ok, task

PYTHON = [sys.executable, "-c"]
VERBS = ("complete", "fail", "release", "heartbeat")


def leased(id: str = "task-1", seconds: float = 300, **lease: Any) -> dict[str, Any]:
    """Return a claimed task with its lease."""
    given = {"token": f"1-{id}", "seconds": seconds, "attempt": 1, **lease}
    return task(id, status="claimed", instance_id="run", lease=given)


def queue(server: FakeTransport, *tasks: dict[str, Any], first: tuple[Answer, ...] = ()) -> None:
    """Let the server hand out these tasks and take every report; `first` come other answers."""
    waiting: list[Any] = [*first, *(ok({"tasks": [each], "waiting": None}) for each in tasks)]

    def claim(call: Call) -> Any:
        answer = waiting.pop(0) if waiting else ok({"tasks": [], "waiting": None})
        return answer(call) if callable(answer) else answer

    server.answers["POST /instances/run/claim"] = claim
    for each in tasks:
        for verb in VERBS:
            server.answers[f"POST /tasks/{each['id']}/{verb}"] = ok(each)
