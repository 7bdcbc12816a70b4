"""Placing: a task and its two hops, beside another checkout, and a whole chain over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.bench.claims import age, fill_by_copy, until_done
from tests.bench.figures import SIZE, analyse, compare, cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from instances.models import HopperInstance
    from tests.serving.conftest import Served

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {5: 12.0, 100: 5.0}
"""The least ratio to commit f982b2f, by the number of projects."""
_ROOMY = {"max_queued_tasks": 10**6}


def placing() -> None:
    """Create tasks at a GLOBAL of 5 and of 100 projects; each makes two hops.

    Beside the checkout that `--against` names (`git worktree add FOLDER f982b2f`), if any.
    """
    checkouts = {"this": ROOT} | ({"other": SIZE.against.resolve()} if SIZE.against else {})
    for projects, target in TARGETS.items():
        rates: dict[str, list[float]] = {name: [] for name in checkouts}
        with ExitStack() as stack:
            placers = {
                name: stack.enter_context(_placer(name, folder, projects))
                for name, folder in checkouts.items()
            }
            for _ in range(SIZE.rounds):
                for name, placer in placers.items():
                    rates[name].append(_window(placer))
        other = "other" if "other" in rates else "this"
        compare(f"create + 2 hops, {projects} projects", rates, "this", other, target=target)


@contextmanager
def _placer(name: str, folder: Path, projects: int) -> Iterator[subprocess.Popen[str]]:
    """Run a checkout's own code on a database of its own."""
    database = f"placing_{name}_{projects}"
    with cursor() as run:
        run.execute(f"CREATE DATABASE {database}")
    url = urlsplit(os.environ["HOPPER_DATABASE_URL"])._replace(path=f"/{database}").geturl()
    environment = {**os.environ, "HOPPER_DATABASE_URL": url, "PYTHONPATH": str(folder)}
    placer = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("placer.py")), str(projects)],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with placer:
        yield placer


def _window(placer: subprocess.Popen[str]) -> float:
    assert placer.stdin is not None
    assert placer.stdout is not None
    placer.stdin.write(f"{SIZE.seconds}\n")
    placer.stdin.flush()
    return float(placer.stdout.readline())


def chain() -> None:
    """Whole chains over HTTP, and reports with claims by ten, beside requests that do nothing.

    A chain is a creation at a GLOBAL, two hops, a claim and a completion: three requests. There
    are two requests that do nothing. `/healthz` takes the way through the server alone, and the
    targets are ratios to it. `/api/v1/me` also goes through the REST interface: it authenticates
    by the same token, which is one query, and answers who the caller is. So its figures show what
    the work of a chain costs beside three requests of any kind.

    The queue of the reports by ten stands in another tree: a decision counts the open tasks below
    the holder. A third figure shows the chain in that tree.
    """
    from tests.factories import InstanceFactory

    top, _, run = _chain_tree("plain")
    full_top, full_project, full_run = _chain_tree("full")
    batched = InstanceFactory(
        scope="ORCHESTRATION", parent=full_project, name="by-ten", config=_ROOMY
    )
    age()
    fill_by_copy([batched.pk], int(SIZE.rounds * SIZE.seconds * 2000))
    analyse(vacuum=True)
    with serving() as server:
        ask = asking(server.port, server.token)
        held: list[Any] = []
        modes: dict[str, Callable[[], int]] = {
            "chain": lambda: _whole_chain(ask, top.pk, run.pk),
            "full": lambda: _whole_chain(ask, full_top.pk, full_run.pk),
            "by ten": lambda: _next_ten(ask, batched.pk, held),
            "nothing": lambda: bool(ask("GET", "/healthz")),
            "me": lambda: bool(ask("GET", "/api/v1/me")),
        }
        rates: dict[str, list[float]] = {name: [] for name in modes}
        for _ in range(SIZE.rounds):
            for name, once in modes.items():
                rates[name].append(until_done(SIZE.seconds, once) / SIZE.seconds)
    compare("whole chain over HTTP", rates, "chain", "nothing", target=0.06)
    compare("a task in batches of ten over HTTP", rates, "by ten", "nothing", target=0.5)
    compare("whole chain in a tree with a long queue", rates, "full", "nothing")
    compare("whole chain, beside /api/v1/me", rates, "chain", "me")
    compare("a task in batches of ten, beside /api/v1/me", rates, "by ten", "me")


@contextmanager
def serving() -> Iterator[Served]:
    """Run a server with one worker on the database of the bench."""
    from django.conf import settings

    from tests.serving.conftest import start

    with TemporaryDirectory() as home:
        server = start(
            Path(home),
            *("--workers", "1", "--threads", "2"),
            HOPPER_DATABASE_URL=os.environ["HOPPER_DATABASE_URL"],
            HOPPER_SECRET_KEY=settings.SECRET_KEY,
        )
        try:
            yield server
        finally:
            server.stop()


def _chain_tree(name: str) -> tuple[HopperInstance, HopperInstance, HopperInstance]:
    """Make a GLOBAL, a project that can do the task of a chain, and a run; return the three."""
    from tests.factories import InstanceFactory

    top = InstanceFactory(name=f"chain-{name}")
    able = {"capabilities": ["chain"], **_ROOMY}
    project = InstanceFactory(scope="PROJECT", parent=top, name=f"project-{name}", config=able)
    run = InstanceFactory(scope="ORCHESTRATION", parent=project, name=f"run-{name}", config=_ROOMY)
    return top, project, run


def asking(port: int, token: str) -> Any:
    """Return a function that sends requests over one connection and returns their JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(method: str, path: str, body: Any = None) -> Any:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return json.loads(text)

    return ask


def _whole_chain(ask: Any, top: str, run: str) -> bool:
    body = {"title": f"task {time.monotonic()}", "tags": ["chain"], "complexity": 5}
    task = ask("POST", "/api/v1/tasks", {**body, "instance_id": top})
    claim = ask("POST", f"/api/v1/instances/{run}/claim", {"worker": "w"})
    (claimed,) = claim["tasks"]
    report = {"token": claimed["lease"]["token"], "result": 1}
    done = ask("POST", f"/api/v1/tasks/{task['id']}/complete", report)
    return bool(done["status"] == "done")


def _next_ten(ask: Any, run: str, held: list[Any]) -> int:
    """Report the held tasks and claim ten others in their place; return how many were done."""
    done = [{"id": task["id"], "token": task["lease"]["token"], "result": 1} for task in held]
    answer = ask(
        "POST", f"/api/v1/instances/{run}/next", {"worker": "w", "limit": 10, "completed": done}
    )
    held[:] = answer["tasks"]
    return len(answer["completed"])
