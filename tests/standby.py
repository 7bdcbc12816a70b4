"""A throw-away PostgreSQL with one synchronous standby, for soaks that kill the primary."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60  # seconds until a server answers, follows or leads
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "synchronous_standby_names": "*",
    "synchronous_commit": "on",
    "wal_keep_size": "256MB",
    # Servers are killed, the machine is not: the operating system keeps what they wrote.
    "fsync": "off",
}


class Pair:
    """Two servers in `folder`: one leads, the other one follows. `url` reaches the leader."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._user = postgres.unprivileged(folder)
        self._binaries = postgres.runnable(folder, self._user)
        self._running: dict[Path, subprocess.Popen[bytes]] = {}
        self._leader, self._follower = (self._made(folder / name) for name in "ab")
        hosts = f"host={self._leader},{self._follower}&target_session_attrs=read-write"
        self.url = f"postgres://hopper@/hopper?{hosts}"

    def start(self) -> None:
        """Make the database of the leader and let the other server follow."""
        postgres.initialise(self._binaries, self._leader, self._user)
        self._run(self._leader)
        with self._ask(self._leader) as leader:
            # No standby could confirm it yet.
            leader.execute("SET synchronous_commit = local")
            leader.execute("CREATE DATABASE hopper")
        self._follow()

    def fail_over(self) -> None:
        """Kill the leader, promote the follower, and let a new server follow that one."""
        self._end(self._leader, signal.SIGKILL)
        with self._ask(self._follower) as follower:
            follower.execute("SELECT pg_promote()")
        self._leader, self._follower = self._follower, self._leader
        self._follow()

    def close(self) -> None:
        """End both servers."""
        for server in list(self._running):
            self._end(server, signal.SIGINT)

    def _made(self, server: Path) -> Path:
        server.mkdir()
        if self._user:
            os.chown(server, self._user["user"], self._user["group"])
        return server

    def _follow(self) -> None:
        """Copy the leader; return when the copy confirms each commit."""
        data = self._follower / "data"
        shutil.rmtree(data, ignore_errors=True)
        for left_over in self._follower.glob(".s.*"):
            left_over.unlink()
        copy: list[str | Path] = [self._binaries / "pg_basebackup", "--write-recovery-conf"]
        copy += ["--host", self._leader, "--username", "hopper", "--pgdata", data]
        copy += ["--checkpoint", "fast", "--no-sync"]
        subprocess.run(copy, cwd=self._folder, check=True, **self._user)
        self._run(self._follower)
        confirming = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        with self._ask(self._leader) as leader:
            _until(lambda: leader.execute(confirming).fetchone() == (1,))

    def _run(self, server: Path) -> None:
        command: list[str | Path] = [self._binaries / "postgres"]
        command += ["-D", server / "data", "-k", server]
        for name, value in SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        with (server / "log").open("a") as log:
            into: Any = {"stdout": log, "stderr": log, **self._user}
            self._running[server] = subprocess.Popen(
                command, cwd=server, start_new_session=True, **into
            )
        _until(lambda: self._answers(server))

    def _answers(self, server: Path) -> bool:
        with suppress(psycopg.OperationalError), self._ask(server):
            return True
        return False

    def _ask(self, server: Path) -> psycopg.Connection[Any]:
        address = f"postgres://hopper@/postgres?host={server}"
        return psycopg.connect(address, autocommit=True, connect_timeout=PATIENCE)

    def _end(self, server: Path, how: signal.Signals) -> None:
        process = self._running.pop(server)
        os.killpg(process.pid, how)
        process.wait(PATIENCE)


@contextmanager
def pair() -> Iterator[Pair]:
    """Run two servers; they and their data go at the end. Raises NotFound."""
    # Short, because the path of a socket has room for about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="hopper-pg-", dir="/tmp") as folder:
        servers = Pair(Path(folder))
        try:
            servers.start()
            yield servers
        finally:
            servers.close()


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"a server did not come up in {PATIENCE} s")
        time.sleep(0.05)
