"""The tasks that a made-up server hands to a worker."""

from __future__ import annotations

import sys
from pathlib import Path
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


def until_beaten(server: FakeTransport, folder: Path, beats: int = 1) -> str:
    """Return a program that ends when the server has got so many heartbeats of task-1."""
    path, mark = "/tasks/task-1/heartbeat", folder / "beaten"
    taken = server.answers[f"POST {path}"]

    def beat(call: Call) -> Any:
        if len(server.sent("POST", path)) >= beats:
            mark.touch()
        return taken

    server.answers[f"POST {path}"] = beat
    return (
        "import os, time\n"
        "for _ in range(3000):\n"
        f"    if os.path.exists({str(mark)!r}): break\n"
        "    time.sleep(0.02)\n"
    )
