"""A worker that is killed outright, or whose stderr takes nothing, loses no result and no task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest

from tests.worker_lab.lab import Lab, clean_environ, until
from tests.worker_lab.test_random_rounds import Embedded

pytestmark = [
    pytest.mark.unmeasured,  # The worker's lines run in other tests, in their process.
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc"),
]


HELD = 'touch "$LAB/begun"; while [ ! -e "$LAB/go" ]; do sleep 0.1; done; echo held; finish 0'
"""A command that ends when the test says so."""


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Embedded:
    copytree(empty_store, tmp_path / "home")
    return Embedded(tmp_path / "home")


@pytest.fixture
def lab(tmp_path: Path, store: Embedded) -> Iterator[Lab]:
    made = Lab(tmp_path, {**clean_environ(), "HOPPER_HOME": str(tmp_path / "home")})
    yield made
    made.close()


def test_a_result_between_exit_and_report_is_sent_by_the_next_worker(
    lab: Lab, store: Embedded
) -> None:
    id = store.add("slow")
    (lab.folder / "slow").write_text(HELD)
    worker = lab.start()
    assert until((lab.folder / "begun").exists)
    # Stopped, the worker does not see the command end; then it is killed.
    worker.send_signal(signal.SIGSTOP)
    (lab.folder / "go").touch()
    assert until(lambda: lab.codes().get(id) == [0])
    assert until(lambda: len(lab.processes()) == 1)
    worker.kill()
    worker.wait()
    assert lab.start("--idle-exit").wait(60) == 0
    assert store.states() == {id: "done"}
    assert lab.codes() == {id: [0]}
    assert "completed: reported after the end of its worker" in lab.log()


def test_the_command_of_a_killed_worker_is_ended_and_its_task_tried_again(
    lab: Lab, store: Embedded
) -> None:
    id = store.add("slow")
    (lab.folder / "slow").write_text(HELD)
    worker = lab.start()
    assert until((lab.folder / "begun").exists)
    worker.kill()
    worker.wait()
    assert until(lambda: lab.processes() == [])
    (lab.folder / "go").touch()
    assert lab.start("--max-tasks", "1").wait(60) == 0
    assert store.states() == {id: "done"}
    assert lab.codes() == {id: [0]}
    assert f"{id} failed: reported after the end of its worker" in lab.log()


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_a_stderr_that_takes_nothing_costs_no_task(
    lab: Lab, store: Embedded, tmp_path: Path, stderr: str
) -> None:
    ids = [store.add("json"), store.add("slow")]
    worker = f"{sys.executable} -m hopper.cli.main worker w --instance run --idle-exit"
    subprocess.run(
        ["sh", "-c", f"{worker} -- sh {lab.run} {stderr}"],
        env={**lab.environ, "LAB": str(lab.folder)},
        stdout=subprocess.DEVNULL,
        timeout=120,
        # Python ends with 120 where it cannot flush a stream. The tasks are what counts.
        check=False,
    )
    assert store.states() == dict.fromkeys(ids, "done")


def test_a_guard_that_is_killed_takes_its_command_along(lab: Lab, store: Embedded) -> None:
    store.add("leaves")
    (lab.folder / "leaves").write_text("sleep 300")
    worker = lab.start()
    assert until(lambda: any("sleep 300" in line for line in lab.processes()))
    (guard,) = (line for line in lab.processes() if "guard.py" in line)
    os.kill(int(guard.split()[0]), signal.SIGKILL)
    assert until(lambda: " failed" in lab.log())
    assert until(lambda: not any("sleep 300" in line for line in lab.processes()))
    worker.terminate()
    assert worker.wait(60) == 0
