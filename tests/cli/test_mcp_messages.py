"""A line on the stdin of `hopper mcp` that is no message is answered by an error."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
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
)


def test_a_line_that_is_no_message_is_answered_and_the_next_one_too(tmp_path: Path) -> None:
    asked = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    lines = [json.dumps(GREETING).encode(), b"", *(line for line, _ in FAULTY)]
    ran = subprocess.run(
        [str(HOPPER), "--local", "mcp"],
        cwd=tmp_path,
        env=Shell(tmp_path).environ,
        input=b"\n".join([*lines, json.dumps(asked).encode(), b""]),
        capture_output=True,
        timeout=60,
    )
    answers: list[dict[str, Any]] = [json.loads(line) for line in ran.stdout.splitlines()]
    refused = [answer for answer in answers if "error" in answer]
    assert [answer["id"] for answer in refused] == [pk for _, pk in FAULTY]
    assert {answer["error"]["code"] for answer in refused} == {NOT_JSON, NO_MESSAGE}
    assert [answer["id"] for answer in answers if "result" in answer] == [1, 2]
    assert ran.returncode == 0, ran.stderr
