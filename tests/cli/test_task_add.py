"""`task add` creates a task and prints its id where scripts look for it."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fakes import Call, FakeTransport, ok, problem, task


@pytest.fixture(autouse=True)
def created(server: FakeTransport) -> None:
    def create(call: Call) -> Any:
        return ok(task(**call.body), 201)

    server.answers["POST /tasks"] = create


def test_the_id_follows_the_words_created_task(hopper: Callable) -> None:
    outcome = hopper("--local", "task", "add", "Fix it")
    assert outcome.out == "✓ Created task: task-0a1b\n"
    assert re.findall(r"(?<=Created task: )task-[a-f0-9]+", outcome.out) == ["task-0a1b"]


def test_quiet_prints_the_id_alone(hopper: Callable) -> None:
    assert hopper("--quiet", "add", "Fix it").out == "task-0a1b\n"


def test_options_not_given_are_not_sent(hopper: Callable, server: FakeTransport) -> None:
    line = "-t a -t b -p HIGH --depends-on task-1 --max-runtime 600"
    hopper("add", "Fix it", *line.split())
    assert server.calls[-1].body == {
        "title": "Fix it",
        "priority": "high",
        "tags": ["a", "b"],
        "depends_on": ["task-1"],
        "max_runtime_seconds": 600,
    }


def test_the_brief_file_is_the_description_to_the_letter(
    hopper: Callable, server: FakeTransport, tmp_path: Path
) -> None:
    brief = "# Worker: x\r\n\n```bash\n  [bold]echo[/bold] “hi”\t\n```\n\n\n"
    (tmp_path / "brief.md").write_bytes(brief.encode())
    outcome = hopper(
        "task", "add", "[x] Y", "--brief-file", str(tmp_path / "brief.md"), "--non-interactive"
    )
    assert outcome.code == 0
    assert server.calls[-1].body["description"] == brief
    assert server.calls[-1].body["title"] == "[x] Y"


def test_a_dash_reads_the_brief_from_stdin(
    hopper: Callable, server: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Grüße\n".encode())))
    hopper("task", "add", "X", "--brief-file", "-")
    assert server.calls[-1].body["description"] == "Grüße\n"


@pytest.mark.parametrize(("content", "words"), [(None, "Cannot read"), (b"\xff\xfe", "not UTF-8")])
def test_a_brief_that_cannot_be_read_is_refused(
    hopper: Callable, server: FakeTransport, tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "brief.md"
    if content is not None:
        file.write_bytes(content)
    outcome = hopper("task", "add", "X", "--brief-file", str(file))
    assert (outcome.code, outcome.out, server.calls) == (1, "", [])
    assert words in outcome.err


def test_a_status_is_reached_after_the_task_is_created(
    hopper: Callable, server: FakeTransport
) -> None:
    server.answers["POST /tasks/task-0a1b/status"] = ok(task(status="in_progress"))
    assert hopper("task", "add", "X", "--status", "in-progress").code == 0
    assert server.calls[-1].body["status"] == "in_progress"


def test_a_refusal_names_every_field_and_what_is_allowed(
    hopper: Callable, server: FakeTransport
) -> None:
    server.answers["POST /tasks"] = problem(
        400,
        "invalid",
        "The input is not valid.",
        errors=[{"field": "complexity", "code": "max_value", "detail": "at most 5"}],
        allowed=["1", "5"],
    )
    outcome = hopper("task", "add", "X", "--complexity", "9")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines() == [
        "Error: The input is not valid.",
        "  complexity: at most 5",
        "  allowed: 1, 5",
    ]
