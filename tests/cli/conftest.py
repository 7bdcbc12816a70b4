"""`hopper(...)`: one command line carried out over a transport made up by the test."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import pytest

from hopper.cli.main import run
from hopper.cli.parser import build_parser
from tests.cli.fakes import FakeTransport, Terminal
from tests.cli.shell import Shell
from tests.cli.worker_queue import PYTHON


@dataclass
class Outcome:
    """The result of a command line."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the embedded store and of results that were not delivered."""
    monkeypatch.setenv("HOPPER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def new_shell(tmp_path: Path) -> Shell:
    """Real `hopper` processes; the first makes their embedded store."""
    (tmp_path / ".hopper").mkdir()
    return Shell(tmp_path)


@pytest.fixture
def shell(new_shell: Shell, empty_store: Path) -> Shell:
    """Real `hopper` processes on an embedded store without rows."""
    copytree(empty_store, new_shell.folder / ".hopper", dirs_exist_ok=True)
    return new_shell


@pytest.fixture
def server() -> FakeTransport:
    """The made-up server; a test fills `server.answers`."""
    return FakeTransport()


@pytest.fixture
def hopper(server: FakeTransport, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Carry out `hopper ARGUMENTS…` and return exit code, stdout and stderr."""

    def carry_out(*arguments: str, terminal: bool = False) -> Outcome:
        out = Terminal() if terminal else io.StringIO()
        try:
            code = run(build_parser().parse_args(arguments), server, out)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, out.getvalue() + captured.out, captured.err)

    return carry_out


@pytest.fixture
def work(hopper: Callable) -> Callable[..., Outcome]:
    """Run a worker until there is nothing to do."""

    def start(code: str, *options: str) -> Outcome:
        line = ["worker", "w1", "--instance", "run", "--idle-exit", "--poll", "0.05", *options]
        return hopper(*line, "--", *PYTHON, code)

    return start
