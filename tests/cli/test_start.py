"""A command on the store of this machine loads few modules: loading is nearly all of its time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.shell import Shell

PROGRAM = """
import sys
from hopper.cli.main import main
for line in sys.argv[1:]:
    assert main(["--local", "--json", *line.split()]) == 0
print("loaded:", *sorted(sys.modules), file=sys.stderr)
"""

LIBRARIES = {
    "asgiref",
    "django",
    "django_filters",
    "drf_standardized_errors",
    "environ",
    "knox",
    "mptt",
    "pythonjsonlogger",
    "rest_framework",
    "sqlparse",
}
"""The libraries beside Python's own and Hopper."""

NOT_LOADED = (
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "hopper.config.registry",
    "hopper.config.yaml_lines",
    "hopper.serving.application",
    "instances.admin",
    "instances.api.dashboard_views",
    "instances.api.instance_views",
    "scopes.deciding",
    "scopes.api",
    "delegation.api",
    "delegation.placing",
    "delegation.sweep",
    "delegation.pages.urls",
)


@pytest.fixture
def loaded(shell: Shell) -> set[str]:
    """The modules of a process that added a task and listed the tasks, soon after a sweep."""
    (shell.folder / ".hopper" / "swept").touch()
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, "task add One", "task list"],
        cwd=shell.folder,
        env=shell.environ,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return set(run.stderr.rpartition("loaded:")[2].split())


def test_a_local_command_loads_what_it_needs(loaded: set[str]) -> None:
    rooms = {"hopper", "instances", "scopes", "delegation"}
    top = {name.partition(".")[0] for name in loaded if not name.startswith(("_", "$"))}
    assert top - rooms - sys.stdlib_module_names - {"coverage"} <= LIBRARIES
    assert loaded.isdisjoint(NOT_LOADED)


def test_what_it_leaves_out_exists(loaded: set[str]) -> None:
    assert {"instances.api.task_views", "delegation.receivers", "scopes.models"} <= loaded
    assert all(__import__(name) for name in NOT_LOADED)
