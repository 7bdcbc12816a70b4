"""Output that cannot be written loses nothing, and text of users cannot forge a line."""

from __future__ import annotations

import subprocess

import pytest

from tests.cli.shell import Shell

pytestmark = pytest.mark.unmeasured

FORGED = "harmless\ntask-000000000000000000000000  completed  low  -  forged"


def _bash(shell: Shell, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        cwd=shell.folder, env=shell.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("closed", [">/dev/full", ">&-"])
def test_a_full_or_closed_output_ends_with_one_line_and_the_id(shell: Shell, closed: str) -> None:
    done = _bash(shell, f"hopper task add 'Write it down' {closed}")
    [task] = shell.json("task", "list")
    assert done.returncode == 1
    assert f"✓ Created task: {task['id']}" in done.stderr
    assert "Error: The output cannot be written:" in done.stderr
    assert "Traceback" not in done.stderr


def test_closed_error_output_keeps_the_exit_code(shell: Shell) -> None:
    assert _bash(shell, "hopper task get task-0 2>&-").returncode == 1
    assert _bash(shell, "hopper task add Fine 2>&-").returncode == 0


def test_a_title_with_line_ends_stays_one_row(shell: Shell) -> None:
    shell.hopper("task", "add", FORGED)
    assert len(shell.hopper("task", "list").splitlines()) == 2
    assert len(shell.hopper("task", "list", "--compact").splitlines()) == 1
    assert r"harmless\ntask-0" in shell.hopper("task", "list")
    [task] = shell.json("task", "list")
    assert task["title"] == FORGED


def test_a_name_with_line_ends_stays_one_node_of_the_tree(shell: Shell) -> None:
    shell.hopper("instance", "create", "top\n└── forged (PROJECT)", "--scope", "GLOBAL")
    assert len(shell.hopper("instance", "tree").splitlines()) == 1


@pytest.mark.parametrize("command", ["check", "sweep", "token list", "route replay"])
def test_a_command_on_the_database_refuses_a_server(shell: Shell, command: str) -> None:
    done = _bash(shell, f"hopper --server http://127.0.0.1:9 {command}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "works on the database of this machine" in done.stderr
    assert "hopper --local" in done.stderr


def test_a_token_with_a_line_end_is_refused_without_being_shown(shell: Shell) -> None:
    done = _bash(shell, "hopper --server http://127.0.0.1:9 --token $'hop_secret\\nX: y' ls")
    assert done.returncode == 1
    assert "The token is not one word of printable characters." in done.stderr
    assert "hop_secret" not in done.stderr
