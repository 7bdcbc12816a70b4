"""Lessons, rules, configuration and what is not there yet."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from hopper.cli import target
from hopper.cli.transport import CliError
from tests.cli.fakes import FakeTransport, ok, page

LESSON = {
    "id": "lesson-1",
    "title": "Lock first",
    "description": "Or else.\n",
    "domain": "python",
    "confidence": "high",
    "project": "sark",
}


def test_a_lesson_is_filed(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /lessons"] = ok(LESSON, 201)
    outcome = hopper(
        *[
            "lesson",
            "add",
            "--task",
            "task-1",
            "--title",
            "T",
            "--domain",
            "python",
            "--confidence",
            "high",
        ],
        *("--non-interactive", "--body", "## What\n"),
    )
    assert outcome.out == "✓ Filed lesson: lesson-1\n"
    assert server.calls[-1].body == {
        "task_id": "task-1",
        "title": "T",
        "domain": "python",
        "confidence": "high",
        "description": "## What\n",
    }


def test_lessons_are_a_bare_array(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /lessons"] = page(LESSON)
    rows = json.loads(
        hopper(*["--json", "lesson", "list", "--project", "sark", "--confidence", "high"]).out
    )
    assert rows == [LESSON]
    assert server.calls[-1].params["project"] == "sark"
    assert "Lock first" in hopper("lesson", "list").out


def test_a_lesson_is_shown_whole(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /lessons/lesson-1"] = ok(LESSON)
    assert hopper("lesson", "get", "lesson-1").out.endswith("\n\nOr else.\n")


def test_a_route_is_previewed_and_explained(hopper: Callable, server: FakeTransport) -> None:
    candidate = {"instance_id": "sark", "fits": True, "filters": {"scope": "ok"}, "score": 2}
    full = {"instance_id": "old", "fits": False, "filters": {"capacity": "QueueFull"}, "score": 0}
    decision = {
        "instance_id": "g",
        "verdict": "send",
        "target_id": "sark",
        "reasons": ["sark scores 2 (tags 2)"],
        "candidates": [{**candidate, "load": 0.5}, {**full, "load": 1.0}],
    }
    told = (
        "g: send to sark\n"
        "  because sark scores 2 (tags 2)\n"
        "  - sark fits, score 2, load 0.5\n"
        "  - old does not fit (capacity QueueFull), score 0, load 1.0\n"
    )
    server.answers["POST /rules/preview"] = ok(decision)
    assert hopper("route", "preview", "Fix", "--tag", "python").out == told
    assert server.calls[-1].body == {"title": "Fix", "tags": ["python"]}
    server.answers["GET /tasks/task-1/decisions"] = page(decision)
    assert hopper("route", "explain", "task-1").out == told
    server.answers["GET /tasks/task-1/decisions"] = page()
    assert hopper("route", "explain", "task-1").out == "Nothing was decided yet.\n"


def test_an_unsound_rule_fails_the_check(hopper: Callable, server: FakeTransport) -> None:
    server.answers["GET /rules"] = ok([{"id": "a"}])
    assert hopper("rules", "check").code == 0
    assert hopper("rules", "list").out.splitlines()[1].split()[0] == "a"
    server.answers["GET /rules"] = ok([{"id": "a"}, {"id": "b", "error": "bad pattern"}])
    outcome = hopper("rules", "check")
    assert outcome.code == 1
    assert "b: bad pattern" in outcome.err


def wanted(**options: object) -> Namespace:
    return Namespace(**{"local": False, "server": None, "token": None, "config": None, **options})


def test_an_option_beats_the_environment_and_that_beats_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HOPPER_URL", "HOPPER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "hopper.toml"
    file.write_text('server = "http://file"\ntoken = "hop_file"\n')
    assert target.chosen(wanted()) == target.Target(None, None)
    assert target.chosen(wanted(config=str(file))) == target.Target("http://file", "hop_file")
    monkeypatch.setenv("HOPPER_URL", "http://environment")
    monkeypatch.setenv("HOPPER_TOKEN", "hop_environment")
    assert target.chosen(wanted(config=str(file))).server == "http://environment"
    assert target.chosen(wanted(server="http://option", token="t")) == target.Target(
        "http://option", "t"
    )
    assert target.chosen(wanted(local=True, server="http://option")) == target.Target(None, None)
    for same in ("http://option/", "http://option/api/v1", "http://option/api/v1/"):
        assert target.chosen(wanted(server=same)).server == "http://option"
    assert target.chosen(wanted(server="/")).server == "/"


@pytest.mark.parametrize("text", ["server = 1", "nonsense", 'colour = "red"'])
def test_a_wrong_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "hopper.toml").write_text(text)
    with pytest.raises(CliError):
        target.from_file(str(tmp_path / "hopper.toml"))


def test_config_shows_no_secret(hopper: Callable) -> None:
    out = hopper("--server", "http://x", "--token", "hop_secret", "config", "show").out
    assert "http://x" in out
    assert "hop_secret" not in out
