"""The tree and the dashboard look as the seed draws them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.fakes import FakeTransport, instance, ok, page

TREE = """\
hopper-global (GLOBAL) [running]
├── czarina (PROJECT) [running]
│   ├── czarina-run-001 (ORCHESTRATION) [running] - 5 tasks
│   └── czarina-run-002 (ORCHESTRATION) [stopped]
└── sark (PROJECT) [running]
    └── sark-analysis (ORCHESTRATION) [running] - 2 tasks
"""
DASHBOARD = """\
┌─────────────────────────────────────────────────────┐
│ Hopper Instance Status                              │
├─────────────────────────────────────────────────────┤
│ Global: hopper-global                    [running]  │
│ Projects: 3 active, 1 stopped                       │
│ Orchestrations: 4 active, 2 stopped                 │
│ Total Tasks: 127 (42 in progress)                   │
└─────────────────────────────────────────────────────┘
"""


@pytest.fixture
def seed(server: FakeTransport) -> dict[str, object]:
    """The seed's example hierarchy."""
    runs = [
        instance(
            "czarina-run-001", "ORCHESTRATION", task_counts={"pending": 4, "claimed": 1, "done": 9}
        ),
        instance("czarina-run-002", "ORCHESTRATION", status="stopped"),
    ]
    analysis = instance("sark-analysis", "ORCHESTRATION", task_counts={"blocked": 2})
    root = instance(
        "hopper-global",
        "GLOBAL",
        children=[
            instance("czarina", children=runs),
            instance("sark", children=[analysis]),
        ],
    )
    server.answers["GET /instances"] = page(root)
    server.answers["GET /instances/hopper-global/hierarchy"] = ok(root)
    return root


def test_the_tree_looks_as_in_phase_one(hopper: Callable, seed: object) -> None:
    assert hopper("instance", "tree").out == TREE


def test_the_tree_as_json_is_the_same_data(hopper: Callable, seed: object) -> None:
    assert json.loads(hopper("--json", "instance", "tree").out) == [seed]


def test_the_tree_begins_with_every_root(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /instances"] = page(instance("a"), instance("b"))
    server.answers["GET /instances/a/hierarchy"] = ok(instance("a"))
    server.answers["GET /instances/b/hierarchy"] = ok(instance("b"))
    assert hopper("instance", "tree").out == "a (PROJECT) [running]\nb (PROJECT) [running]\n"
    assert server.calls[0].params["root"] is True


def test_a_node_shows_its_id_and_its_effective_status(
    hopper: Callable, server: FakeTransport
) -> None:
    node = instance(
        "run-1",
        "ORCHESTRATION",
        name="Run [1]",
        effective_status="paused",
        task_counts={"pending": 1},
    )
    server.answers["GET /instances/run-1/hierarchy"] = ok(node)
    out = hopper("instance", "tree", "--root", "run-1", "--depth", "2", "--all").out
    assert out == "Run [1] run-1 (ORCHESTRATION) [running, effectively paused] - 1 task\n"
    assert server.calls[-1].params == {"depth": 2, "include_terminated": True}


def test_a_scope_keeps_what_is_above_it(hopper: Callable, seed: object) -> None:
    out = hopper("instance", "tree", "--scope", "project", "--no-tasks").out
    assert "czarina (PROJECT)" in out
    assert "ORCHESTRATION" not in out


def test_an_empty_tree_says_how_to_begin(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /instances"] = page()
    assert "hopper instance create" in hopper("instance", "tree").out
    assert json.loads(hopper("--json", "instance", "tree").out) == []


STATUS = {
    "global": {
        "id": "g",
        "name": "hopper-global",
        "status": "running",
        "effective_status": "running",
    },
    "scopes": {
        "PROJECT": {"running": 3, "stopped": 1},
        "ORCHESTRATION": {"running": 4, "stopped": 2},
    },
    "tasks": {"total": 127, "in_progress": 42, "by_status": {}},
    "attention": {"blocked": 0, "failed": 0, "awaiting_triage": 0, "total": 0},
    "waiting": {},
    "tree_sound": True,
    "last_check": None,
}


def test_the_dashboard_looks_as_in_phase_one(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /status"] = ok(STATUS)
    assert hopper("instance", "status").out == DASHBOARD


def test_the_dashboard_names_unusual_states(hopper: Callable, server: FakeTransport) -> None:
    scopes = {**STATUS["scopes"], "EVENT": {"paused": 1}, "FAMILY": {}}  # type: ignore[dict-item]
    attention = {"blocked": 1, "failed": 2, "awaiting_triage": 0, "total": 3}
    server.answers["GET /status"] = ok({**STATUS, "scopes": scopes, "attention": attention})
    out = hopper("instance", "status").out
    assert "│ Events: 0 active, 0 stopped, 1 paused " in out
    assert "│ Needs a person: 3 (1 blocked, 2 failed) " in out
    assert "Families" not in out


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ([], "│ Last check: 2026-11-23 12:03, sound "),
        (["I3"], "│ Last check: 2026-11-23 12:03, 1 invariant broken (I3) "),
        (["I3", "I9"], "│ Last check: 2026-11-23 12:03, 2 invariants broken (I3, I9) "),
    ],
)
def test_the_dashboard_shows_the_last_check(
    hopper: Callable, server: FakeTransport, broken: list[str], line: str
) -> None:
    last = {"at": "2026-11-23T12:03:09+00:00", "seconds": 0.1, "sound": not broken}
    server.answers["GET /status"] = ok({**STATUS, "last_check": {**last, "broken": broken}})
    assert line in hopper("instance", "status").out


def test_the_dashboard_groups_the_open_tasks_by_what_they_wait_for(
    hopper: Callable, server: FakeTransport
) -> None:
    waiting = {"AtCapacity": 2, "InProgress": 9, "HolderPaused": 2, "Routing": 1}
    server.answers["GET /status"] = ok({**STATUS, "waiting": waiting})
    out = hopper("instance", "status").out
    assert "│ Waiting on: 9 InProgress, 2 AtCapacity, 2 HolderPaused " in out
    assert "│             1 Routing " in out


def test_a_long_name_widens_the_box(hopper: Callable, server: FakeTransport) -> None:
    root = {**STATUS["global"], "name": "n" * 80}  # type: ignore[dict-item]
    server.answers["GET /status"] = ok({**STATUS, "global": root})
    assert "n" * 80 + " [running]" in hopper("instance", "status").out


def test_without_a_global_the_dashboard_says_so(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /status"] = ok({**STATUS, "global": None})
    assert "Global: none" in hopper("instance", "status").out
