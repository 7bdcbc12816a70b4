"""A signal ends `hopper mcp` at once, although a thread waits for its stdin."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import HOPPER, Shell

GREETING = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "agent", "version": "1"},
    },
}


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name
)
def test_a_signal_ends_the_server_of_an_agent(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [str(HOPPER), "--local", "mcp"],
        cwd=tmp_path,
        env=Shell(tmp_path).environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A shell starts its background jobs with SIGINT ignored; children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            print(json.dumps(GREETING), file=server.stdin, flush=True)
            assert '"serverInfo"' in server.stdout.readline()
            server.send_signal(number)
            assert server.wait(timeout=60) == 128 + number
        finally:
            server.kill()
