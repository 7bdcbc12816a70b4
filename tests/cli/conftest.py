"""`hopper(...)`: one command line carried out over a transport made up by the test."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hopper.cli.main import run
from hopper.cli.parser import build_parser
from tests.cli.fakes import FakeTransport, Terminal
from tests.cli.shell import Shell


@dataclass
class Outcome:
    """What a command line came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Real `hopper` processes on a new embedded store."""
    (tmp_path / ".hopper").mkdir()
    return Shell(tmp_path)


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
