"""Global options stand before the group or after it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from hopper.cli.handlers.local_commands import ARGUMENTS
from hopper.cli.parser import DATABASE_COMMANDS, GROUPS, build_parser
from tests.cli.fakes import FakeTransport, instance, ok, page, task


@pytest.mark.parametrize(
    "line",
    [
        "--json --local task list",
        "task list --json --local",
        "--local task --json list",
        "ls --local --json",
    ],
)
def test_global_options_are_accepted_before_and_after_the_group(
    hopper: Callable, server: FakeTransport, line: str
) -> None:
    server.answers["GET /tasks"] = page(task())
    outcome = hopper(*line.split())
    assert outcome.code == 0
    assert [row["id"] for row in json.loads(outcome.out)] == ["task-0a1b"]


def test_the_config_of_an_instance_is_not_the_global_config(
    hopper: Callable, server: FakeTransport
) -> None:
    server.answers["POST /instances"] = ok(instance("sark"), 201)
    outcome = hopper(
        "instance", "create", "sark", "--scope", "project", "--root", "--config", '{"a": 1}'
    )
    assert outcome.code == 0
    assert server.calls[-1].body["config"] == {"a": 1}


@pytest.mark.parametrize(
    "line", ["task status x half-done", "task add", "nonsense", "task list --sort-by x"]
)
def test_wrong_usage_is_exit_2(hopper: Callable, line: str) -> None:
    outcome = hopper(*line.split())
    assert outcome.code == 2
    assert outcome.out == ""
    assert "usage:" in outcome.err


def test_an_unknown_status_names_the_known_ones(hopper: Callable) -> None:
    assert (
        "open, in_progress, blocked, completed, cancelled, failed"
        in hopper("task", "status", "x", "finished").err
    )


@pytest.mark.parametrize("name", [*GROUPS, *DATABASE_COMMANDS])
def test_every_group_explains_itself(hopper: Callable, name: str) -> None:
    outcome = hopper(name, "--help")
    assert outcome.code == 0
    assert "usage: hopper" in outcome.out


def test_the_words_after_two_dashes_are_the_command_of_a_worker() -> None:
    args = build_parser().parse_args(
        ["worker", "w1", "--instance", "run", "--json", "--", "sh", "-c", "exit 1", "--", "x"]
    )
    assert args.command == ["sh", "-c", "exit 1", "--", "x"]
    assert args.json


def test_a_database_command_hands_on_unknown_options() -> None:
    args = build_parser().parse_args(["token", "--quiet", "create", "NAME", "--role", "worker"])
    assert args.rest == ["create", "NAME", "--role", "worker"]
    assert args.quiet


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_help_of_a_database_command_names_its_arguments(name: str) -> None:
    command = f"hopper_{name}"
    parser = load_command_class(get_commands()[command], command).create_parser("hopper", name)
    django = {"help", "version", "verbosity", "settings", "pythonpath", "traceback"}
    django |= {"no_color", "force_color", "skip_checks"}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert all(verb in ARGUMENTS[name] for verb in action.choices)
        elif action.option_strings and action.dest not in django:
            assert action.option_strings[-1] in ARGUMENTS[name]


@pytest.mark.django_db
def test_wrong_arguments_of_a_database_command_are_exit_2(hopper: Callable) -> None:
    outcome = hopper("sweep", "extra")
    assert (outcome.code, outcome.err) == (2, "Error: unrecognized arguments: extra\n")


@pytest.mark.parametrize(
    "line",
    [
        ["instance", "update", "top", "--config", '{"a": 1, "a": 2}'],
        ["task", "heartbeat", "t", "--checkpoint", '{"a": {"b": 1, "b": 2}}'],
    ],
)
def test_an_object_with_a_key_twice_is_refused(
    hopper: Callable, server: FakeTransport, line: list[str]
) -> None:
    told = hopper(*line)
    assert told.code == 2
    assert "is given twice in one object" in told.err
    assert server.calls == []


def test_a_file_with_a_key_twice_is_refused(
    hopper: Callable, server: FakeTransport, tmp_path: Path
) -> None:
    plan, run = tmp_path / "plan.json", tmp_path / "config.json"
    plan.write_text('[{"title": "a", "title": "b"}]')
    run.write_text('{"project": {"slug": "a", "slug": "b"}, "workers": []}')
    for words in (["task", "decompose", "t", "--children", str(plan)], ["run", "start", str(run)]):
        told = hopper(*words)
        assert told.code != 0
        assert "is given twice in one object" in told.err
    assert server.calls == []


def test_a_result_with_a_key_twice_is_kept_as_text(hopper: Callable, server: FakeTransport) -> None:
    server.answers["POST /tasks/t/complete"] = ok(task("t"))
    assert (
        hopper("task", "complete", "t", "--worker", "w", "--result", '{"a": 1, "a": 2}').code == 0
    )
    assert server.calls[-1].body["result"] == {"output": '{"a": 1, "a": 2}'}
