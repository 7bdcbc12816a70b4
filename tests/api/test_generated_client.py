"""A generated client, in Python and in TypeScript, compiles strictly and does the main flow.

Each takes a minute, so they run with HOPPER_STORM=1 alone (`make storm`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from instances.models import HopperInstance
from tests.api.conftest import Caller

GENERATOR = "openapi_python_client"
SCHEMA = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"
FLOW = '''
"""Brings a task in, works on it as a worker and reads the result."""

import sys

from hopper_client import AuthenticatedClient
from hopper_client.api.instances import claim_next_tasks, get_instance_hierarchy
from hopper_client.api.tasks import complete_task, create_task, get_task, list_tasks
from hopper_client.models import (
    ClaimNextRequest,
    CompleteRequest,
    NewTaskBodyRequest,
    Problem,
    Task,
    Tree,
    WholeTask,
)

address, token, run = sys.argv[1:]
client = AuthenticatedClient(base_url=address, token=token)
made = create_task.sync(client=client, body=NewTaskBodyRequest(title="By hand", instance_id=run))
assert isinstance(made, Task), made
claim = claim_next_tasks.sync(run, client=client, body=ClaimNextRequest(worker="w"))
assert claim is not None and not isinstance(claim, Problem), claim
(mine,) = claim.tasks
assert mine.id == made.id
body = CompleteRequest(worker="w", token=mine.lease.token, result={"done": True})
assert isinstance(complete_task.sync(made.id, client=client, body=body), Task)
whole = get_task.sync(made.id, client=client)
assert isinstance(whole, WholeTask), whole
assert whole.status.value == "done", whole
tree = get_instance_hierarchy.sync(run, client=client)
assert isinstance(tree, Tree) and tree.children == [], tree
unknown = get_task.sync("task-none", client=client)
assert isinstance(unknown, Problem) and unknown.code == "not_found", unknown
rows = list_tasks.sync(client=client)
assert rows is not None and not isinstance(rows, Problem) and rows.results
print("done")
'''


TYPESCRIPT = Path(__file__).parent / "typescript"
pytestmark = [
    pytest.mark.storm,
    pytest.mark.skipif(not os.environ.get("HOPPER_STORM"), reason="takes a minute: HOPPER_STORM=1"),
]


@pytest.fixture
def arguments(
    live_server: Any, tree: dict[str, HopperInstance], caller: Callable[..., Caller]
) -> list[str]:
    """The address of a server, a token and an instance with an empty queue."""
    secret = caller("ada")._credentials["HTTP_AUTHORIZATION"].split()[1]
    return [live_server.url, secret, tree["web-run"].pk]


def run(folder: Path, *command: object) -> str:
    """Run a command that must succeed, and return its output."""
    words = [str(word) for word in command]
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}"
    return ran.stdout


@pytest.mark.skipif(find_spec(GENERATOR) is None, reason="needs openapi-python-client")
def test_a_python_client_compiles_strictly_and_does_the_main_flow(
    arguments: list[str], tmp_path: Path
) -> None:
    generate = [sys.executable, "-m", GENERATOR, "generate", "--path", SCHEMA, "--meta", "none"]
    run(tmp_path, *generate, "--output-path", "hopper_client")
    (tmp_path / "flow.py").write_text(FLOW)
    strict = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull]
    run(tmp_path, *strict, "flow.py", "hopper_client")
    assert run(tmp_path, sys.executable, "flow.py", *arguments) == "done\n"


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js with npm")
def test_a_typescript_client_compiles_strictly_and_does_the_main_flow(
    arguments: list[str], tmp_path: Path
) -> None:
    shutil.copytree(TYPESCRIPT, tmp_path, dirs_exist_ok=True)
    run(tmp_path, "npm", "install", "--no-audit", "--no-fund")
    programs = tmp_path / "node_modules" / ".bin"
    run(tmp_path, programs / "openapi-typescript", SCHEMA, "--output", "schema.d.ts")
    run(tmp_path, programs / "tsc", "--project", ".")
    assert run(tmp_path, "node", "flow.js", *arguments) == "done\n"
