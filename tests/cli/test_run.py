"""`hopper run` makes an orchestration for a run and registers its workers' briefs, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fakes import Call, FakeTransport, instance, ok, page, problem, task

CONFIG = {
    "project": {"name": "Test Project", "slug": "test-project", "version": "1.0.0", "phase": 2},
    "workers": [
        {"id": "qa", "role": "qa", "description": "Test it", "dependencies": ["backend", "docs"]},
        {"id": "backend", "role": "code", "description": "Build it", "dependencies": []},
        {"id": "docs", "role": "documentation", "description": "Describe it"},
    ],
}
RUN = "test-project-v1.0.0-phase2"


class Tree:
    """A made-up server that keeps instances and tasks."""

    def __init__(self, server: FakeTransport) -> None:
        self.instances: dict[str, Any] = {"g": instance("g", "GLOBAL")}
        self.tasks: list[Any] = []
        self.server = server
        self.numbers = count(1)
        server.answers["GET /instances"] = lambda call: page(
            *(row for row in self.instances.values() if row["scope"] == call.params["scope"])
        )
        server.answers["POST /instances"] = self.create
        server.answers["POST /tasks"] = self.add
        server.answers["GET /tasks"] = lambda call: page(*self.tasks)

    def create(self, call: Call) -> Any:
        row = instance(**{"status": "created", **call.body})
        self.instances[row["id"]] = row

        def start(_: Call) -> Any:
            row["status"] = "running"
            return ok(row)

        self.server.answers[f"POST /instances/{row['id']}/start"] = start
        self.server.answers[f"GET /instances/{row['id']}"] = lambda _: ok(row)
        return ok(row, 201)

    def add(self, call: Call) -> Any:
        row = task(f"task-{next(self.numbers):02x}", **call.body)
        self.tasks.append(row)
        return ok(row, 201)


@pytest.fixture
def tree(server: FakeTransport) -> Tree:
    return Tree(server)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A Czarina run: its config and two of three briefs."""
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "backend.md").write_text("# Backend\n\nAll of it.\n")
    (tmp_path / "workers" / "qa.md").write_text("# QA\n")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path / "config.json"


def test_project_and_orchestration_are_created_and_running(
    hopper: Callable, tree: Tree, config: Path
) -> None:
    outcome = hopper("run", "start", str(config))
    assert outcome.code == 0
    assert outcome.out.startswith(f"✓ Started run: {RUN}\n")
    assert tree.instances["test-project"]["parent_id"] == "g"
    run = tree.instances[RUN]
    assert (run["scope"], run["instance_type"]) == ("ORCHESTRATION", "ephemeral")
    assert (run["parent_id"], run["status"]) == ("test-project", "running")


def test_each_brief_is_a_task_after_those_it_depends_on(
    hopper: Callable, tree: Tree, config: Path
) -> None:
    hopper("run", "start", str(config.parent))
    by_worker = {row["unique_key"].split("/")[1]: row for row in tree.tasks}
    assert by_worker["backend"]["description"] == "# Backend\n\nAll of it.\n"
    assert by_worker["docs"]["description"] == "Describe it"
    assert by_worker["backend"]["title"] == "[backend] Build it"
    assert by_worker["qa"]["depends_on"] == [by_worker["backend"]["id"], by_worker["docs"]["id"]]
    assert by_worker["qa"]["priority"] == "high"
    assert by_worker["qa"]["instance_id"] == RUN
    assert {"czarina", "test-project", "worker-qa", "role-qa"} <= set(by_worker["qa"]["tags"])


def test_repeating_it_changes_nothing(hopper: Callable, tree: Tree, config: Path) -> None:
    first = json.loads(hopper("--json", "run", "start", str(config)).out)
    tree.tasks[1]["status"] = "done"
    again = json.loads(hopper("--json", "run", "start", str(config)).out)
    assert len(tree.tasks) == 3
    assert len(tree.instances) == 3
    ids = {name: row["id"] for name, row in first["tasks"].items()}
    assert {name: row["id"] for name, row in again["tasks"].items()} == ids
    assert (first["known"], again["known"]) == ([], sorted(ids.values()))


def test_a_project_is_found_by_its_name_in_any_case(hopper: Callable, tree: Tree) -> None:
    tree.instances["p1"] = instance("p1", name="Czarina")
    outcome = hopper("run", "start", "--project", "czarina", "--name", "run 001")
    assert outcome.code == 0
    assert tree.instances["run-001"]["parent_id"] == "p1"


def test_a_run_named_as_its_project_gets_a_name_of_its_own(hopper: Callable, tree: Tree) -> None:
    for _ in range(2):
        assert hopper("run", "start", "--project", "s", "--name", "s").code == 0
    assert tree.instances["s"]["scope"] == "PROJECT"
    assert tree.instances["s-run-1"]["parent_id"] == "s"
    assert len(tree.instances) == 3


def test_a_closed_run_is_not_started_again(hopper: Callable, tree: Tree) -> None:
    hopper("run", "start", "--project", "p", "--name", "r")
    tree.instances["r"]["status"] = "terminated"
    outcome = hopper("run", "start", "--project", "p", "--name", "r")
    assert outcome.code == 1
    assert "--name" in outcome.err


def test_a_run_of_another_project_is_not_taken_over(hopper: Callable, tree: Tree) -> None:
    hopper("run", "start", "--project", "p", "--name", "r")
    assert hopper("run", "start", "--project", "q", "--name", "r").code == 1


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ([{"id": "a", "dependencies": ["b"]}, {"id": "b", "dependencies": ["a"]}], "one another"),
        ([{"id": "a", "dependencies": ["z"]}], "unknown ones: z"),
        ("nonsense", "no Czarina configuration"),
    ],
)
def test_an_impossible_configuration_creates_nothing(
    hopper: Callable, tree: Tree, config: Path, workers: Any, words: str
) -> None:
    config.write_text(json.dumps({**CONFIG, "workers": workers}))
    outcome = hopper("run", "start", str(config))
    assert outcome.code == 1
    assert words in outcome.err
    assert list(tree.instances) == ["g"]


def test_a_config_that_is_no_json_says_where(hopper: Callable, config: Path) -> None:
    config.write_text("{")
    outcome = hopper("run", "start", str(config))
    assert outcome.code == 1
    assert "is not JSON: Expecting property name" in outcome.err
    assert "line 1 column 2" in outcome.err


def test_neither_config_nor_names_is_wrong_usage(hopper: Callable) -> None:
    assert hopper("run", "start", "--project", "p").code == 2


def test_status_counts_each_task_once(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /instances/r"] = ok(instance("r", "ORCHESTRATION"))
    server.answers["GET /tasks"] = page(task("task-1", status="done"), task("task-2"))
    out = hopper("run", "status", "r").out
    assert out.startswith("r (ORCHESTRATION) [running]: 1 completed, 1 open\n")


def test_close_shows_the_summary_or_what_is_open(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /instances/r/close"] = problem(
        409, "conflict", "2 tasks are open.", open_tasks=["task-1", "task-2"]
    )
    outcome = hopper("run", "close", "r")
    assert outcome.code == 1
    assert "open_tasks: task-1, task-2" in outcome.err
    server.answers["POST /instances/r/close"] = ok({"done": 2})
    assert hopper("run", "close", "r", "--force").out == "✓ Closed run: r\nDone: 2\n"
    assert server.calls[-1].body == {"force": True}
