"""Agents killed at random moments: all work is done, and no acknowledged step is done again."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from delegation.audit import audit
from hopper import database
from instances.models import AgentSession, Attempt, Task
from instances.tasks.leases import expire_leases
from instances.tasks.sessions import GRACE, end_left_session, left_sessions
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.serving.conftest import Served, start

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.storm]

STEPS = 3
HOPPER = [sys.executable, "-m", "hopper.cli.main", "--local"]


class Killed(Exception):
    """The agent is dead."""


class Ledger:
    """What agents did, in order: `did` before a step's report, `acked` after its answer."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, int]] = []
        self._lock = threading.Lock()

    def note(self, word: str, task_id: str, step: int) -> None:
        """Add a line."""
        with self._lock:
            self.lines.append((word, task_id, step))

    def repeated(self) -> list[tuple[str, int]]:
        """Return the steps that were done again after they had been acknowledged."""
        acked: dict[str, int] = {}
        found = []
        for word, task_id, step in self.lines:
            if word == "acked":
                acked[task_id] = max(step, acked.get(task_id, -1))
            elif step <= acked.get(task_id, -1):
                found.append((task_id, step))
        return found


class Agent:
    """An agent that works step by step, and dies at one of its moments."""

    def __init__(
        self, name: str, environ: dict[str, str], ledger: Ledger, seed: int, served: Served | None
    ) -> None:
        self.name = name
        self.served = served
        self.environ = {**environ, "HOPPER_SESSION": name}
        self.ledger = ledger
        self.luck = random.Random(seed)
        self.moments = self.luck.randint(0, 12) if seed >= 0 else 10_000

    def lives(self) -> None:
        """Work until nothing is left or death comes."""
        try:
            while self.works():
                pass
        except Killed:
            pass
        finally:
            self.ends()

    def works(self) -> bool:
        """Do one task from where the last worker got to; return whether there was one."""
        task = self.claims()
        if task is None:
            return False
        checkpoint = task["lease"].get("checkpoint") or {}
        for step in range(checkpoint.get("step", 0), STEPS):
            self.ledger.note("did", task["id"], step)
            self.says("heartbeat", task["id"], checkpoint={"step": step + 1})
            self.ledger.note("acked", task["id"], step)
        self.says("complete", task["id"])
        return True

    def dies(self) -> bool:
        """Return whether this moment is the one."""
        self.moments -= 1
        return self.moments < 0

    def claims(self) -> dict[str, Any] | None:
        """Return the next task, if any."""
        raise NotImplementedError

    def says(self, verb: str, task_id: str, **fields: Any) -> None:
        """Report. Raises Killed."""
        raise NotImplementedError

    def ends(self) -> None:
        """Leave nothing running."""


class McpAgent(Agent):
    """An agent over MCP; either it is killed, or its server is."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        pipe = subprocess.PIPE
        command = [*HOPPER, "mcp", "--worker", self.name]
        self._server = subprocess.Popen(
            command, env=self.environ, cwd=settings.BASE_DIR, stdin=pipe, stdout=pipe,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._calls = 0
        client = {"protocolVersion": "2025-06-18", "capabilities": {},
                  "clientInfo": {"name": "lab", "version": "1"}}  # fmt: skip
        self._call("initialize", client)
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def claims(self) -> dict[str, Any] | None:
        answer = self._tool("claim_task", instance_id="run", lease_seconds=600)
        return next(iter(answer["tasks"]), None)

    def says(self, verb: str, task_id: str, **fields: Any) -> None:
        name = verb if verb == "heartbeat" else f"{verb}_task"
        self._tool(name, task_id=task_id, **fields)

    def ends(self) -> None:
        self._server.stdin.close()
        self._server.wait(timeout=60)
        self._server.stdout.close()

    def _tool(self, name: str, **arguments: Any) -> dict[str, Any]:
        if self.dies():
            self._killed()
        answer = self._call("tools/call", {"name": name, "arguments": arguments}, may_die=True)
        assert not answer.get("isError"), answer
        return answer["structuredContent"]

    def _call(self, method: str, params: Any, may_die: bool = False) -> dict[str, Any]:
        self._calls += 1
        self._write({"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params})
        if may_die and self.dies():
            time.sleep(self.luck.uniform(0, 0.2))
            self._killed()
        while True:
            said = json.loads(self._server.stdout.readline())
            if said.get("id") == self._calls:
                return said["result"]

    def _write(self, message: dict[str, Any]) -> None:
        self._server.stdin.write(json.dumps(message) + "\n")
        self._server.stdin.flush()

    def _killed(self) -> None:
        if self.luck.random() < 0.5:
            self._server.kill()
        raise Killed


class HttpAgent(Agent):
    """An agent over MCP at a server; its connections end as those of a killed process do."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        assert self.served is not None
        self._calls = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=600)
        self._stream = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=600)
        self._headers = {
            "Authorization": f"Bearer {self.served.token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2025-06-18",
        }
        client = {"protocolVersion": "2025-06-18", "capabilities": {},
                  "clientInfo": {"name": "lab", "version": "1"}}  # fmt: skip
        self._call("initialize", client)
        self._stream.request("GET", "/mcp", headers=self._headers)
        assert self._stream.getresponse().status == 200

    def claims(self) -> dict[str, Any] | None:
        answer = self._tool("claim_task", instance_id="run", lease_seconds=600)
        return next(iter(answer["tasks"]), None)

    def says(self, verb: str, task_id: str, **fields: Any) -> None:
        name = verb if verb == "heartbeat" else f"{verb}_task"
        self._tool(name, task_id=task_id, **fields)

    def ends(self) -> None:
        self._calls.close()
        self._stream.close()

    def _tool(self, name: str, **arguments: Any) -> dict[str, Any]:
        if self.dies():
            raise Killed
        answer = self._call("tools/call", {"name": name, "arguments": arguments}, may_die=True)
        assert not answer.get("isError"), answer
        return answer["structuredContent"]

    def _call(self, method: str, params: Any, may_die: bool = False) -> dict[str, Any]:
        message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self._calls.request("POST", "/mcp", message, self._headers)
        if may_die and self.dies():
            time.sleep(self.luck.uniform(0, 0.2))
            raise Killed
        answer = self._calls.getresponse()
        told = answer.read()
        assert answer.status == 200, told
        if "Mcp-Session-Id" in answer.headers:
            self._headers["Mcp-Session-Id"] = answer.headers["Mcp-Session-Id"]
        return json.loads(told)["result"]


