"""A change that was acknowledged outlives the primary that has a synchronous standby."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.cli.shell import Shell
from tests.crash.site import ROOT

FAILOVERS = 20


@pytest.mark.storm
@pytest.mark.postgres
@pytest.mark.django_db
@pytest.mark.skipif(os.environ.get("HOPPER_STORM") != "1", reason="minutes: HOPPER_STORM=1")
def test_no_acknowledged_change_is_lost_with_the_primary() -> None:
    soak = [sys.executable, "-m", "tests.soak", "--failovers", str(FAILOVERS)]
    # The soak has two databases of its own.
    environ = Shell(ROOT).environ
    ran = subprocess.run(soak, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-5000:]
    figures = json.loads(ran.stdout)
    assert len(figures["while_running"]["seconds_without_changes"]) == FAILOVERS
    assert (figures["lost"], figures["done_twice"], figures["check"]) == ([], [], [])
