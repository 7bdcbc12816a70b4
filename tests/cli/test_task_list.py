"""`task list` filters, follows every page and leaves titles whole."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.fakes import Call, FakeTransport, page, task


def test_pages_are_followed_to_the_end(hopper: Callable, server: FakeTransport) -> None:
    rows = [task(f"task-{number:04x}") for number in range(1200)]

    def answer(call: Call) -> object:
        start = int(call.params.get("offset", ["0"])[0])
        more = start + 500 < len(rows)
        next = f"http://x/api/v1/tasks?limit=500&offset={start + 500}&priority=high"
        return page(*rows[start : start + 500], next=next if more else None)

    server.answers["GET /tasks"] = answer
    outcome = hopper("--json", "task", "list", "--priority", "high")
    assert [row["id"] for row in json.loads(outcome.out)] == [row["id"] for row in rows]
    assert server.calls[-1].params["priority"] == ["high"]


def test_a_limit_ends_it(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /tasks"] = page(task("task-1"), task("task-2"), next="http://x/?offset=2")
    assert hopper("ls", "--limit", "2", "--quiet").out == "task-1\ntask-2\n"
    assert [call.params["limit"] for call in server.calls] == [2]


def test_an_empty_list_is_an_empty_array(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /tasks"] = page()
    assert json.loads(hopper("--json", "task", "list").out) == []
    assert hopper("task", "list").out == "No tasks.\n"


@pytest.mark.parametrize(
    ("arguments", "params"),
    [
        ("", {}),
        ("--status open", {"status": ["pending"]}),
        ("--status in_progress", {"status": ["claimed", "in_progress"]}),
        ("--status claimed", {"status": ["claimed"]}),
        ("--status completed --status DONE", {"status": ["done", "done"]}),
        ("--blocked", {"status": ["blocked"]}),
        ("--tag a --tag b", {"all_tags": ["a", "b"]}),
        ("--instance x", {"instance_id": "x"}),
        ("--instance x --subtree", {"under": "x"}),
        ("--ready --owner bob --project p", {"ready": True, "owner": "bob", "project": "p"}),
        ("--sort-by=-created", {"ordering": "-created_at"}),
    ],
)
def test_filters_become_the_servers(
    hopper: Callable, server: FakeTransport, arguments: str, params: dict[str, object]
) -> None:
    server.answers["GET /tasks"] = page()
    assert hopper("task", "list", *arguments.split()).code == 0
    sent = {key: value for key, value in server.calls[-1].params.items() if key != "limit"}
    assert sent == params


def test_json_has_the_status_in_both_vocabularies(hopper: Callable, server: FakeTransport) -> None:
    words = ("pending", "claimed", "in_progress", "blocked", "done", "cancelled", "failed")
    server.answers["GET /tasks"] = page(*(task(f"task-{word}", status=word) for word in words))
    rows = json.loads(hopper("--json", "ls").out)
    assert [row["server_status"] for row in rows] == list(words)
    assert [row["status"] for row in rows] == [
        "open", "in_progress", "in_progress", "blocked", "completed", "cancelled", "failed",
    ]  # fmt: skip


@pytest.mark.parametrize("form", [[], ["--compact"]])
def test_titles_are_neither_markup_nor_cut(
    hopper: Callable, server: FakeTransport, form: list[str]
) -> None:
    title = "[backend] [bold]x[/bold] :smile: " + "long " * 60 + "\x1b[31mred"
    server.answers["GET /tasks"] = page(task(title=title, tags=["b"]))
    assert title in hopper("task", "list", *form).out


def test_a_title_cannot_send_control_characters_to_a_terminal(
    hopper: Callable, server: FakeTransport
) -> None:
    server.answers["GET /tasks"] = page(task(title="[x]\x1b]0;owned\x07\u202e"))
    out = hopper("--no-color", "task", "list", terminal=True).out
    assert "\x1b" not in out
    assert "\\x1b]0;owned\\x07\\u202e" in out.replace("\n", "").replace(" ", "")


def test_a_subtree_needs_its_root(hopper: Callable) -> None:
    assert hopper("task", "list", "--subtree").code == 2


@pytest.mark.parametrize(
    ("option", "name"), [(["--worker", "bob"], "bob"), (["--mine"], "agent-7")]
)
def test_tasks_of_a_worker(hopper, server, monkeypatch, option: list[str], name: str) -> None:
    monkeypatch.setenv("HOPPER_WORKER", "agent-7")
    server.answers["GET /tasks"] = page()
    assert hopper("task", "list", *option).code == 0
    assert server.calls[-1].params["worker"] == name
