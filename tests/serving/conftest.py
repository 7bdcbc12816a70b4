"""`hopper serve` as a team runs it: a process on a store of its own, spoken to by sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import HOPPER


def environ(home: Path, **more: str) -> dict[str, str]:
    """Return an environment with a store of its own."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("HOPPER_", "DJANGO_", "COV_"))
    }
    return {**kept, "HOME": str(home), "HOPPER_HOME": str(home), "PYTHONUNBUFFERED": "1", **more}


@dataclass
class Served:
    """A running server: its process, its port and the first token."""

    process: subprocess.Popen[str]
    port: int
    token: str
    told: str
    log: Path | None = None
    host: str = "127.0.0.1"

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"

    def connect(self, first: bytes = b"") -> socket.socket:
        """Return a connection that has sent some bytes."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        made.sendall(first)
        return made

    def head(self, method: str, path: str, *more: str, token: str | None = None) -> bytes:
        """Return the head of a request, with the first token or another."""
        bearer = f"Authorization: Bearer {self.token if token is None else token}"
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", bearer, *more]
        return "\r\n".join([*lines, "", ""]).encode()

    def ask(self, path: str) -> Any:
        """Return the JSON of a GET with the first token."""
        request = urllib.request.Request(
            f"{self.address}{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(120)


def start(
    home: Path, *options: str, code: Path | None = None, log: Path | None = None, **more: str
) -> Served:
    """Start a server, of the sources in the folder `code`, and wait until its processes answer.

    Its log goes to the file `log`, or to the log of the tests.
    """
    program = [str(HOPPER)]
    if code:
        program = [
            sys.executable,
            "-c",
            "import hopper.cli.main as it; raise SystemExit(it.main())",
        ]
        more["PYTHONPATH"] = str(code)
    with log.open("w") if log else nullcontext(sys.stderr) as stderr:
        process = subprocess.Popen(
            [*program, "serve", "--port", "0", *options],
            cwd=home,
            env=environ(home, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    told = ""
    while "Token" not in told:
        line = process.stdout.readline()
        assert line, f"the server ended: {told}"
        told += line
    place = re.search(r"serves http://([\d.]+):(\d+)", told)
    token = re.search(r"hop_\w+", told)
    assert place
    return Served(process, int(place[2]), token[0] if token else "", told, log, place[1])


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the next answer on a connection."""
    stream = connection.makefile("rb")
    status = int(stream.readline().split()[1])
    headers = {}
    while (line := stream.readline().decode().strip()) != "":
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    return status, headers, stream.read(int(headers.get("content-length", "0")))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server with a single worker, two threads and short limits, for all tests."""
    home = tmp_path_factory.mktemp("served")
    made = start(
        home,
        *("--workers", "1", "--threads", "2"),
        log=home / "log",
        HOPPER_LOG_LEVEL="info",
        HOPPER_HEAD_SECONDS="1",
        HOPPER_BODY_SECONDS="2",
    )
    yield made
    assert made.stop() == 0
