"""A server of an earlier commit works beside today's on one store, through rolling migrations.

It takes a minute and the history of the repository, so it runs with HOPPER_STORM=1 alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.cli.shell import HOPPER
from tests.serving.conftest import Served, environ, start

pytestmark = [
    pytest.mark.storm,
    pytest.mark.skipif(not os.environ.get("HOPPER_STORM"), reason="takes a minute: HOPPER_STORM=1"),
]
ADDED = ("log", "--diff-filter=A", "--format=%H", "--", "instances/migrations/0025_webhooks.py")
"""Finds the commit that brought a migration. The commit before it is the older server."""


def git(*words: str) -> bytes:
    """Return the output of git in this repository; skips the test without its history."""
    ran = subprocess.run(["git", *words], cwd=settings.BASE_DIR, capture_output=True)
    if ran.returncode or not ran.stdout:
        pytest.skip("needs the history of the repository")
    return ran.stdout


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Served, Served]]:
    """Today's server, which has migrated the store, and an older one beside it."""
    code, home = tmp_path / "code", tmp_path / "home"
    code.mkdir()
    home.mkdir()
    before = git(*ADDED).split()[-1].decode() + "^"
    subprocess.run(["tar", "-x"], cwd=code, input=git("archive", before), check=True)
    new = start(home, "--workers", "1")
    old = start(home, "--workers", "1", code=code)
    yield new, old
    assert [old.stop(), new.stop()] == [0, 0]


def told(served: Served, token: str, path: str, body: Any) -> Any:
    """Return the body of the answer to a POST that must succeed."""
    request = urllib.request.Request(
        f"{served.address}/api/v1{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_both_do_the_main_flow_together(servers: tuple[Served, Served], tmp_path: Path) -> None:
    token = servers[0].token
    for number, (one, other) in enumerate(permutations(servers)):
        project = {"name": f"project-{number}", "scope": "PROJECT"}
        top = told(one, token, "/instances", project)["id"]
        told(other, token, f"/instances/{top}/start", {})
        queue = {"name": f"queue-{number}", "scope": "ORCHESTRATION", "parent_id": top}
        run = told(other, token, "/instances", queue)["id"]
        told(one, token, f"/instances/{run}/start", {})
        for end in ("complete", "fail", "release"):
            task = told(one, token, "/tasks", {"title": end, "instance_id": run})
            (mine,) = told(other, token, f"/instances/{run}/claim", {"worker": "w"})["tasks"]
            assert mine["id"] == task["id"]
            report = {"token": mine["lease"]["token"]} | ({"error": "x"} if end == "fail" else {})
            told(one, token, f"/tasks/{mine['id']}/{end}", report)
            if end != "complete":
                told(other, token, f"/tasks/{mine['id']}/cancel", {})
        told(one, token, f"/instances/{run}/stop", {"force": True})
    checked = subprocess.run(
        [str(HOPPER), "--local", "check"],
        cwd=tmp_path / "home",
        env=environ(tmp_path / "home"),
        capture_output=True,
    )
    assert checked.returncode == 0, checked.stdout
