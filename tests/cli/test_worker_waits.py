"""An answer that may pass makes a worker wait and go on; it says once for what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hopper.cli.transport import Reply, Unreachable
from tests.cli.fakes import Call, FakeTransport, ok, problem
from tests.cli.worker_queue import leased, queue, until_beaten

OUTAGES = (503, 500, 502, 429, 401)
PAGES = {
    "a page is missing": Reply(404, {"detail": "The server answered 404 without saying why."}),
    "a page is forbidden": Reply(403, None),
    "nothing": Reply(200, None),
    "another program's JSON": Reply(200, {"status": "ok"}),
}
"""Answers of a proxy in place of its server."""


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hopper.cli.worker.reporter.FIRST", 0.01)
    monkeypatch.setattr("hopper.cli.worker.reporter.LONGEST", 0.05)
    monkeypatch.setattr("hopper.cli.worker.process.LONGEST_PAUSE", 0.05)


def silent(call: Call) -> Any:
    """Answer nothing."""
    raise Unreachable("No answer.")


@pytest.mark.parametrize("status", OUTAGES)
def test_a_claim_that_fails_for_now_is_repeated_and_logged_once(
    work: Callable, server: FakeTransport, status: int
) -> None:
    queue(server, leased(), first=(problem(status, "x", "Not now."),) * 3)
    outcome = work("print(1)")
    assert outcome.out.startswith("1 completed")
    assert outcome.err.count("Not now.") == 1


@pytest.mark.parametrize("status", OUTAGES)
@pytest.mark.parametrize(("code", "verb"), [("print(1)", "complete"), ("exit(3)", "fail")])
def test_a_report_that_fails_for_now_is_repeated_under_its_key(
    work: Callable, server: FakeTransport, status: int, code: str, verb: str
) -> None:
    queue(server, leased())
    outage = problem(status, "database_unavailable", "Not now.")
    server.answers[f"POST /tasks/task-1/{verb}"] = [outage, outage, ok(leased())]
    outcome = work(code)
    calls = [call for call in server.calls if call.path == f"/tasks/task-1/{verb}"]
    assert len(calls) == 3
    assert len({call.key for call in calls}) == 1
    assert len({str(call.body) for call in calls}) == 1
    assert "0 released, 0 lost" in outcome.out
    assert server.sent("POST", "/tasks/task-1/fail") == (
        [] if verb == "complete" else [call.body for call in calls]
    )


def test_a_claim_without_an_answer_is_repeated_under_its_key(
    work: Callable, server: FakeTransport
) -> None:
    queue(server, leased(), first=(silent, problem(401, "x", "Not now.")))
    assert "1 completed" in work("print(1)").out
    keys = [call.key for call in server.calls if call.path == "/instances/run/claim"]
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[2]


@pytest.mark.parametrize(
    "answer",
    [
        problem(409, "not_claiming", "run is paused: no new work starts there (R3)."),
        problem(409, "not_claiming", "run is stopped: no new work starts there (R3)."),
        problem(404, "not_found", "There is no instance run."),
    ],
)
def test_an_instance_that_is_paused_stopped_or_not_there_yet_is_waited_for(
    work: Callable, server: FakeTransport, answer: Any
) -> None:
    queue(server, leased(), first=(answer, answer, answer))
    outcome = work("print(1)")
    assert (outcome.code, outcome.out[:11]) == (0, "1 completed")
    assert outcome.err.count("waiting: ") == 1
    assert answer.data["detail"] in outcome.err


@pytest.mark.parametrize(
    "answer",
    [
        problem(409, "does_not_execute", "run is a GLOBAL: it routes work."),
        problem(410, "gone", "run is terminated."),
        problem(403, "not_allowed", "This takes the role worker at run."),
    ],
)
def test_an_instance_that_will_never_hand_out_work_ends_the_worker_with_the_reason(
    work: Callable, server: FakeTransport, answer: Any
) -> None:
    queue(server, first=(answer,))
    outcome = work("print(1)")
    assert outcome.code == 1
    assert answer.data["detail"] in outcome.err


def test_a_result_is_kept_when_its_lease_is_surely_over_and_sent_by_the_next_worker(
    work: Callable, server: FakeTransport, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hopper.cli.worker.beat.SWEEP", 0.0)
    queue(server, leased(seconds=0.2))
    for verb in ("complete", "heartbeat"):
        server.answers[f"POST /tasks/task-1/{verb}"] = problem(503, "x", "Not now.")
    outcome = work("print('precious')", "--max-tasks", "1")
    (folder,) = (home / "results").iterdir()
    assert "1 kept" in outcome.out
    assert str(folder) in outcome.err
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700

    server.answers["POST /tasks/task-1/complete"] = ok(leased())
    queue(server)
    assert "completed: reported after the end of its worker" in work("print(1)").err
    reports = server.sent("POST", "/tasks/task-1/complete")
    assert reports[-1] == reports[0]
    assert len({call.key for call in server.calls if call.path.endswith("complete")}) == 1
    assert reports[-1]["result"] == {"output": "precious\n"}
    assert list((home / "results").iterdir()) == []


@pytest.mark.parametrize("page", PAGES)
def test_the_answer_of_a_proxy_ends_no_worker_no_command_and_no_result(
    work: Callable, server: FakeTransport, tmp_path: Path, page: str
) -> None:
    queue(server, leased(seconds=0.3), first=(PAGES[page],))
    server.answers["POST /tasks/task-1/heartbeat"] = PAGES[page]
    server.answers["POST /tasks/task-1/complete"] = [PAGES[page], PAGES[page], ok(leased())]
    outcome = work(f"{until_beaten(server, tmp_path)}print(1)")
    assert outcome.out == "1 completed, 0 failed, 0 released, 0 lost\n"
    assert len(server.sent("POST", "/tasks/task-1/complete")) == 3
    assert server.sent("POST", "/tasks/task-1/heartbeat")


def test_a_result_is_kept_while_the_server_does_not_know_its_task(
    work: Callable, server: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hopper.cli.worker.reporter.LOOK_SECONDS", 0.0)
    unknown = problem(404, "not_found", "There is nothing here that you may see.")
    queue(server, leased())
    server.answers["POST /tasks/task-1/complete"] = unknown
    assert "1 kept" in work("print('precious')", "--max-tasks", "1").out

    queue(server, leased("task-2"), leased("task-3"))
    outcome = work("print(2)")
    assert "2 completed" in outcome.out
    assert "reported after the end of its worker" not in outcome.err
    assert outcome.err.count("task-1: not reported") == 1

    server.answers["POST /tasks/task-1/complete"] = ok(leased())
    assert "task-1 completed: reported after the end" in work("print(3)").err


def test_a_question_of_the_command_is_no_error(work: Callable, server: FakeTransport) -> None:
    queue(server, leased("task-1"), leased("task-2"))
    over = problem(409, "lease_lost", "This lease is over.", state="blocked", outcome="asked")
    server.answers["POST /tasks/task-1/fail"] = over
    outcome = work("import os; exit(os.environ['HOPPER_TASK_ID'] == 'task-1')")
    assert outcome.out == "1 completed, 0 failed, 0 released, 0 lost, 1 asked\n"


def test_a_command_that_asked_may_go_on(work: Callable, server: FakeTransport, home: Path) -> None:
    queue(server, leased(seconds=0.3))
    over = problem(409, "lease_lost", "This lease is over.", state="blocked", outcome="asked")
    server.answers["POST /tasks/task-1/heartbeat"] = over
    mark = home.parent / "went on"
    code = until_beaten(server, home.parent)
    outcome = work(f"{code}open({str(mark)!r}, 'w'); exit(1)")
    assert mark.exists()
    assert "1 asked" in outcome.out
    assert len(server.sent("POST", "/tasks/task-1/heartbeat")) == 1
