"""Exit code 0 is done, whatever the output: what is no JSON for the server is sent as text."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hopper.cli.worker.results import LIMIT
from hopper.json_values import problem_in
from tests.cli.fakes import FakeTransport
from tests.cli.worker_queue import leased, queue

WRITE = "import sys; sys.stdout.buffer.write({!r})"


@pytest.fixture
def result(work: Callable, server: FakeTransport) -> Callable[[str], Any]:
    """Return the result that a command's output becomes; the task must be done."""

    def of(code: str) -> Any:
        queue(server, leased())
        assert work(code).out.startswith("1 completed, 0 failed")
        (report,) = server.sent("POST", "/tasks/task-1/complete")
        assert problem_in(report) is None
        assert len(json.dumps(report)) <= LIMIT + 1000
        return report.get("result")

    return of


@pytest.mark.parametrize(
    "output",
    [
        b"NaN",
        b"[Infinity]",
        b"1e999",
        b"12345678901234567890",
        b'"a\\u0000b"',
        b'"\\ud800"',
        b"[" * 3000 + b"]" * 3000,
        b"[" * 100 + b"]" * 100,
        b"",
        b"plain words\n",
    ],
)
def test_output_that_is_no_json_for_the_server_is_its_text(
    result: Callable[[str], Any], output: bytes
) -> None:
    assert result(WRITE.format(output)) == {"output": output.decode()}


@pytest.mark.parametrize("output", ["[" * 99 + "]" * 99, "9223372036854775807", '{"é": [1.5]}'])
def test_json_up_to_the_servers_limits_stays_json(
    result: Callable[[str], Any], output: str
) -> None:
    assert result(WRITE.format(output.encode())) == json.loads(output)


def test_binary_output_is_text_with_replacement_characters(result: Callable[[str], Any]) -> None:
    assert result(WRITE.format(b"\xff\x00a")) == {"output": "\ufffda"}


@pytest.mark.parametrize("code", ["b'\\xff' * 2_000_000", "'é'.encode() * 400_000"])
def test_output_over_the_limit_is_cut_and_kept_as_a_file(
    result: Callable[[str], Any], code: str
) -> None:
    sent = result(f"import sys; sys.stdout.buffer.write({code})")
    whole: bytes = eval(code)
    assert sent["truncated"] is True
    assert sent["output"]
    assert whole.decode(errors="replace").endswith(sent["output"])
    assert len(json.dumps(sent)) > LIMIT - 100
    place = Path(sent["note"].split(" are in ")[1].split(" on ")[0])
    assert place.read_bytes() == whole
    assert place.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in place.parent.iterdir()] == ["output"]


def test_json_over_the_limit_is_cut_as_text(result: Callable[[str], Any]) -> None:
    sent = result(f"print('[' + '1,' * {LIMIT // 2} + '1]')")
    assert sent["truncated"] is True
    assert sent["output"].endswith(",1]\n")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_stays_small_however_much_a_command_writes(tmp_path: Path) -> None:
    program = (
        "from tests.cli.fakes import FakeTransport\n"
        "from tests.cli.worker_queue import leased, queue\n"
        "from hopper.cli.main import run\n"
        "from hopper.cli.parser import build_parser\n"
        "server = FakeTransport()\n"
        "queue(server, leased())\n"
        "line = ['worker', 'w', '--instance', 'run', '--max-tasks', '1', '--', 'head']\n"
        "line += ['-c', '400000000', '/dev/zero']\n"
        "assert run(build_parser().parse_args(line), server) == 0\n"
        "print(open('/proc/self/status').read())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"HOPPER_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=True,
    )
    (peak,) = (line for line in done.stdout.splitlines() if line.startswith("VmHWM:"))
    assert int(peak.split()[1]) < 80_000
