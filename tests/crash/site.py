"""A site at work: servers, workers, clients and sweepers as processes of their own, and killers."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import urllib3
from django.db import OperationalError, connections
from django.utils import timezone

from delegation.sweep import sweep
from instances.models import Task
from tests.crash.failpoints import dying_at_random, watch_commits
from tests.crash.hands import be_client, be_worker
from tests.crash.ledger import Ledger, entries

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 300 if os.environ.get("HOPPER_STORM") == "1" else 60


@dataclass
class Site:
    """The processes of a site, and the way to kill them.

    `commits`: a server or sweeper dies at one in so many of its commits, 0 for never. `pause`:
    seconds a client or worker takes on average between two calls. `rounds`: seconds between sweeps.
    `auth`: HOPPER_AUTH of the servers.
    """

    folder: Path
    environ: dict[str, str]
    servers: int = 1
    commits: int = 40
    pause: float = 0.01
    rounds: float = 0.2
    auth: str = "off"
    hands: dict[int, tuple[str, str]] = field(default_factory=dict)
    killed: Counter[str] = field(default_factory=Counter)
    _running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _made: int = 0

    def __post_init__(self) -> None:
        self._reserved = [_reserve_port() for _ in range(self.servers)]
        self._ports = [int(one.getsockname()[1]) for one in self._reserved]
        self.addresses = [f"http://127.0.0.1:{port}" for port in self._ports]

    def open(self, **roles: int) -> None:
        """Start the servers and so many of each role: worker, client, sweeper."""
        for port in self._ports:
            self._serve(port)
        for role, number in roles.items():
            for _ in range(number):
                self.send(role)

    def send(self, role: str) -> None:
        """Start one more process of a role, under a name that nobody had before."""
        self._made += 1
        who = f"{role}-{self._made}"
        connections.close_all()
        pid = os.fork()
        if pid:
            self.hands[pid] = (role, who)
            return
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._parts()[role](who)
        except BaseException:
            # Nobody would hear of it otherwise.
            Ledger(self.folder, f"trouble-{who}").write("trouble", trace=traceback.format_exc())
        os._exit(1)

    def kill_hand(self, among: tuple[str, ...] = ("worker", "client", "sweeper")) -> str:
        """Kill one process at random and start another in its place; return who it was."""
        pid = random.choice([pid for pid, (role, _) in self.hands.items() if role in among])
        role, who = self.hands.pop(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.killed[role] += 1
        self.send(role)
        return who

    def kill_server(self) -> None:
        """Kill a whole server, its workers with it, and start another at the same address."""
        port = random.choice(self._ports)
        self._end_server(port)
        self.killed["whole server"] += 1
        self._serve(port)

    def replace_the_dead(self) -> None:
        """Start anew the sweepers that died at a failpoint."""
        for pid, (role, _) in list(self.hands.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del self.hands[pid]
                self.send(role)

    def kills(self) -> int:
        """Return how many processes were killed, by us or at a failpoint."""
        return self.killed.total() + sum(e["what"] == "killed" for e in entries(self.folder))

    def trouble(self) -> list[str]:
        """Return what made a client, worker or sweeper fail that nobody killed."""
        return [str(e["trace"]) for e in entries(self.folder) if e["what"] == "trouble"]

    def calm_down(self, seconds: float) -> bool:
        """Kill clients and arms, let all work be finished; return whether it was in that time."""
        self.commits = 0
        for role in ("client", "sweeper"):
            for pid, (is_role, _) in list(self.hands.items()):
                if is_role == role:
                    self._end(pid)
        for port in self._ports:
            self._end_server(port)
            self._serve(port)
        self.send("sweeper")
        until = time.monotonic() + seconds
        while Task.objects.open().exists():
            if time.monotonic() > until:
                return False
            self.replace_the_dead()
            time.sleep(0.2)
        return True

    def close(self) -> None:
        """End everything."""
        for pid in list(self.hands):
            self._end(pid)
        for port in list(self._running):
            self._end_server(port)
        for reserved in self._reserved:
            reserved.close()

    def _parts(self) -> dict[str, Callable[[str], None]]:
        return {
            "worker": lambda who: be_worker(self.addresses, self.folder, who, self.pause),
            "client": lambda who: be_client(self.addresses, self.folder, who, self.pause),
            "sweeper": self._be_sweeper,
        }

    def _be_sweeper(self, who: str) -> None:
        if self.commits:
            tell = Ledger(self.folder, who).write
            watch_commits(dying_at_random(self.commits, tell))
        while True:
            try:
                sweep()
            except OperationalError:
                # As the command does: the next round tries again.
                connections.close_all()
            time.sleep(self.rounds)

    def _serve(self, port: int) -> None:
        armed = {"LABORATORY": str(self.folder), "LABORATORY_COMMITS": str(self.commits)}
        place = ["--bind", f"127.0.0.1:{port}", "--reuse-port"]
        command = [sys.executable, "-m", "gunicorn", "hopper.wsgi", *place]
        self._running[port] = subprocess.Popen(
            [*command, "--config", "tests/crash/gunicorn_conf.py"],
            cwd=ROOT,
            env={**self.environ, "HOPPER_AUTH": self.auth, **(armed if self.commits else {})},
            start_new_session=True,
        )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib3.request("GET", f"http://127.0.0.1:{port}/healthz", retries=False)
            except urllib3.exceptions.HTTPError:
                assert time.monotonic() < until, "the server does not answer"
                time.sleep(0.05)
            else:
                return

    def _end_server(self, port: int) -> None:
        server = self._running.pop(port)
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()

    def _end(self, pid: int) -> None:
        del self.hands[pid]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def run_out(worker: str) -> None:
    """Let the leases of a worker run out now; thirty seconds would be long for a test."""
    past = timezone.now() - timedelta(seconds=1)
    Task.objects.leased().filter(worker=worker).update(lease_expires_at=past)


def _reserve_port() -> socket.socket:
    """Keep a free port from other programs, also while its server is dead."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved
