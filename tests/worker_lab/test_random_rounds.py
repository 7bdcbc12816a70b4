"""In rounds of random commands, faults and signals each task ends as its exit code says."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import pytest
import urllib3

from tests.crash.site import Site
from tests.factories import InstanceFactory
from tests.worker_lab.lab import KINDS, LEASE, SIGNALS, Lab, clean_environ, until
from tests.worker_lab.proxy import LATE, PAGES, STATUSES, Proxy

pytestmark = [
    pytest.mark.storm,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc"),
]
ENDED = {"done", "failed", "cancelled"}
SWEEP = 15  # seconds
QUEUE = {"max_attempts": 6, "retry_backoff_seconds": 0.1}


class Place(Protocol):
    """The place of the tasks: a server, or the store of this machine."""

    def add(self, title: str) -> str:
        """Create a task; return its id."""

    def states(self) -> dict[str, str]:
        """Return the status of each task, by id."""

    def spoil(self, seconds: float) -> None:
        """Let calls fail for so long, from now on."""


def play(lab: Lab, place: Place, rounds: int) -> None:
    """Play rounds: tasks of random kinds, faults, one worker that gets random signals."""
    for number in range(rounds):
        if lab.waiting() < 4:
            for kind in random.sample(sorted(KINDS), 2):
                lab.made[place.add(kind)] = kind
        signals = SIGNALS[number % len(SIGNALS)]
        said = len(lab.log())
        place.spoil(random.uniform(0, 2))
        worker = lab.start(*(() if signals else ("--max-tasks", "2")))
        if signals and random.random() < 0.8:
            until(lambda: "claimed" in lab.log()[said:], 5)  # noqa: B023
        time.sleep(random.uniform(0, 1.5) if signals else 0)
        lab.disturb(worker, signals)
        assert until(lambda: lab.processes() == []), (signals, lab.processes(), lab.log())


def finish(lab: Lab, place: Place) -> None:
    """Let one more worker do what is left. Every task ends, and as its exit code says."""
    worker = lab.start()
    seconds = LEASE + SWEEP + 10 * lab.waiting()
    over = until(lambda: set(place.states().values()) <= ENDED, 2 * seconds)
    assert over, (place.states(), lab.log())
    worker.terminate()
    assert worker.wait(60) == 0
    assert until(lambda: lab.processes() == []), lab.processes()
    codes, states = lab.codes(), place.states()
    for id, kind in lab.made.items():
        if kind == "fails":
            assert (states[id], set(codes[id])) == ("failed", {3}), (id, lab.log())
        else:
            # A command that ended with 0 was never run again: its result was not lost.
            facts = (states[id], codes[id].count(0), codes[id][-1:])
            assert facts == ("done", 1, [0]), (id, kind, codes[id], lab.log())


class Server:
    """A real server behind a proxy that spoils calls."""

    def __init__(self, address: str) -> None:
        self.proxy = Proxy(address)
        self._api = f"{address}/api/v1"
        self._ids: list[str] = []

    def add(self, title: str) -> str:
        self._ids.append(self._call("POST", "/tasks", {"title": title, "instance_id": "run"})["id"])
        return self._ids[-1]

    def states(self) -> dict[str, str]:
        return {id: self._call("GET", f"/tasks/{id}")["status"] for id in self._ids}

    def spoil(self, seconds: float) -> None:
        """Spoil all calls in one way, or a third of them in any way."""
        kinds = [*STATUSES, *LATE, *PAGES]
        one = random.choice(kinds)
        mixed = random.random() < 0.5
        end = time.monotonic() + seconds

        def fault() -> object:
            if time.monotonic() > end or (mixed and random.random() < 0.7):
                return None
            return random.choice(kinds) if mixed else one

        self.proxy.silence = 12 if random.random() < 0.03 else 0.5
        self.proxy.fault = fault

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = urllib3.request(method, f"{self._api}{path}", json=body)
        assert answer.status < 300, answer.data
        return json.loads(answer.data)


class Embedded:
    """The store of this machine; other programs lock it now and then."""

    def __init__(self, home: Path) -> None:
        self._home = home
        config = json.dumps(QUEUE)
        self._hopper(
            *("instance", "create", "run", "--scope", "project", "--root", "--start"),
            *("--config", config),
        )

    def add(self, title: str) -> str:
        return str(self._hopper("task", "add", title, "--instance", "run")["id"])

    def states(self) -> dict[str, str]:
        with closing(sqlite3.connect(self._home / "hopper.db", timeout=60)) as store:
            return dict(store.execute("SELECT id, status FROM instances_task"))

    def spoil(self, seconds: float) -> None:
        def lock() -> None:
            with closing(sqlite3.connect(self._home / "hopper.db", timeout=60)) as other:
                other.execute("BEGIN IMMEDIATE")
                time.sleep(seconds)
                other.rollback()

        threading.Thread(target=lock).start()

    def _hopper(self, *line: str) -> Any:
        program = [sys.executable, "-m", "hopper.cli.main", "--local", "--json", *line]
        environ = {**clean_environ(), "HOPPER_HOME": str(self._home)}
        done = subprocess.run(program, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def server(child_environ: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """A server with a sweeper beside it."""
    InstanceFactory(scope="PROJECT", name="run", config=QUEUE)
    site = Site(tmp_path, child_environ, commits=0, rounds=1)
    site.open(sweeper=1)
    place = Server(site.addresses[0])
    yield place
    place.proxy.close()
    site.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sound")
def test_at_a_server_that_fails_in_every_way(
    server: Server, tmp_path: Path, storm: Callable[[int, int], int]
) -> None:
    home = {"HOPPER_URL": server.proxy.address, "HOPPER_HOME": str(tmp_path / "home")}
    with closing(Lab(tmp_path, {**clean_environ(), **home})) as lab:
        play(lab, server, storm(12, 200))
        finish(lab, server)


def test_at_the_store_of_this_machine(tmp_path: Path, storm: Callable[[int, int], int]) -> None:
    home = tmp_path / "home"
    store = Embedded(home)
    with closing(Lab(tmp_path, {**clean_environ(), "HOPPER_HOME": str(home)})) as lab:
        play(lab, store, storm(5, 200))
        finish(lab, store)
