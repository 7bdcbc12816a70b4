"""Each line on the stdin of `hopper mcp` is answered, also at its end and if it is no message."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from tests.cli.shell import HOPPER, Shell
from tests.cli.test_mcp_signals import GREETING

NOT_JSON, NO_MESSAGE = -32700, -32600
FAULTY = (
    (b'{"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"x": "\\ud800"}}', 7),
    (b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "tools/list"}', None),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "tools/list"', None),
    (b'{"a":' * 5000, None),
    (b'{"jsonrpc": "2.0", "id": 9}', 9),
    (b"[]", None),
    (b"null", None),
    (b'{"jsonrpc": "2.0", "id": 10, "method": "ping", "params": {"a": 1, "a": 2}}', 10),
    (b'{"jsonrpc": "2.0", "id": "\xff", "method": "ping"}', "\ufffd"),
    (b'{"jsonrpc": "2.0", "id": 11, "method": "ping", "params": {"a": "\xff"}}', 11),
    (b'{"jsonrpc": "2.0", "id": 12, "method": "ping", "params": {"a": NaN}}', 12),
)


def test_a_line_that_is_no_message_is_answered_and_the_next_one_too(shell: Shell) -> None:
    lines: list[bytes | dict[str, Any]] = [
        GREETING,
        b"",
        *(line for line, _ in FAULTY),
        _request(2, "ping"),
    ]
    answers = _piped(lines, shell)
    refused = [answer for answer in answers if "error" in answer]
    assert [answer["id"] for answer in refused] == [pk for _, pk in FAULTY]
    assert {answer["error"]["code"] for answer in refused} == {NOT_JSON, NO_MESSAGE}
    assert [answer["id"] for answer in answers if "result" in answer] == [1, 2]


def test_a_refusal_of_a_message_repeats_no_secret(shell: Shell) -> None:
    secret = "hop_0123456789abcdef"
    twice = f'{{"{secret}": 1, "{secret}": 2}}'.encode()
    prompt = _request(3, "prompts/get", name=secret)
    told = json.dumps(_piped([GREETING, twice, _request(2, f"tools/{secret}"), prompt], shell))
    assert told.count("***") == 3
    assert secret not in told


def test_every_piped_request_is_answered_although_stdin_has_ended(shell: Shell) -> None:
    pings = [_request(number, "ping") for number in range(2, 100)]
    answers = _piped([GREETING, *pings, _call(100, "add_task", title="Last")], shell)
    assert {answer["id"] for answer in answers if "result" in answer} == set(range(1, 101))
    assert answers[-1]["result"]["structuredContent"]["title"] == "Last"


def test_a_cancelled_request_delays_no_end(shell: Shell) -> None:
    instance, _ = _instance_with_a_task(shell)
    cancelled = {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": 2},
    }
    waiting = _call(2, "claim_task", instance_id=instance, tags=["none"], wait_seconds=1)
    assert {answer["id"] for answer in _piped([GREETING, waiting, cancelled], shell)} == {1}


def test_a_long_call_keeps_no_lease_after_stdin_has_ended(shell: Shell) -> None:
    instance, task = _instance_with_a_task(shell)
    claim = _call(2, "claim_task", task_id=task)
    waiting = _call(3, "claim_task", instance_id=instance, tags=["none"], wait_seconds=300)
    with subprocess.Popen(
        [str(HOPPER), "--local", "mcp"],
        cwd=shell.folder,
        env=shell.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            server.stdin.write(_lines([GREETING, claim]))
            server.stdin.flush()
            assert [json.loads(server.stdout.readline())["id"] for _ in range(2)] == [1, 2]
            assert _status(shell, task) == "claimed"
            server.stdin.write(_lines([waiting]))
            server.stdin.close()
            while _status(shell, task) != "pending":
                assert server.poll() is None
                time.sleep(0.05)
        finally:
            server.kill()


def _instance_with_a_task(shell: Shell) -> tuple[str, str]:
    """Return the ids of a new instance and of a task that waits there."""
    shell.json("instance", "create", "top", "--scope", "GLOBAL", "--start")
    made = ("instance", "create", "work", "--scope", "PROJECT", "--parent", "top", "--start")
    instance = shell.json(*made)["id"]
    task = shell.json("task", "add", "First", "--instance", instance)["id"]
    return instance, task


def _status(shell: Shell, task: str) -> str:
    """Return the stored status of a task; a process that asks takes half a second."""
    with closing(sqlite3.connect(shell.folder / ".hopper" / "hopper.db")) as store:
        ((status,),) = store.execute("SELECT status FROM instances_task WHERE id = ?", [task])
    return str(status)


def _request(number: int, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def _call(number: int, tool: str, **arguments: Any) -> dict[str, Any]:
    return _request(number, "tools/call", name=tool, arguments=arguments)


def _lines(messages: Sequence[bytes | dict[str, Any]]) -> bytes:
    written = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
    return b"\n".join([*written, b""])


def _piped(messages: Sequence[bytes | dict[str, Any]], shell: Shell) -> list[dict[str, Any]]:
    """Return the answers of a server whose standard input ends after `messages`."""
    ran = subprocess.run(
        [str(HOPPER), "--local", "mcp"],
        cwd=shell.folder,
        env=shell.environ,
        input=_lines(messages),
        capture_output=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]
