"""A command of this machine says what is wrong with the configuration before it writes anything."""

from __future__ import annotations

import subprocess

import pytest

from tests.cli.shell import HOPPER, Shell

pytestmark = [pytest.mark.slow, pytest.mark.unmeasured]

RULES = "rules:\n  - id: docs\n    typ: keyword\n    keywords: [docs]\n    destination: project:x\n"
WORDS = "routing_rules.yaml:2: rules.0.type: is missing; allowed: keyword, tag"


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """A store with one instance, and a task that the next sweep would have to place."""
    shell.hopper("--local", "instance", "create", "top", "--scope", "GLOBAL", "--start")
    (shell.folder / "rules").mkdir()
    (shell.folder / "rules" / "routing_rules.yaml").write_text(RULES)
    return shell


def told(shell: Shell, *arguments: str, folder: str = "rules") -> tuple[int, str, str]:
    """Return the exit code and what a local command says under the configuration of `folder`."""
    (shell.folder / ".hopper" / "swept").unlink(missing_ok=True)
    done = subprocess.run(
        [str(HOPPER), "--local", *arguments],
        cwd=shell.folder,
        env={**shell.environ, "HOPPER_CONFIG_DIR": str(shell.folder / folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_write_is_refused_with_file_line_and_key_and_nothing_is_written(shell: Shell) -> None:
    for line in (
        ["task", "add", "Write the docs"],
        ["task", "add", "Write the docs", "--instance", "top"],
        ["instance", "create", "x", "--scope", "PROJECT", "--parent", "top"],
        ["rules", "check"],
        ["sweep"],
    ):
        code, out, err = told(shell, *line)
        assert (code, out) == (1, ""), line
        assert err.startswith(f"Error: {shell.folder / 'rules'}/{WORDS}"), err
        assert len(err.splitlines()) == 1, err
    assert shell.json("task", "list") == []
    assert [row["id"] for row in shell.json("instance", "list")] == ["top"]


def test_commands_without_need_of_a_configuration_go_on(shell: Shell) -> None:
    assert told(shell, "instance", "list")[::2] == (0, "")
    assert told(shell, "config", "show")[::2] == (0, "")
    assert told(shell, "check", "--json")[::2] == (0, "")
    (shell.folder / "mended").mkdir()
    line = ["route", "replay", "--candidate", str(shell.folder / "mended")]
    assert told(shell, *line)[::2] == (0, "")


@pytest.mark.parametrize("line", [["task", "add", "x"], ["rules", "check"]])
def test_a_folder_that_is_not_there_is_no_configuration(shell: Shell, line: list[str]) -> None:
    code, out, err = told(shell, *line, folder="nowhere")
    assert (code, out) == (1, "")
    assert "nowhere:1: there is no such folder" in err
    assert shell.json("task", "list") == []
