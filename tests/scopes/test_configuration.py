"""Shipped, the operator's, the instance's: each value can be traced, no error is vague."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hopper.checks import check_configuration
from hopper.config.document import BrokenConfig
from hopper.config.files import CONFIGURATION, ConfigFile
from hopper.config.registry import (
    BEHAVIORS,
    POLICIES,
    config_errors,
    effective_settings,
    traced_settings,
)
from instances.queue_settings import queue_settings
from scopes.deciding import get_behavior_for_scope
from scopes.rules.engine import RULES
from scopes.settings import scopes_below
from tests.scopes.facts import decide, instance, outcome, task

FILES = {"behaviors": BEHAVIORS, "policies": POLICIES, "rules": RULES}


class Lazy:
    """A behaviour of a third party."""

    def decide(self, situation):
        raise NotImplementedError

    def answer(self, task, instance):
        raise NotImplementedError


class Needy(Lazy):
    """One that cannot be made without help."""

    def __init__(self, help):
        self.help = help


class Asking(Lazy):
    """One that asks for settings while it is made."""

    def __init__(self):
        self.settings = queue_settings("PROJECT", {})


class Broken(Lazy):
    """One that fails while it is made."""

    def __init__(self):
        raise LookupError("no licence")


def leave():
    """Not a class at all."""


@pytest.fixture
def folder(tmp_path: Path, settings) -> Path:
    settings.HOPPER_CONFIG_DIR = str(tmp_path)
    return tmp_path


def test_the_shipped_values_are_those_of_the_reference() -> None:
    assert effective_settings("PROJECT", {}) == {
        "max_concurrent_tasks": 10,
        "max_queued_tasks": 100,
        "lease_seconds": 300,
        "max_attempts": 3,
        "retry_backoff_seconds": 5,
        "max_runtime_seconds": None,
        "stalled_seconds": 3600,
        "retention_days": None,
        "unmatched": "hold",
        "auto_create_projects": False,
        "orchestration_threshold": 3,
        "automatable_types": (),
        "create_orchestrations": True,
        "max_orchestrations": 5,
        "manual_fallback": True,
        "accept": "auto",
        "offer_seconds": 900,
        "delegate_to": None,
        "fallback": "next",
        "max_offers": 16,
        "on_failure": "fail",
    }
    assert effective_settings("GLOBAL", {})["auto_create_projects"] is True


def test_each_value_can_be_traced_to_where_it_came_from(folder: Path) -> None:
    file = folder / "scope_behaviors.yaml"
    file.write_text("PROJECT:\n  routing: {orchestration_threshold: 4}\n")
    (folder / "delegation_policies.yaml").write_text("PROJECT: {offer_seconds: 60}\n")
    traced = traced_settings("PROJECT", {"max_attempts": 7, "mine": 1})
    assert (traced["orchestration_threshold"].value, traced["max_attempts"].value) == (4, 7)
    assert traced["orchestration_threshold"].source == str(file)
    assert traced["offer_seconds"].source == str(folder / "delegation_policies.yaml")
    assert traced["max_attempts"].source == "instance"
    assert traced["max_orchestrations"].source == traced["lease_seconds"].source == "shipped"
    assert "mine" not in traced
    assert traced_settings("EVENT", {})["orchestration_threshold"].value == 3


def test_the_instance_wins_and_a_wrong_value_of_its_own_is_ignored() -> None:
    assert queue_settings("ORCHESTRATION", {"max_concurrent_tasks": 2}).max_concurrent_tasks == 2
    assert queue_settings("ORCHESTRATION", {"max_concurrent_tasks": "2"}).max_concurrent_tasks == 10
    assert effective_settings("PROJECT", {"accept": "manual"})["accept"] == "manual"


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({}, []),
        ({"anything": {"of": "mine"}, "capabilities": ["a"]}, []),
        ({"capabilities": "a"}, ["capabilities"]),
        ({"domains": [1]}, ["domains"]),
        ({"max_concurrent_tasks": "3"}, ["max_concurrent_tasks"]),
        ({"max_concurrent_tasks": True}, ["max_concurrent_tasks"]),
        ({"lease_seconds": 5, "unmatched": "drop"}, ["lease_seconds", "unmatched"]),
        ({"retry_backoff_seconds": 1}, []),
        ({"max_runtime_seconds": None}, []),
        ({"max_runtime_seconds": 604_800}, []),
        ({"max_runtime_seconds": 604_801}, ["max_runtime_seconds"]),
        ({"manual_fallback": None}, ["manual_fallback"]),
        ({"accept": "never"}, ["accept"]),
    ],
)
def test_a_wrong_type_of_a_known_key_is_an_error(config, wrong) -> None:
    assert [key for key, _ in config_errors(config)] == wrong


@pytest.mark.parametrize(
    ("file", "text", "line", "words"),
    [
        ("behaviors", "PROJECT:\n  routing:\n    tresholds: 3\n", 3,
         r"PROJECT.routing.tresholds: unknown key; allowed: auto_create_projects"),
        ("behaviors", "PROJECT:\n  routing:\n    max_orchestrations: many\n", 3,
         r"PROJECT.routing.max_orchestrations: .*integer, not 'many'"),
        ("behaviors", "PROJECTS: {behavior: x}\n", 1, "PROJECTS: unknown scope; allowed: GLOBAL"),
        ("behaviors", "PROJEKT: {routing: {unmatched: hold}}\n", 1,
         "^[^ ]*: PROJEKT: unknown scope; allowed: GLOBAL, PROJECT, .*FEDERATED$"),
        ("policies", "GLOBAL: {}\nprojects: {accept: maybe}\n", 2,
         "^[^ ]*: projects: unknown scope; allowed: GLOBAL"),
        ("behaviors", "PROJECT:\n\n  behavior: scopes.nowhere.Else\n", 3,
         "PROJECT.behavior: does not import"),
        ("behaviors", "PROJECT:\n  behavior: scopes.rules.engine.RULES\n", 2,
         "PROJECT.behavior: has to be a class with decide and answer"),
        ("behaviors", f"PROJECT:\n  behavior: {__name__}.leave\n", 2,
         "PROJECT.behavior: has to be a class with decide and answer"),
        ("behaviors", f"PROJECT:\n  behavior: {__name__}.Needy\n", 2,
         "PROJECT.behavior: cannot be made: TypeError: .*help"),
        ("behaviors", f"PROJECT:\n  behavior: {__name__}.Broken\n", 2,
         "PROJECT.behavior: cannot be made: LookupError: no licence"),
        ("behaviors", "PROJECT: [\n", 2, "expected"),
        ("behaviors", "- a\n", 1, "has to be a mapping"),
        ("behaviors", "PROJECT: {}\nPROJECT: {}\n", 2, "PROJECT: this key is given twice"),
        ("behaviors", "PROJECT: !!python/object/apply:os.system [ls]\n", 1, "python/object"),
        ("behaviors", "a: &a [*a]\n", 1, "too large or too deep"),
        ("policies", "PROJECT:\n  accept: maybe\n", 2, "PROJECT.accept: .*'auto' or 'manual'"),
        ("policies", "PROJECT:\n  1: 2\n", 2, "a key has to be a word"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_with_file_line_and_key(
    folder: Path, file: str, text: str, line: int, words: str
) -> None:
    config = FILES[file]
    in_force = CONFIGURATION.current()
    (folder / config.name).write_text(text)
    with pytest.raises(BrokenConfig, match=words) as caught:
        CONFIGURATION.reload()
    assert caught.value.problems[0].line == line
    assert caught.value.problems[0].file == str(folder / config.name)
    assert CONFIGURATION.problems == caught.value.problems
    assert CONFIGURATION.current() == in_force, "the old configuration stays in force"
    errors = check_configuration()
    assert [error.id for error in errors] == ["hopper.E010"] * len(errors) != []


@pytest.mark.parametrize(
    ("checked", "faults"), [(RULES, "checks"), (BEHAVIORS, "proofs")], ids=["check", "proof"]
)
def test_a_check_that_fails_is_a_fault_of_the_file_and_nothing_changes(
    folder: Path, monkeypatch, caplog, checked: ConfigFile, faults: str
) -> None:
    def fail(value, document):
        raise ZeroDivisionError("one over nothing")

    in_force = CONFIGURATION.current()
    file = folder / checked.name
    file.write_text("{}\n")
    monkeypatch.setattr(checked, faults, [fail])
    CONFIGURATION.look_again()
    assert CONFIGURATION.current() is in_force
    words = f"{file}:1: cannot be checked: ZeroDivisionError: one over nothing"
    assert [str(problem) for problem in CONFIGURATION.problems] == [words]
    assert [str(error.msg) for error in check_configuration()] == [words]
    assert "one over nothing" in caplog.text
    assert "Traceback" in caplog.text


def test_a_missing_configuration_folder_changes_nothing_and_is_reported(folder: Path) -> None:
    rules = folder / "routing_rules.yaml"
    rules.write_text("default_destination: 'project:inbox'\n")
    in_force = CONFIGURATION.reload()
    away = folder.rename(folder.with_name("away"))
    CONFIGURATION.look_again()
    assert CONFIGURATION.current() is in_force
    words = f"{folder}:1: there is no such folder: HOPPER_CONFIG_DIR names it"
    assert [str(one) for one in CONFIGURATION.problems] == [words]
    assert [error.id for error in check_configuration()] == ["hopper.E010"]
    folder.write_text("a file")
    CONFIGURATION.look_again()
    assert CONFIGURATION.current() is in_force
    folder.unlink()
    away.rename(folder)
    CONFIGURATION.look_again()
    assert CONFIGURATION.current().files == in_force.files
    assert CONFIGURATION.problems == ()


def test_a_file_that_is_masked_says_nothing(folder: Path) -> None:
    (folder / "routing_rules.yaml").symlink_to(os.devnull)
    CONFIGURATION.reload()
    assert RULES.current().value.rules == ()


def test_a_behaviour_may_ask_for_settings_while_it_is_made(folder: Path) -> None:
    (folder / "scope_behaviors.yaml").write_text(f"PROJECT: {{behavior: {__name__}.Asking}}\n")
    CONFIGURATION.reload()
    assert CONFIGURATION.problems == ()


def test_a_missing_empty_folder_is_reported(folder: Path) -> None:
    CONFIGURATION.reload()
    folder.rmdir()
    CONFIGURATION.look_again()
    CONFIGURATION.current()
    assert "no such folder" in str(CONFIGURATION.problems)


@pytest.mark.parametrize(
    ("become", "words"),
    [
        (lambda file: file.mkdir(), "is no file"),
        (lambda file: file.symlink_to("nowhere"), "a link that leads to none"),
        (lambda file: file.symlink_to(file.name), "routing_rules.yaml:1: "),
        (lambda file: os.mkfifo(file), "is no file"),
        (lambda file: file.write_bytes(b"\xff"), "cannot be read: 'utf-8' codec"),
    ],
    ids=["a folder", "a dangling link", "a link to itself", "a pipe", "no text"],
)
def test_an_unreadable_file_is_not_taken_for_absent(folder: Path, become, words: str) -> None:
    rules = folder / "routing_rules.yaml"
    rules.write_text("default_destination: 'project:inbox'\n")
    in_force = CONFIGURATION.reload()
    rules.unlink()
    become(rules)
    CONFIGURATION.look_again()
    assert CONFIGURATION.current() is in_force
    assert [problem.file for problem in CONFIGURATION.problems] == [str(rules)]
    assert words in str(CONFIGURATION.problems[0])
    os.rename(rules, folder / "aside")
    CONFIGURATION.look_again()
    assert RULES.current().value.default_destination is None
    assert CONFIGURATION.problems == ()


def test_a_link_that_loses_its_file_is_seen(folder: Path) -> None:
    (folder / "rules.yaml").write_text("default_destination: 'project:inbox'\n")
    (folder / "routing_rules.yaml").symlink_to("rules.yaml")
    in_force = CONFIGURATION.reload()
    (folder / "rules.yaml").unlink()
    CONFIGURATION.look_again()
    assert CONFIGURATION.current() is in_force
    assert "leads to none" in str(CONFIGURATION.problems)


def test_a_changed_file_is_seen_without_a_restart(folder: Path) -> None:
    file = folder / "scope_behaviors.yaml"
    file.write_text("GLOBAL:\n  routing: {unmatched: balance}\n")
    assert effective_settings("GLOBAL", {})["unmatched"] == "balance"
    file.write_text("GLOBAL:\n  routing: {unmatched: hold}\n")
    os.utime(file, ns=(1, 1))
    CONFIGURATION.look_again()
    assert effective_settings("GLOBAL", {})["unmatched"] == "hold"
    assert check_configuration() == []


def test_a_behaviour_of_ones_own_takes_the_place_of_a_shipped_one(folder: Path) -> None:
    path = f"{__name__}.Lazy"
    (folder / "scope_behaviors.yaml").write_text(f"EVENT:\n  behavior: {path}\n")
    assert type(get_behavior_for_scope("EVENT")).__name__ == "Lazy"


def test_a_policy_narrows_the_scopes_that_get_offers(folder: Path) -> None:
    settings = effective_settings("PROJECT", {})
    assert scopes_below("PROJECT", settings) == {"EVENT", "ORCHESTRATION", "FEDERATED"}
    (folder / "delegation_policies.yaml").write_text("GLOBAL: {delegate_to: [FAMILY]}\n")
    CONFIGURATION.reload()
    assert scopes_below("GLOBAL", effective_settings("GLOBAL", {})) == {"FAMILY"}
    own = effective_settings("GLOBAL", {"delegate_to": ["PROJECT", "ORCHESTRATION"]})
    assert scopes_below("GLOBAL", own) == {"PROJECT"}, "it never widens R1"
    decision = decide(task(tags=["x"]), instance("web", can=("x",)))
    assert outcome(decision) == "Unroutable"
    assert decision.reasons[1] == "web: scope ScopeNotAllowed"
