"""A behaviours file that fails what it expects of itself is refused; the old one stays in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from hopper.checks import check_configuration
from hopper.config.document import BrokenConfig
from hopper.config.files import CONFIGURATION
from tests.scopes.test_configuration import folder

__all__ = ["folder"]

MET = """\
PROJECT:
  routing: {orchestration_threshold: 4}
  expectations:
    - name: hard work goes to the run that is there
      task: {title: x, complexity: 4}
      children: [{id: run, scope: ORCHESTRATION}]
      expect: send run
    - task: {title: x, complexity: 3}
      children: [{id: run, scope: ORCHESTRATION}]
      expect: stay ManualQueue
    - task: {title: x, complexity: 5}
      expect: create
    - task: {title: x, required_capabilities: [gpu]}
      config: {capabilities: [cpu]}
      expect: refuse CapabilityGap
GLOBAL:
  expectations:
    - task: {title: x, tags: [urgent]}
      children: [{id: ops}, {id: web, config: {capabilities: [urgent]}, open_tasks: 7}]
      expect: send web
"""


def test_a_file_that_meets_its_expectations_is_taken(folder: Path) -> None:
    (folder / "scope_behaviors.yaml").write_text(MET)
    CONFIGURATION.reload()
    assert check_configuration() == []


@pytest.mark.parametrize(
    ("was", "becomes", "line", "words"),
    [
        ("expect: send run", "expect: send walk", 4,
         "PROJECT.expectations.0: hard work goes to the run that is there comes to send run .*"
         "expected send walk"),
        ("expect: create", "expect: stay ManualQueue", 11, "comes to create project-run-001"),
        ("send web", "send ops", 18, "GLOBAL.expectations.0: 'x' comes to send web"),
        ("open_tasks: 7", "open_tasks: many", 19, "integer, not 'many'"),
        ("[urgent]}, open", "7}, open", 19, "capabilities"),
        ("expect: create", "expect: dance", 12, "PROJECT.expectations.2.expect"),
    ],
)  # fmt: skip
def test_a_file_that_fails_its_own_is_refused(
    folder: Path, was: str, becomes: str, line: int, words: str
) -> None:
    in_force = CONFIGURATION.current()
    (folder / "scope_behaviors.yaml").write_text(MET.replace(was, becomes))
    with pytest.raises(BrokenConfig, match=words) as caught:
        CONFIGURATION.reload()
    assert [problem.line for problem in caught.value.problems] == [line]
    assert CONFIGURATION.current() == in_force


def test_a_rule_that_breaks_what_a_behaviour_expects_is_refused_with_it(folder: Path) -> None:
    (folder / "scope_behaviors.yaml").write_text(MET)
    CONFIGURATION.reload()
    rule = "{id: a, type: tag, destination: 'project:ops', required_tags: [urgent]}"
    (folder / "routing_rules.yaml").write_text(f"rules: [{rule}]\n")
    with pytest.raises(BrokenConfig, match=r"comes to send ops .*expected send web"):
        CONFIGURATION.reload()


def test_of_two_changed_files_neither_is_taken_where_one_is_broken(folder: Path) -> None:
    (folder / "delegation_policies.yaml").write_text("PROJECT: {offer_seconds: 60}\n")
    (folder / "routing_rules.yaml").write_text("rules: [{}]\n")
    before = CONFIGURATION.current()
    with pytest.raises(BrokenConfig):
        CONFIGURATION.reload()
    assert CONFIGURATION.current() == before


def test_held_expectations_do_not_change_with_their_file(folder: Path) -> None:
    with CONFIGURATION.held() as held:
        (folder / "delegation_policies.yaml").write_text("PROJECT: {offer_seconds: 60}\n")
        CONFIGURATION.look_again()
        assert CONFIGURATION.current() is held
    assert CONFIGURATION.reload() != held
