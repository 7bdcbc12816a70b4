"""On a terminal questions are asked; anywhere else, or when told not to, none are."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.cli.fakes import FakeTransport, Terminal, instance, ok, page, task


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`typed(text)`: somebody sits at a terminal and types that."""
    return lambda text: monkeypatch.setattr(sys, "stdin", Terminal(text))


@pytest.fixture(autouse=True)
def deletable(server: FakeTransport) -> None:
    server.answers["DELETE /tasks/task-1"] = ok(None, 204)


@pytest.mark.parametrize(
    ("answer", "code"), [("y\n", 0), ("Yes\n", 0), ("n\n", 1), ("\n", 1), ("", 1)]
)
def test_something_destructive_is_asked_first(
    hopper: Callable, server: FakeTransport, typed: Callable, answer: str, code: int
) -> None:
    typed(answer)
    outcome = hopper("task", "delete", "task-1")
    assert outcome.code == code
    assert "Cancel task-1" in outcome.err
    assert len(server.calls) == (0 if code else 1)


@pytest.mark.parametrize("option", ["--force", "--yes", "--non-interactive", "--json"])
def test_no_question_where_none_is_wanted(hopper: Callable, typed: Callable, option: str) -> None:
    typed("n\n")
    outcome = hopper("task", "delete", "task-1", option)
    assert (outcome.code, outcome.err) == (0, "")


def test_update_can_ask_field_by_field(
    hopper: Callable, server: FakeTransport, typed: Callable
) -> None:
    server.answers["GET /tasks/task-1"] = ok(task("task-1"))
    server.answers["PATCH /tasks/task-1"] = ok(task("task-1"))
    typed("New title\n\nsark\n")
    assert hopper("task", "update", "task-1", "-i").code == 0
    assert server.calls[-1].body == {"title": "New title", "project": "sark"}
    assert hopper("task", "update", "task-1", "-i", "--non-interactive").code == 2


def test_a_lesson_can_be_typed(hopper: Callable, server: FakeTransport, typed: Callable) -> None:
    server.answers["POST /lessons"] = ok({"id": "lesson-1"}, 201)
    typed("One.\nTwo.\n")
    hopper("lesson", "add", "--title", "T", "--domain", "git")
    assert server.calls[-1].body["description"] == "One.\nTwo.\n"


def test_colours_are_for_terminals_that_want_them(
    hopper: Callable, server: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    server.answers["GET /instances/a/hierarchy"] = ok(instance("a"))
    line = ["instance", "tree", "--root", "a"]
    assert "\x1b[" in hopper(*line, terminal=True).out
    assert "\x1b[" not in hopper(*line, "--no-color", terminal=True).out
    assert "\x1b[" not in hopper(*line).out


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/tasks", ["task", "list"]),
        ("/instances", ["instance", "list"]),
        ("/delegations", ["delegation", "list"]),
        ("/lessons", ["lesson", "list"]),
        ("/rules", ["rules", "list"]),
    ],
)
def test_an_empty_list_says_so(
    hopper: Callable, server: FakeTransport, path: str, line: list[str]
) -> None:
    server.answers[f"GET {path}"] = page()
    assert hopper(*line).out.startswith("No ")


def test_watch_shows_the_tree_again_until_stopped(
    hopper: Callable, server: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["GET /instances/a/hierarchy"] = ok(instance("a"))
    rounds = iter([None, None])

    def sleep(seconds: float) -> None:
        if next(rounds, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr("hopper.cli.main.time.sleep", sleep)
    outcome = hopper("instance", "tree", "--root", "a", "--watch")
    assert outcome.code == 130
    assert outcome.out == "a (PROJECT) [running]\n" * 3


@pytest.mark.parametrize("width", [20, 40, 80])
def test_an_id_and_a_status_are_whole_however_narrow_the_terminal(
    hopper: Callable, server: FakeTransport, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    id = "task-01a2210d3e11f6dc2a6e0661"
    server.answers["GET /tasks"] = page(task(id, title="[a] " + "long " * 30, status="done"))
    out = hopper("task", "list", terminal=True).out
    assert id in out
    assert "completed" in out


def test_a_node_of_the_tree_is_whole_however_narrow_the_terminal(
    hopper: Callable, server: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    child = instance("run-" + "x" * 60, "ORCHESTRATION", status="stopped")
    root = instance("p" * 50, children=[child])
    server.answers["GET /instances"] = page(root)
    server.answers[f"GET /instances/{root['id']}/hierarchy"] = ok(root)
    out = hopper("--no-color", "instance", "tree", terminal=True).out
    assert "p" * 50 + " (PROJECT) [running]" in out
    assert "x" * 60 + " (ORCHESTRATION) [stopped]" in out
