"""A broken file keeps a process from starting, and one that runs from changing its mind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

GOOD = "PROJECT:\n  routing:\n    orchestration_threshold: 4\n"
BROKEN = {
    "no YAML": ("PROJECT: [\n", "scope_behaviors.yaml:2: expected"),
    "an unknown key": (
        "PROJECT:\n  routing:\n    treshold: 4\n",
        "scope_behaviors.yaml:3: PROJECT.routing.treshold: unknown key; allowed: auto_create",
    ),
    "a wrong type": (
        "PROJECT:\n  routing:\n    max_orchestrations: many\n",
        "scope_behaviors.yaml:3: PROJECT.routing.max_orchestrations: Input should be",
    ),
    "a path that does not import": (
        "PROJECT:\n\n  behavior: my_company.behaviours.Mine\n",
        "scope_behaviors.yaml:3: PROJECT.behavior: does not import: ModuleNotFoundError",
    ),
    "a class that cannot be made": (
        "PROJECT:\n  behavior: tests.scopes.test_configuration.Needy\n",
        "scope_behaviors.yaml:2: PROJECT.behavior: cannot be made: TypeError",
    ),
}

READER = """
import sys, django
django.setup()
from hopper.config.files import CONFIGURATION
from hopper.config.registry import effective_settings
for _ in sys.stdin:
    CONFIGURATION.look_again()
    threshold = effective_settings("PROJECT", {})["orchestration_threshold"]
    print(threshold, *map(str, CONFIGURATION.problems), flush=True)
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose configuration is in a folder; no database is asked."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "hopper.settings",
        "HOPPER_CONFIG_DIR": str(tmp_path),
        "HOPPER_DATABASE_URL": f"sqlite:///{tmp_path}/none.db",
    }


def test_a_process_keeps_its_configuration_while_a_file_is_broken(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    file = tmp_path / "scope_behaviors.yaml"
    file.write_text(GOOD)
    with subprocess.Popen(
        [sys.executable, "-c", READER],
        env=environ,
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stderr is not None

        def told() -> str:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write("look\n")
            reader.stdin.flush()
            return reader.stdout.readline().strip()

        assert told() == "4"
        for text, words in BROKEN.values():
            file.write_text(text)
            answer = told()
            assert answer.startswith("4 ")
            assert words in answer
        file.write_text(GOOD.replace("4", "5"))
        assert told() == "5"
        reader.stdin.close()
        logged = reader.stderr.read()
    for _, words in BROKEN.values():
        assert words in logged


@pytest.mark.unmeasured
@pytest.mark.parametrize("what", BROKEN)
def test_no_process_starts_with_a_broken_file(
    what: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    text, words = BROKEN[what]
    (tmp_path / "scope_behaviors.yaml").write_text(text)
    server = [sys.executable, "-c", "import hopper.wsgi"]
    command = [sys.executable, "manage.py", "check"]
    for line in (server, command) if what == "an unknown key" else (command,):
        ended = subprocess.run(
            line, env=environ, cwd=ROOT, text=True, capture_output=True, check=False
        )
        assert ended.returncode == 1
        assert words in ended.stderr


@pytest.mark.parametrize("module", ["hopper.wsgi", "hopper.asgi"])
def test_a_server_does_not_start_with_a_broken_file(tmp_path: Path, module: str) -> None:
    (tmp_path / "scope_behaviors.yaml").write_text("EVENT:\n  behavior: no.where\n")
    environ = {**os.environ, "HOPPER_CONFIG_DIR": str(tmp_path), "HOPPER_HOME": str(tmp_path)}
    environ["DJANGO_SETTINGS_MODULE"] = "hopper.settings"
    started = subprocess.run(
        [sys.executable, "-c", f"import {module}"], env=environ, capture_output=True, text=True
    )
    assert started.returncode != 0
    assert "scope_behaviors.yaml:2: EVENT.behavior: does not import" in started.stderr
    told = subprocess.run(
        [sys.executable, "-m", "hopper.cli.main", "rules", "list"],
        env=environ, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert told.returncode == 1
    assert "scope_behaviors.yaml:2: EVENT.behavior: does not import" in told.stderr
