"""`task decompose` makes children; `task dead-letters` and `task discard` deal with failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.fakes import FakeTransport, ok, page, task

CHILDREN = [{"key": "a", "title": "A"}, {"title": "B", "depends_on": ["a"]}]


@pytest.fixture
def plan(tmp_path: Path) -> str:
    """A file with two children."""
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(CHILDREN))
    return str(file)


def test_the_children_of_a_file_are_sent_with_the_lease(
    hopper: Callable, server: FakeTransport, plan: str
) -> None:
    made = [task("task-2", title="A", instance_id="run"), task("task-3", title="B")]
    server.answers["POST /tasks/task-1/decompose"] = ok(made, 201)
    line = "task decompose task-1 --worker w --lease-token t --failure-policy fail_fast --quorum 2"
    outcome = hopper(*line.split(), "--children", plan)
    assert server.calls[-1].body == {
        "children": CHILDREN,
        "worker": "w",
        "token": "t",
        "failure_policy": "fail_fast",
        "quorum": 2,
    }
    assert outcome.out.splitlines()[0] == "✓ Child task: task-2 A [open] at run"
    quiet = hopper("--quiet", "task", "decompose", "task-1", "--children", plan)
    assert quiet.out == "task-2\ntask-3\n"
    bare = hopper("--json", "task", "decompose", "task-1", "--children", plan)
    assert [row["id"] for row in json.loads(bare.out)] == ["task-2", "task-3"]


@pytest.mark.parametrize("text", ["{", '{"title": "not a list"}'])
def test_children_that_are_no_json_list_are_wrong_usage(
    hopper: Callable, tmp_path: Path, text: str
) -> None:
    (tmp_path / "plan.json").write_text(text)
    outcome = hopper("task", "decompose", "task-1", "--children", str(tmp_path / "plan.json"))
    assert outcome.code == 2
    assert "JSON" in outcome.err


def test_dead_letters_show_attempts_and_the_last_error(
    hopper: Callable, server: FakeTransport
) -> None:
    server.answers["GET /tasks"] = page(
        task("task-1", status="failed", error="no disk", attempt=3, finished_at="2026-11-23")
    )
    out = hopper("task", "dead-letters", "--instance", "web").out
    assert "no disk" in out
    assert server.calls[-1].params["under"] == "web"
    assert server.calls[-1].params["dead_letter"] is True
    server.answers["GET /tasks"] = page()
    assert hopper("task", "dead-letters").out == "No dead letters.\n"
    assert hopper("--quiet", "task", "dead-letters").out == ""


def test_a_dead_letter_is_discarded_with_a_reason(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /tasks/task-1/discard"] = ok(task("task-1", status="failed"))
    outcome = hopper("task", "discard", "task-1", "--reason", "obsolete")
    assert outcome.out == "✓ Discarded task: task-1\n"
    assert server.calls[-1].body == {"reason": "obsolete"}


def test_on_parent_close_is_set_when_a_task_is_created_or_changed(
    hopper: Callable, server: FakeTransport
) -> None:
    server.answers["POST /tasks"] = ok(task("task-1"), 201)
    server.answers["PATCH /tasks/task-1"] = ok(task("task-1"))
    hopper("task", "add", "x", "--on-parent-close", "abandon", "--dependency-rule", "any_terminal")
    assert server.calls[-1].body == {
        "title": "x",
        "on_parent_close": "abandon",
        "dependency_rule": "any_terminal",
    }
    hopper("task", "update", "task-1", "--on-parent-close", "cancel")
    assert server.calls[-1].body == {"on_parent_close": "cancel"}
