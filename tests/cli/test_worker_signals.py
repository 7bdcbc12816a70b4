"""A signal gives the task back when its processes are dead; a second one does so at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hopper.cli.transport import Unreachable
from tests.cli.fakes import Call, FakeTransport, ok, problem
from tests.cli.worker_queue import leased, queue

LINE = ["worker", "w1", "--instance", "run", "--poll", "0.05", "--", "sh", "-c"]
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
SIXTY_SECONDS = "left=60; while [ $left -gt 0 ]; do left=$((left - 1)); sleep 1; done"
"""A command that goes on when its present sleep is killed, and starts no other process."""


def signals(name: str) -> str:
    """Return the line with which a command sends its worker, this process, a signal."""
    return f"kill -{name.removeprefix('SIG')} {os.getpid()}"


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """Ignore none of the signals: a run that was started in the background ignores some."""
    numbers = [getattr(signal, name) for name in SIGNALS]
    ignored = [number for number in numbers if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("name", SIGNALS)
def test_each_signal_gives_the_task_back_when_all_its_processes_are_dead(
    hopper: Callable, server: FakeTransport, tmp_path: Path, name: str
) -> None:
    queue(server, leased())
    alive: list[bool] = []

    def release(call: Call) -> Any:
        pids = (tmp_path / "pids").read_text().split()
        alive.extend(is_alive(int(pid)) for pid in pids)
        return ok(leased())

    server.answers["POST /tasks/task-1/release"] = release
    before = signal.getsignal(getattr(signal, name))
    outcome = hopper(*LINE, f"sleep 60 & echo $$ $! >{tmp_path}/pids; {signals(name)}; wait")
    assert (outcome.code, outcome.out[:36]) == (0, "0 completed, 0 failed, 1 released, 0")
    assert alive == [False, False]
    assert signal.getsignal(getattr(signal, name)) == before


def test_a_second_signal_kills_a_command_that_will_not_end(
    hopper: Callable, server: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(server, leased())
    monkeypatch.setattr("hopper.cli.worker.child.GRACE", 600.0)
    # The worker asks the command to end, which answers with the second signal.
    script = f"trap '{signals('SIGTERM')}' TERM; {signals('SIGTERM')}; {SIXTY_SECONDS}"
    assert "1 released" in hopper(*LINE, script).out


def test_a_command_that_finishes_its_work_when_asked_to_end_is_done(
    hopper: Callable, server: FakeTransport
) -> None:
    queue(server, leased())
    script = f"trap 'echo saved; exit 0' TERM; {signals('SIGTERM')}; sleep 60 & wait"
    outcome = hopper(*LINE, script)
    assert "1 completed" in outcome.out
    assert server.sent("POST", "/tasks/task-1/complete")[0]["result"] == {"output": "saved\n"}


def test_a_signal_that_reached_the_command_as_well_is_no_failure(
    hopper: Callable, server: FakeTransport
) -> None:
    queue(server, leased())
    outcome = hopper(*LINE, f"{signals('SIGTERM')} $$; sleep 60")
    assert "0 failed, 1 released" in outcome.out


@pytest.mark.parametrize("seconds", [0, 0.2], ids=["before it waits", "while it waits"])
def test_a_worker_that_waits_for_tasks_ends_at_once(
    hopper: Callable, server: FakeTransport, seconds: float
) -> None:
    def signalled(call: Call) -> Any:
        if seconds:
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM)).start()
        else:
            os.kill(os.getpid(), signal.SIGTERM)
        return ok({"tasks": [], "waiting": None})

    server.answers["POST /instances/run/claim"] = signalled
    began = time.monotonic()
    assert hopper(*LINE[:-3], "--poll", "600", "--", "true").code == 0
    assert time.monotonic() - began < 300


def test_a_worker_that_waits_for_its_server_ends(hopper: Callable, server: FakeTransport) -> None:
    def signalled(call: Call) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return outage

    outage = problem(503, "database_unavailable", "Not now.")
    server.answers["POST /instances/run/claim"] = [outage, outage, signalled, outage]
    assert hopper(*LINE, "true").code == 0
    assert len({call.key for call in server.calls}) == 1


def test_a_task_of_a_claim_whose_answer_was_lost_is_given_back(
    hopper: Callable, server: FakeTransport
) -> None:
    def lost(call: Call) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        raise Unreachable("No answer.")

    queue(server, leased(), first=(lost,))
    assert "1 released" in hopper(*LINE, "true").out
    assert len(server.sent("POST", "/tasks/task-1/release")) == 1
    assert len({call.key for call in server.calls if call.path.endswith("claim")}) == 1


def test_a_result_that_cannot_be_reported_is_kept_when_the_worker_has_to_end(
    hopper: Callable, server: FakeTransport, home: Path
) -> None:
    queue(server, leased())

    def unavailable(call: Call) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return problem(503, "x", "Not now.")

    server.answers["POST /tasks/task-1/complete"] = unavailable
    outcome = hopper(*LINE, "echo precious")
    assert "1 kept" in outcome.out
    (folder,) = (home / "results").iterdir()
    assert (folder / "output").read_text() == "precious\n"
    assert server.sent("POST", "/tasks/task-1/release") == []


def test_a_signal_that_was_ignored_stays_so(hopper: Callable, server: FakeTransport) -> None:
    queue(server, leased())
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        line = [*LINE[:-3], "--max-tasks", "1", *LINE[-3:]]
        assert "1 completed" in hopper(*line, signals("SIGHUP")).out
    finally:
        signal.signal(signal.SIGHUP, before)
