"""The processes of `hopper serve`: one that dies starts again, a stop loses no request."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.serving.conftest import Served, answer, start


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("team")


@pytest.fixture(scope="module")
def team(home: Path) -> Iterator[Served]:
    made = start(home, "--workers", "1", "--threads", "2")
    yield made
    made.process.kill()
    made.process.wait()


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def answers(served: Served) -> bool:
    try:
        return bool(served.ask("/healthz") == {"status": "ok"})
    except OSError:
        return False


def test_the_start_shows_address_token_and_how_to_sign_in(team: Served) -> None:
    assert f"API       {team.address}/api/v1/docs" in team.told
    assert "hopper user create NAME" in team.told
    assert team.ask("/api/v1/tasks")["results"] == []


@pytest.mark.parametrize("number", [0, 1], ids=["a worker", "the sweep"])
def test_a_process_that_dies_starts_again(team: Served, number: int) -> None:
    until(lambda: answers(team))
    parent = psutil.Process(team.process.pid)
    children = sorted(parent.children(), key=lambda child: child.create_time())
    children[number].kill()
    until(lambda: children[number] not in parent.children() and len(parent.children()) == 2)
    until(lambda: answers(team))


def test_a_stop_lets_running_requests_finish(team: Served, home: Path) -> None:
    body = b'{"title": "drained"}'
    head = team.head(
        "POST",
        "/api/v1/tasks",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Expect: 100-continue",
    )
    with closing(sqlite3.connect(home / "hopper.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with closing(team.connect(head)) as sender:
            # The server says that the request has begun.
            assert answer(sender)[0] == 100
            sender.sendall(body)
            stopping = threading.Thread(target=team.stop)
            stopping.start()
            time.sleep(0.5)
            holder.execute("ROLLBACK")
            assert answer(sender)[0] == 201
    stopping.join()
    assert team.process.returncode == 0


@pytest.mark.usefixtures("team")
def test_a_second_start_shows_no_token_and_its_processes_end_with_it(
    home: Path, tmp_path: Path
) -> None:
    # From another home, so that only the option leads to the database of the first server.
    store = ("--database", str(home / "hopper.db"))
    again = start(tmp_path, "--workers", "1", "--host", "127.0.0.2", *store)
    children = psutil.Process(again.process.pid).children()
    answered = answers(again)
    os.kill(again.process.pid, signal.SIGKILL)
    again.process.wait()
    assert answered
    assert again.host == "127.0.0.2"
    assert "hop_" not in again.told
    assert f"hopper token create NAME {' '.join(store)}" in again.told
    assert list(tmp_path.iterdir()) == []
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
