"""`hopper worker` lets a command do tasks under a lease and reports how each ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hopper.cli.transport import Unreachable
from tests.cli.fakes import Call, FakeTransport, ok, problem
from tests.cli.worker_queue import leased, queue, until_beaten


def test_output_becomes_the_result(work: Callable, server: FakeTransport) -> None:
    queue(server, leased("task-1"), leased("task-2"))
    outcome = work("print('hello')")
    assert outcome.code == 0
    assert outcome.out == "2 completed, 0 failed, 0 released, 0 lost\n"
    assert server.sent("POST", "/tasks/task-1/complete") == [
        {"worker": "w1", "token": "1-task-1", "result": {"output": "hello\n"}}
    ]


def test_json_output_becomes_the_result_itself(work: Callable, server: FakeTransport) -> None:
    queue(server, leased())
    work("print('{\"files\": 3}')")
    assert server.sent("POST", "/tasks/task-1/complete")[0]["result"] == {"files": 3}


def test_the_command_gets_the_task_on_stdin_and_its_ids(
    work: Callable, server: FakeTransport
) -> None:
    queue(server, leased())
    work(
        "import json, os, sys; task = json.load(sys.stdin); "
        "print(json.dumps([task['id'], task['status'], task['server_status'], "
        "os.environ['HOPPER_TASK_ID'], os.environ['HOPPER_INSTANCE_ID']]))"
    )
    result = server.sent("POST", "/tasks/task-1/complete")[0]["result"]
    assert result == ["task-1", "in_progress", "claimed", "task-1", "run"]


def test_a_command_that_fails_reports_the_end_of_its_stderr(
    work: Callable, server: FakeTransport
) -> None:
    queue(server, leased())
    outcome = work("import sys; sys.stderr.write('x' * 9000 + 'the end'); sys.exit(3)")
    (report,) = server.sent("POST", "/tasks/task-1/fail")
    assert len(report["error"]) == 4000
    assert report["error"].endswith("the end")
    assert report["retryable"] is True
    assert "1 failed" in outcome.out


def test_a_silent_failure_is_named_by_its_exit_code(work: Callable, server: FakeTransport) -> None:
    queue(server, leased())
    work("raise SystemExit(7)")
    assert server.sent("POST", "/tasks/task-1/fail")[0]["error"] == "exit code 7"


def test_a_command_that_was_killed_is_named_by_its_signal(
    work: Callable, server: FakeTransport
) -> None:
    queue(server, leased())
    work("import os; os.kill(os.getpid(), 9)")
    assert server.sent("POST", "/tasks/task-1/fail")[0]["error"] == "killed by signal 9"


def test_a_command_that_does_not_read_its_input_is_no_failure(
    work: Callable, server: FakeTransport
) -> None:
    queue(server, {**leased(), "description": "long " * 100_000})
    assert "1 completed" in work("pass").out


def test_the_lease_is_extended_while_the_command_runs(
    work: Callable, server: FakeTransport, tmp_path: Path
) -> None:
    queue(server, leased(seconds=1.2))
    work(until_beaten(server, tmp_path, 2))
    beats = server.sent("POST", "/tasks/task-1/heartbeat")
    assert len(beats) >= 2
    assert beats[0] == {"worker": "w1", "token": "1-task-1"}


def test_a_lost_lease_kills_the_command_and_the_worker_goes_on(
    work: Callable, server: FakeTransport, tmp_path: Path
) -> None:
    queue(server, leased("task-1", 1), leased("task-2"))
    server.answers["POST /tasks/task-1/heartbeat"] = problem(409, "lease_lost", "It is over.")
    mark = tmp_path / "survived"
    code = (
        "import os, pathlib, time\n"
        "if os.environ['HOPPER_TASK_ID'] == 'task-1':\n"
        f"    time.sleep(60); pathlib.Path({str(mark)!r}).touch()"
    )
    outcome = work(code)
    assert outcome.out == "1 completed, 0 failed, 0 released, 1 lost\n"
    assert "It is over." in outcome.err
    assert not mark.exists()
    assert server.sent("POST", "/tasks/task-1/complete") == []


def test_a_task_cancelled_meanwhile_is_not_reported_as_done_elsewhere(
    work: Callable, server: FakeTransport
) -> None:
    queue(server, leased())
    server.answers["POST /tasks/task-1/complete"] = problem(410, "gone", "It was cancelled.")
    assert "1 lost" in work("pass").out


def test_sigterm_releases_the_task_and_ends_cleanly(work: Callable, server: FakeTransport) -> None:
    queue(server, leased(), leased("task-2"))
    outcome = work(f"import os, time; os.kill({os.getpid()}, {signal.SIGTERM:d}); time.sleep(60)")
    assert outcome.code == 0
    assert outcome.out == "0 completed, 0 failed, 1 released, 0 lost\n"
    assert server.sent("POST", "/tasks/task-1/release") == [{"worker": "w1", "token": "1-task-1"}]
    assert server.sent("POST", "/tasks/task-2/complete") == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_worker_claims_tasks_that_fit_its_capabilities(
    work: Callable, server: FakeTransport
) -> None:
    queue(server)
    work("pass", "--capability", "python", "--tag", "docs", "--lease", "60")
    assert server.sent("POST", "/instances/run/claim")[0] == {
        "worker": "w1",
        "limit": 1,
        "lease_seconds": 60,
        "capabilities": ["python"],
        "tags": ["docs"],
    }


def test_a_worker_ends_after_max_tasks(work: Callable, server: FakeTransport) -> None:
    queue(server, leased("task-1"), leased("task-2"))
    assert work("pass", "--max-tasks", "1").out.startswith("1 completed")


def test_a_worker_without_a_command_claims_nothing(hopper: Callable, server: FakeTransport) -> None:
    assert hopper("worker", "w1", "--instance", "run").code == 2
    outcome = hopper("worker", "w1", "--instance", "run", "--", "no-such-command-here")
    assert outcome.code == 1
    assert "no-such-command-here" in outcome.err
    assert server.calls == []


def test_an_instance_that_hands_out_nothing_ends_it_with_the_reason(
    work: Callable, server: FakeTransport
) -> None:
    server.answers["POST /instances/run/claim"] = problem(
        422, "rule_broken", "GLOBAL never executes."
    )
    outcome = work("pass")
    assert outcome.code == 1
    assert "GLOBAL never executes." in outcome.err


def test_a_result_that_is_refused_is_sent_shorter(work: Callable, server: FakeTransport) -> None:
    queue(server, leased())
    server.answers["POST /tasks/task-1/complete"] = [
        problem(413, "too_large", "Too much."),
        problem(413, "too_large", "Too much."),
        ok(leased()),
    ]
    outcome = work("print('x')")
    assert outcome.out.startswith("1 completed, 0 failed")
    results = [body["result"] for body in server.sent("POST", "/tasks/task-1/complete")]
    assert results[0] == {"output": "x\n"}
    assert results[2]["truncated"]
    kept = results[2]["note"].split(" are in ")[1].split(" on ")[0]
    assert Path(kept).read_text() == "x\n"


def test_a_report_is_repeated_while_nobody_answers(
    work: Callable, server: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hopper.cli.worker.reporter.FIRST", 0.01)
    queue(server, leased())
    answers = iter([None, None, ok(leased())])

    def complete(call: Call) -> Any:
        answer = next(answers)
        if answer is None:
            raise Unreachable("No answer.")
        return answer

    server.answers["POST /tasks/task-1/complete"] = complete
    assert "1 completed" in work("print('x')").out
