"""`hopper run` makes an orchestration for a run and registers its workers' briefs, once."""

from __future__ import annotations

import json
from collections.abc import Callable
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


@pytest.fixture
def sent(server: FakeTransport) -> list[Any]:
    """The bodies of the runs that a made-up server was asked to start."""
    bodies: list[Any] = []

    def start(call: Call) -> Any:
        body = call.body
        bodies.append(body)
        run = instance(body["id"], "ORCHESTRATION", parent_id=body["project"])
        tasks = {row["key"]: task(f"task-0{n}") for n, row in enumerate(body.get("tasks", ()))}
        known = sorted(row["id"] for row in tasks.values()) if len(bodies) > 1 else []
        told = {"project": instance(body["project"]), "instance": run}
        return ok({**told, "tasks": tasks, "known": known}, 201)

    server.answers["POST /runs"] = start
    return bodies


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A Czarina run: its config and two of three briefs."""
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "backend.md").write_text("# Backend\n\nAll of it.\n")
    (tmp_path / "workers" / "qa.md").write_text("# QA\n")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path / "config.json"


def test_the_whole_run_is_one_request(
    hopper: Callable, server: FakeTransport, sent: list[Any], config: Path
) -> None:
    outcome = hopper("run", "start", str(config), "--max-concurrent", "2")
    assert outcome.code == 0
    assert outcome.out.startswith(f"✓ Started run: {RUN}\n")
    assert [(call.method, call.path) for call in server.calls] == [("POST", "/runs")]
    assert (sent[0]["project"], sent[0]["id"]) == ("test-project", RUN)
    assert sent[0]["config"] == {"max_concurrent_tasks": 2}


def test_each_brief_is_a_task_after_those_it_depends_on(
    hopper: Callable, sent: list[Any], config: Path
) -> None:
    hopper("run", "start", str(config.parent))
    keys = [row["key"] for row in sent[0]["tasks"]]
    by_worker = dict(zip(keys, sent[0]["tasks"], strict=True))
    assert keys[-1] == "qa"
    assert by_worker["backend"]["description"] == "# Backend\n\nAll of it.\n"
    assert by_worker["docs"]["description"] == "Describe it"
    assert by_worker["backend"]["title"] == "[backend] Build it"
    assert by_worker["qa"]["depends_on"] == ["backend", "docs"]
    assert by_worker["qa"]["priority"] == "high"
    assert {"czarina", "test-project", "worker-qa", "role-qa"} <= set(by_worker["qa"]["tags"])


def test_repeating_it_says_what_was_there(hopper: Callable, sent: list[Any], config: Path) -> None:
    assert "(was there)" not in hopper("run", "start", str(config)).out
    assert hopper("run", "start", str(config)).out.count("(was there)") == 3
    assert sent[0] == sent[1]


def test_a_run_named_as_its_project_gets_a_name_of_its_own(
    hopper: Callable, sent: list[Any]
) -> None:
    assert hopper("run", "start", "--project", "s", "--name", "s").code == 0
    assert (sent[0]["project"], sent[0]["id"], "tasks" in sent[0]) == ("s", "s-run-1", True)


def test_a_refusal_is_shown(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /runs"] = problem(409, "conflict", "The run r is closed.")
    outcome = hopper("run", "start", "--project", "p", "--name", "r")
    assert outcome.code == 1
    assert "The run r is closed." in outcome.err


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ([{"id": "a", "dependencies": ["b"]}, {"id": "b", "dependencies": ["a"]}], "one another"),
        ([{"id": "a", "dependencies": ["z"]}], "unknown ones: z"),
        ("nonsense", "no Czarina configuration"),
    ],
)
def test_an_impossible_configuration_creates_nothing(
    hopper: Callable, server: FakeTransport, config: Path, workers: Any, words: str
) -> None:
    config.write_text(json.dumps({**CONFIG, "workers": workers}))
    outcome = hopper("run", "start", str(config))
    assert outcome.code == 1
    assert words in outcome.err
    assert server.calls == []


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
