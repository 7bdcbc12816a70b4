"""On a store that may only be read, commands that read work; a change is refused in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import HOPPER, Shell

WITHOUT_RIGHTS_OF_ROOT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.fixture
def protected(shell: Shell) -> Shell:
    """A shell with one task, whose store nobody may write."""
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and setpriv is missing")
    shell.hopper("add", "first")
    (shell.folder / ".hopper" / "swept").unlink()
    (shell.folder / ".hopper").chmod(0o500)
    return shell


def _run(shell: Shell, *arguments: str) -> subprocess.CompletedProcess[str]:
    before = WITHOUT_RIGHTS_OF_ROOT if os.geteuid() == 0 else ()
    command = [*before, str(HOPPER), *arguments]
    return subprocess.run(
        command, cwd=shell.folder, env=shell.environ, capture_output=True, text=True, timeout=60
    )


def test_reading_works_and_a_change_is_refused_in_one_line(protected: Shell) -> None:
    listed = _run(protected, "task", "list", "--compact")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "first" in listed.stdout
    added = _run(protected, "add", "second")
    assert (added.returncode, added.stdout) == (1, "")
    assert added.stderr.splitlines() == [
        "Error: The database is read-only: its file or folder is protected against writing."
    ]
    assert sorted(path.name for path in Path(protected.folder, ".hopper").iterdir()) == [
        "hopper.db", "lock", "secret_key",
    ]  # fmt: skip
