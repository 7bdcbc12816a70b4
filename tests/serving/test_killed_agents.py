"""A killed agent's task is claimable within 15 seconds of real time after its grace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from instances.tasks.sessions import GRACE
from instances.tasks.worker import claim_next
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.serving.conftest import start

pytestmark = [
    pytest.mark.storm,
    pytest.mark.skipif(os.environ.get("HOPPER_STORM") != "1", reason="45 seconds of real time"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sound"),
]
AGENT = Path(__file__).with_name("killed_agent.py")


@pytest.fixture
def run() -> str:
    """A running instance with one task."""
    project = InstanceFactory(scope="PROJECT", name="web")
    queue = InstanceFactory(scope="ORCHESTRATION", name="run", parent=project)
    TaskFactory(instance=queue, max_attempts=1)
    return str(queue.pk)


def _killed(environ: dict[str, str], *arguments: str) -> None:
    """Start an agent, wait until it works, and kill it."""
    agent = subprocess.Popen(
        [sys.executable, str(AGENT), *arguments],
        env=environ, cwd=AGENT.parents[2], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert agent.stdout is not None
    assert agent.stdout.readline().startswith("task-")
    agent.send_signal(signal.SIGKILL)
    agent.wait()


def _seconds_until_claimed(run: str, most: float) -> tuple[float, Any]:
    began = time.monotonic()
    while not (leases := claim_next(run, worker="next", actor=ALICE).leases):
        assert time.monotonic() - began < most
        time.sleep(0.25)
    return time.monotonic() - began, leases[0].checkpoint


def test_a_killed_agent_over_stdio(run: str, child_environ: dict[str, str], tmp_path: Path) -> None:
    _killed({**child_environ, "HOPPER_HOME": str(tmp_path)}, "stdio")
    seconds, checkpoint = _seconds_until_claimed(run, 15)
    print(f"claimable after {seconds:.1f} s")
    assert checkpoint == {"step": 3}


def test_a_killed_agent_over_http(run: str, child_environ: dict[str, str], tmp_path: Path) -> None:
    kept = {name: child_environ[name] for name in ("HOPPER_DATABASE_URL", "HOPPER_SECRET_KEY")}
    served = start(tmp_path, "--workers", "2", **kept)
    try:
        _killed(child_environ, "http", f"{served.address}/mcp", served.token)
        seconds, checkpoint = _seconds_until_claimed(run, GRACE.total_seconds() + 15)
        print(f"claimable after {seconds:.1f} s")
        assert seconds > GRACE.total_seconds() - 1
        assert checkpoint == {"step": 3}
    finally:
        assert served.stop() == 0