class CommandAgent(Agent):
    """An agent over the command line; it is killed with the command that it runs."""

    def claims(self) -> dict[str, Any] | None:
        line = ["task", "claim", "--instance", "run", "--lease", "600", "--worker", self.name]
        return next(iter(self._run(*line)["tasks"]), None)

    def says(self, verb: str, task_id: str, **fields: Any) -> None:
        options = [f"--{name}={json.dumps(value)}" for name, value in fields.items()]
        self._run("task", verb, task_id, *options)

    def _run(self, *line: str) -> dict[str, Any]:
        command = subprocess.Popen(
            [*HOPPER, "--json", *line], env=self.environ, cwd=settings.BASE_DIR, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        if self.dies():
            time.sleep(self.luck.uniform(0, 3))
            command.kill()
            command.communicate()
            raise Killed
        out, error = command.communicate()
        assert command.returncode == 0, error
        if self.dies():
            raise Killed
        return json.loads(out)


def _time_passes() -> None:
    """Let the leases of dead agents run out."""
    now = database.now()
    AgentSession.objects.filter(left_at__isnull=False).update(left_at=now - 2 * GRACE)
    for session in left_sessions(limit=100):
        end_left_session(session, ALICE)
    Task.objects.leased().update(lease_expires_at=now - timedelta(seconds=1))
    expire_leases()
    Task.objects.update(retry_at=None)


@pytest.fixture
def served(
    child_environ: dict[str, str], storm: Callable[[int, int], int], tmp_path: Any
) -> Iterator[Served | None]:
    """A server on this test's database in a storm; else none, because it takes seconds to start."""
    if storm(0, 1) == 0:
        yield None
        return
    kept = {name: child_environ[name] for name in ("HOPPER_DATABASE_URL", "HOPPER_SECRET_KEY")}
    (tmp_path / "served").mkdir()
    made = start(tmp_path / "served", "--workers", "2", **kept)
    yield made
    assert made.stop() == 0


def test_agents_killed_at_random_lose_nothing_and_repeat_nothing(
    child_environ: dict[str, str],
    storm: Callable[[int, int], int],
    tmp_path: Any,
    served: Served | None,
) -> None:
    number = storm(6, 200)
    kinds = [McpAgent, CommandAgent, HttpAgent] if served else [McpAgent, McpAgent, CommandAgent]
    environ = {**child_environ, "HOPPER_HOME": str(tmp_path / "home")}
    project = InstanceFactory(scope="PROJECT", name="web")
    run = InstanceFactory(scope="ORCHESTRATION", name="run", parent=project)
    tasks = [TaskFactory(instance=run, max_attempts=1000) for _ in range(number * 3 // 5)]
    ledger = Ledger()

    def live(place: int, seed: int) -> None:
        kinds[place % 3](f"agent-{place}", environ, ledger, seed, served).lives()

    size = 8 if served else 4
    with ThreadPoolExecutor(size if served else 2) as crowd:
        for first in range(0, number, size):
            some = range(first, min(first + size, number))
            list(crowd.map(live, some, some))
            # Between two crowds nobody works, so every lease left is a dead agent's.
            _time_passes()
    for place in range(3):
        live(number + 3 * place, -1)
        _time_passes()
    assert Counter(Task.objects.values_list("status", flat=True)) == {"done": len(tasks)}
    assert ledger.repeated() == []
    outcomes = Counter(Attempt.objects.values_list("outcome", flat=True))
    assert outcomes["completed"] == len(tasks)
    assert set(outcomes) <= {"completed", "released", "expired"}
    assert audit() == []
    connection.close()


def test_the_ledger_shows_a_repeated_step() -> None:
    ledger = Ledger()
    for line in (("did", "t", 0), ("did", "t", 0), ("acked", "t", 0), ("did", "t", 1)):
        ledger.note(*line)
    assert ledger.repeated() == []
    ledger.note("did", "t", 0)
    assert ledger.repeated() == [("t", 0)]
