"""The throw-away server leaves nothing behind, however its user ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings

from tests import postgres

try:
    postgres.find_binaries()
except postgres.NotFound as missing:
    pytestmark = pytest.mark.skip(reason=str(missing))

SHOW = 'echo "$HOPPER_TEST_DATABASE ${HOPPER_DATABASE_URL#*host=}"'


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.postgres", "--", "sh", "-c", script],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
    )


def test_the_command_runs_on_it_and_its_exit_code_comes_back() -> None:
    result = run(f"{SHOW}; exit 7")
    database, folder = result.stdout.split()
    assert (result.returncode, database) == (7, "postgres")
    assert not Path(folder).exists()


def test_the_server_is_removed_when_its_user_is_killed() -> None:
    result = run(f"{SHOW}; kill -9 $PPID")
    folder = Path(result.stdout.split()[1])
    deadline = time.monotonic() + 60
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert result.returncode == -9
    assert not folder.exists()


def test_a_server_without_a_command_is_wrong_usage() -> None:
    assert postgres.main([]) == 2
