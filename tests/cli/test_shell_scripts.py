"""Promises to the shell scripts of an orchestrator of agents, with real processes (C)."""

from __future__ import annotations

import io
import json
import re
import subprocess
from pathlib import Path

import pytest

from hopper.cli.local import LocalTransport
from hopper.cli.main import run
from hopper.cli.parser import build_parser
from tests.cli.shell import HOPPER, Shell

BRIEF = (
    "# Worker: backend\n\n## Mission\n\n[bold]not markup[/bold] “quoted”\n\n```bash\n"
    + "echo "
    + "x" * 300
    + "\n```\n\n  indented\n\n\n- [ ] Success Criteria\n"
)

pytestmark = [pytest.mark.slow, pytest.mark.unmeasured]


def test_a_brief_goes_in_and_comes_back_line_by_line(shell: Shell) -> None:
    (shell.folder / "brief.md").write_text(BRIEF)
    id = shell.bash(
        'hopper --local task add "[backend] Build the API" --priority medium --tag czarina '
        "--tag test-project --tag worker-backend --non-interactive --brief-file brief.md "
        "2>/dev/null | grep -oP '(?<=Created task: )task-[a-f0-9]+'"
    ).strip()
    assert re.fullmatch(r"task-[a-f0-9]+", id)
    assert BRIEF in shell.hopper("--local", "task", "get", id)
    assert BRIEF in shell.hopper("--local", "task", "get", id, "--with-lessons")
    assert shell.json("task", "get", id)["description"] == BRIEF
    (row,) = shell.json("task", "list", "--tag", "test-project", "--tag", "worker-backend")
    assert (row["id"], row["title"]) == (id, "[backend] Build the API")
    assert row["tags"] == ["czarina", "test-project", "worker-backend"]
    assert shell.json("task", "list", "--tag", "test-project", "--tag", "other") == []


def here(*arguments: str) -> str:
    """Return the output of a command in this process, on the test's database."""
    out = io.StringIO()
    assert run(build_parser().parse_args(["--local", *arguments]), LocalTransport(), out) == 0
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_any_status_is_reached_from_any_by_force() -> None:
    id = json.loads(here("--json", "task", "add", "X"))["id"]
    for word in (
        "in_progress",
        "blocked",
        "completed",
        "open",
        "cancelled",
        "completed",
        "completed",
    ):
        out = here("task", "status", id, word, "--force")
        assert out == f"✓ Changed status to: {word}\n"
        assert json.loads(here("--json", "task", "get", id))["status"] == word


@pytest.mark.django_db(transaction=True)
def test_blocking_with_the_reason_as_description_works() -> None:
    id = json.loads(here("--json", "task", "add", "X"))["id"]
    here("task", "status", id, "in_progress", "--force")
    here("task", "update", id, "--description", "BLOCKED: waits")
    here("task", "status", id, "blocked", "--force")
    task = json.loads(here("--json", "task", "get", id))
    assert (task["status"], task["description"]) == ("blocked", "BLOCKED: waits")


def test_a_list_has_no_hidden_limit_and_stays_quick(shell: Shell) -> None:
    shell.bash('for i in $(seq 1 3); do hopper --local add "n $i" >/dev/null & done; wait')
    assert len(shell.json("task", "list")) == 3


def test_parallel_first_use_of_an_empty_folder_fails_nobody(new_shell: Shell) -> None:
    started = [new_shell.start("--local", "task", "add", f"task {number}") for number in range(6)]
    for process in started:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert out.startswith("✓ Created task: task-")
    assert len(new_shell.json("task", "list")) == 6


def test_the_nearest_folder_upwards_is_the_store(shell: Shell) -> None:
    (shell.folder / "deep" / "er").mkdir(parents=True)
    shell.bash("cd deep/er && hopper add X")
    assert list(shell.folder.rglob(".hopper")) == [shell.folder / ".hopper"]
    assert len(shell.json("ls")) == 1


def test_a_reader_that_leaves_early_is_no_error(shell: Shell) -> None:
    shell.hopper("add", "X")
    assert shell.bash("(hopper ls 2>err || true) | head -c 1; cat err") == "I"


def test_a_refusal_is_on_stderr_alone(shell: Shell) -> None:
    process = shell.start("--json", "--local", "task", "get", "task-00")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("Error: ")


def test_a_command_without_a_server_loads_neither_admin_nor_schema(shell: Shell) -> None:
    shell.hopper("ls")
    code = (
        "import sys\n"
        "from hopper.cli.main import main\n"
        "main(['ls'])\n"
        "heavy = {'django.contrib.admin', 'drf_spectacular', 'yaml', 'psycopg', 'rich', 're2'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    python = str(Path(shell.environ["PATH"].split(":")[0]) / "python")
    done = subprocess.run(
        [python, "-c", code],
        capture_output=True, text=True, check=False, cwd=shell.folder, env=shell.environ,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_version_and_help_load_neither_django_nor_the_libraries(shell: Shell) -> None:
    code = (
        "import sys\n"
        "from hopper.cli.main import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "heavy = {'django', 'rich', 'urllib3', 'yaml', 'pydantic', 're2'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)\n"
    )
    python = str(Path(shell.environ["PATH"].split(":")[0]) / "python")
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=False, cwd=shell.folder
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("strict", [{}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_a_locale_without_utf8_gets_right_words_or_one_line(
    shell: Shell, strict: dict[str, str]
) -> None:
    environ = shell.environ | {"LC_ALL": "C", "LANG": "C"} | strict

    def told(*words: str) -> subprocess.CompletedProcess[bytes]:
        line = [str(HOPPER), "--local", *words]
        return subprocess.run(line, cwd=shell.folder, env=environ, capture_output=True, timeout=60)

    made = told("task", "add", "Müller", "--tag", "Café")
    listed = told("task", "list")
    for one in (made, listed):
        assert (one.returncode, one.stderr) == (0, b"")
    assert ("Müller" if not strict else "M\\xfcller") in listed.stdout.decode("utf-8", "replace")
    assert shell.json("task", "list")[0]["title"] == "Müller"
