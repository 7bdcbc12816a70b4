"""A command that cannot run, outlives itself, takes too long or asks for secrets."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hopper.cli.transport import Client
from hopper.cli.worker.attempt import Lease
from hopper.cli.worker.beat import Pulse
from tests.cli.fakes import FakeTransport, problem
from tests.cli.worker_queue import leased, queue, until_beaten

LINE = ["worker", "w1", "--instance", "run", "--idle-exit", "--poll", "0.05"]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\x7fELF no program", "Exec format error"), (b"", "Exec format error")],
)
def test_a_file_that_is_no_program_fails_the_task_and_the_worker_lives(
    hopper: Callable, server: FakeTransport, tmp_path: Path, content: bytes, reason: str
) -> None:
    queue(server, leased("task-1"), leased("task-2"))
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    outcome = hopper(*LINE, "--", str(program))
    assert (outcome.code, outcome.out[:21]) == (0, "0 completed, 2 failed")
    (report,) = server.sent("POST", "/tasks/task-1/fail")
    assert reason in report["error"]
    assert report["retryable"] is True


def test_a_program_that_is_gone_fails_the_task_and_the_worker_lives(
    hopper: Callable, server: FakeTransport, tmp_path: Path
) -> None:
    queue(server, leased("task-1"), leased("task-2"))
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\nrm "$0"\n')
    program.chmod(0o755)
    assert hopper(*LINE, "--", str(program)).out.startswith("1 completed, 1 failed")
    assert "No such file" in server.sent("POST", "/tasks/task-2/fail")[0]["error"]


def test_results_that_cannot_be_stored_fail_the_task_and_the_worker_lives(
    work: Callable, server: FakeTransport, home: Path
) -> None:
    queue(server, leased("task-1"), leased("task-2"))
    results = home / "results"
    code = f"import shutil; shutil.rmtree({str(results)!r}); open({str(results)!r}, 'w')"
    assert "1 completed, 1 failed" in work(code).out
    assert "could not be started" in server.sent("POST", "/tasks/task-2/fail")[0]["error"]


def test_a_worker_that_could_store_no_result_does_not_begin(
    work: Callable, server: FakeTransport, home: Path
) -> None:
    home.write_text("in the way")
    outcome = work("print(1)")
    assert outcome.code == 1
    assert "Results cannot be stored" in outcome.err
    assert server.calls == []


@pytest.mark.parametrize("start", ["", "setsid "])
def test_a_task_ends_with_its_command_and_leaves_no_process(
    hopper: Callable, server: FakeTransport, tmp_path: Path, start: str
) -> None:
    queue(server, leased())
    script = f"{start}sleep 60 & echo $! >{tmp_path}/pid; echo ok"
    began = time.monotonic()
    assert "1 completed" in hopper(*LINE, "--", "sh", "-c", script).out
    assert time.monotonic() - began < 50
    assert server.sent("POST", "/tasks/task-1/complete")[0]["result"] == {"output": "ok\n"}
    assert not is_alive(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
def test_a_command_that_runs_too_long_is_ended_and_fails_as_timeout(
    hopper: Callable,
    server: FakeTransport,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    trap: str,
) -> None:
    half = tmp_path / "half"

    class Clock:
        """An hour passes when the command has done half of its work."""

        @staticmethod
        def monotonic() -> float:
            return time.monotonic() + 3600 * half.exists()

    monkeypatch.setattr("hopper.cli.worker.process.time", Clock)
    monkeypatch.setattr("hopper.cli.worker.child.GRACE", 0.5)
    queue(server, leased())
    began = time.monotonic()
    script = f"{trap}echo half >&2; touch {half}; sleep 60; sleep 60"
    outcome = hopper(*LINE, "--max-runtime", "600", "--", "sh", "-c", script)
    assert "0 completed, 1 failed" in outcome.out
    assert time.monotonic() - began < 50
    (report,) = server.sent("POST", "/tasks/task-1/fail")
    assert report["error"] == "timeout: the command ran longer than 600 s\nhalf"
    assert report["retryable"] is True


def test_the_shorter_of_the_workers_and_the_tasks_time_counts(
    hopper: Callable, server: FakeTransport
) -> None:
    queue(server, leased(max_runtime_seconds=1))
    hopper(*LINE, "--max-runtime", "50", "--", "sleep", "60")
    assert "longer than 1 s" in server.sent("POST", "/tasks/task-1/fail")[0]["error"]


OURS = ("HOPPER_TEST_DATABASE", "HOPPER_FAILURES_PER_MINUTE")
"""What the tests themselves set."""


def test_the_command_has_what_it_needs_for_its_own_task_and_no_token(
    work: Callable, server: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOPPER_TOKEN", "HOPPER_SECRET_KEY", "HOPPER_DATABASE_URL"):
        monkeypatch.setenv(name, "secret")
    queue(server, leased())
    work("import json, os; print(json.dumps(dict(os.environ)))", "--server", "http://127.0.0.1:1")
    seen = server.sent("POST", "/tasks/task-1/complete")[0]["result"]
    assert "secret" not in json.dumps(seen)
    assert {
        name: seen[name] for name in seen if name.startswith("HOPPER_") and name not in OURS
    } == {
        "HOPPER_TASK_ID": "task-1",
        "HOPPER_INSTANCE_ID": "run",
        "HOPPER_LEASE_TOKEN": "1-task-1",
        "HOPPER_URL": "http://127.0.0.1:1",
        "HOPPER_HOME": os.environ["HOPPER_HOME"],
    }


def test_the_token_is_passed_where_that_is_asked(
    work: Callable, server: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPPER_TOKEN", "hop_1")
    queue(server, leased())
    work("import os; print(os.environ['HOPPER_TOKEN'])", "--pass-token")
    assert server.sent("POST", "/tasks/task-1/complete")[0]["result"] == {"output": "hop_1\n"}


def test_control_characters_of_a_title_are_shown_escaped(
    work: Callable, server: FakeTransport
) -> None:
    queue(server, {**leased(), "title": "red \x1b[31m\nroses"})
    server.answers["POST /tasks/task-1/complete"] = problem(410, "gone", "It \x07 was cancelled.")
    outcome = work("print(1)")
    assert "red \\x1b[31m\\nroses" in outcome.err
    assert "\x1b" not in outcome.err
    assert "\x07" not in outcome.err


@pytest.mark.parametrize(("lease_seconds", "longest"), [(3, 1), (30, 10), (86_400, 10)])
def test_a_cancelled_task_is_noticed_within_ten_seconds_whatever_the_lease(
    server: FakeTransport, lease_seconds: float, longest: float
) -> None:
    server.answers["POST /tasks/task-1/heartbeat"] = problem(410, "gone", "It was cancelled.")
    now = 1000.0
    lease = Lease("here", "w1", "task-1", "1-task-1")
    pulse = Pulse(Client(server), lease, lease_seconds, clock=lambda: now)
    assert 0 < pulse.wait <= longest
    now += pulse.wait
    pulse.beat()
    assert pulse.over is not None


def test_heartbeats_follow_the_length_of_the_lease_and_no_wall_clock(
    work: Callable, server: FakeTransport, tmp_path: Path
) -> None:
    queue(server, leased(seconds=1.5, expires_at="2001-01-01T00:00:00Z"))
    began = time.monotonic()
    assert "1 completed" in work(until_beaten(server, tmp_path, 2)).out
    most = (time.monotonic() - began) / 0.5
    assert 2 <= len(server.sent("POST", "/tasks/task-1/heartbeat")) <= most


def test_a_heartbeat_leaves_no_key_behind(
    work: Callable, server: FakeTransport, tmp_path: Path
) -> None:
    queue(server, leased(seconds=0.6))
    work(until_beaten(server, tmp_path))
    beats = [call for call in server.calls if call.path.endswith("heartbeat")]
    assert {call.key for call in beats} == {""}
