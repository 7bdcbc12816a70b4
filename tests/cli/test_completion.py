"""A shell completes commands and options by the script that `hopper completion` prints."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_knows_commands_and_options(hopper: Callable[..., Any], shell: str) -> None:
    script = hopper("completion", shell).out
    for word in ("decompose", "--brief-file", "setup", "opencode"):
        assert word in script
    assert "==SUPPRESS==" not in script


def test_bash_completes_a_command(hopper: Callable[..., Any], tmp_path: Any) -> None:
    file = tmp_path / "hopper.bash"
    file.write_text(hopper("completion", "bash").out)
    asked = (
        f"source {file}; COMP_WORDS=(hopper task dec); COMP_CWORD=2; COMP_LINE='hopper task dec';"
        " _shtab_hopper; printf '%s ' \"${COMPREPLY[@]}\""
    )
    found = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["decompose"], found.stderr
