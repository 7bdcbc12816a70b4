"""The slowest calls in one tree while the end of another tree of many tasks is previewed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.figures import SIZE, analyse, say

ROOT = Path(__file__).resolve().parents[2]
TASKS = 5000
TARGET = 1.2
"""The most times that the slowest hundredth of the calls may take."""


def beside_previews() -> None:
    """Create, claim and complete in tree B while tree A previews the end of 5,000 tasks.

    Beside windows in which nothing else runs, and beside windows in which a process only computes:
    on a machine of few cores the preview takes a core as well as locks.
    """
    from instances.tasks.creating import NewTask, create_tasks
    from tests.factories import ALICE, InstanceFactory

    tops = [InstanceFactory(name=f"beside-{name}") for name in "ab"]
    roomy: dict[str, Any] = {"max_queued_tasks": 10**6, "capabilities": ["x"]}
    webs = [InstanceFactory(scope="PROJECT", parent=top, config=roomy) for top in tops]
    runs = [InstanceFactory(scope="ORCHESTRATION", parent=web, config=roomy) for web in webs]
    for _ in range(TASKS // 500):
        new = [NewTask("x", instance_id=runs[0].pk) for _ in range(500)]
        create_tasks(new, actor=ALICE)
    analyse(vacuum=True)
    slowest: dict[str, list[float]] = {"alone": [], "burn": [], "preview": []}
    with _previewer(tops[0].pk) as previewer:
        _round_trips(tops[1].pk, runs[1].pk, 0.5)
        for _ in range(SIZE.rounds):
            for name, found in slowest.items():
                ended = _begin(previewer, name)
                found.append(_slowest(_round_trips(tops[1].pk, runs[1].pk, 3 * SIZE.seconds)))
                ended()
    for name, words in (("alone", "alone"), ("burn", "a busy process beside it")):
        pairs = zip(slowest["preview"], slowest[name], strict=True)
        ratios = sorted(beside / other for beside, other in pairs)
        figure = f"{ratios[0]:.2f} {median(ratios):.2f} {ratios[-1]:.2f}x  (at most {TARGET}x)"
        say(
            f"p99 in B while A previews, compared with {words}",
            figure,
            ratios=ratios,
            seconds=slowest,
        )


@contextmanager
def _previewer(top: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(Path(__file__).with_name("previewer.py")), top]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ}, **pipes) as previewer:
        yield previewer


def _begin(previewer: subprocess.Popen[str], name: str) -> Callable[[], object]:
    """Let the other process begin; return the call that waits until it has ended."""
    if name == "alone":
        return lambda: None
    assert previewer.stdin is not None
    assert previewer.stdout is not None
    previewer.stdin.write(f"{'burn ' if name == 'burn' else ''}{3 * SIZE.seconds}\n")
    previewer.stdin.flush()
    return previewer.stdout.readline


def _round_trips(top: str, run: str, seconds: float) -> list[float]:
    """Create a task that makes two hops, claim and complete it; return the seconds of each call."""
    from instances.tasks.creating import NewTask, create_task
    from instances.tasks.worker import claim_next, complete_task
    from tests.factories import ALICE

    spans: list[float] = []
    end = time.monotonic() + seconds

    def timed(call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        found = call()
        spans.append(time.perf_counter() - began)
        return found

    new = NewTask("x", instance_id=top, tags=["x"], complexity=5)
    while time.monotonic() < end:
        timed(lambda: create_task(new, actor=ALICE))
        (lease,) = timed(lambda: claim_next(run, worker="w", actor=ALICE)).leases
        done = {"token": lease.token, "result": 1, "actor": ALICE}
        timed(lambda lease=lease, done=done: complete_task(lease.task.pk, **done))
    return spans


def _slowest(spans: list[float]) -> float:
    return sorted(spans)[int(len(spans) * 0.99)]
