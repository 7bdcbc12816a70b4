"""The report shows the rules in force with people's feedback, the settings, and broken files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hopper.cli.main import main
from hopper.config.document import BrokenConfig
from hopper.config.files import CONFIGURATION
from instances.models import HopperInstance
from tests.api.conftest import Caller, ada, caller, sound, tree
from tests.scopes.test_configuration import folder

__all__ = ["ada", "caller", "folder", "sound", "tree"]

RULES = """\
rules:
  - {id: to-web, type: tag, destination: "project:web", required_tags: [page]}
  - {type: keyword, name: To Ops, destination: "project:ops", keywords: [server]}
default_destination: project:ops
expectations:
  - task: {title: x, tags: [page]}
    destination: project:web
"""
BROKEN = RULES.replace("weight", "wait").replace("keywords: [server]", "keyword: server")


def test_feedback_shows_as_the_accuracy_of_the_rule_that_was_followed(
    ada: Caller, tree: dict[str, HopperInstance], folder: Path
) -> None:
    (folder / "routing_rules.yaml").write_text(RULES)
    CONFIGURATION.reload()
    for number, good in enumerate((True, True, False, None)):
        hard = {"complexity": 4} if number % 2 else {}
        body = {"title": "x", "tags": ["page"], "instance_id": "top", **hard}
        task = ada.tell("/tasks", body, 201)
        said = ada.tell(f"/tasks/{task['id']}/feedback", {"was_good_match": good}, 201)
        assert said["decision_id"] == ada.ask(f"/tasks/{task['id']}/decisions")["results"][0]["id"]
        assert ada.tell(f"/tasks/{task['id']}/feedback", said, 201)["notes"] == ""
    report = ada.ask("/rules")
    figures = [
        (row["id"], row["judged"], row["good_matches"], row["accuracy"])
        for row in report["results"]
    ]
    assert figures == [("to-web", 6, 4, 0.6667), ("to-ops", 0, 0, None)]
    assert report["default_destination"] == "project:ops"
    assert report["problems"] == []
    assert [row["id"] for row in ada.ask("/rules", limit=1, offset=1)["results"]] == ["to-ops"]


def test_a_file_with_nearly_the_right_name_is_refused(folder: Path) -> None:
    (folder / "routing_rules.yml").write_text(RULES)
    with pytest.raises(BrokenConfig, match=r"routing_rules\.yml:1: is not read; the name"):
        CONFIGURATION.reload()
    (folder / "routing_rules.yml").unlink()
    (folder / "other.yaml").write_text("")
    CONFIGURATION.reload()


def test_feedback_keeps_the_fields_of_phase_1(
    ada: Caller, tree: dict[str, HopperInstance], folder: Path
) -> None:
    given = {
        "was_good_match": False,
        "should_have_routed_to": "ops",
        "routing_feedback": "it is about servers",
        "quality_score": 4.5,
        "complexity_rating": 3,
        "estimated_duration": "2h",
        "actual_duration": "1h30m",
        "required_rework": True,
        "rework_reason": "no tests",
        "unexpected_blockers": ["rate limits"],
        "required_skills_not_tagged": ["docker"],
        "notes": "x",
    }
    task = ada.tell("/tasks", {"title": "x", "instance_id": "top"}, 201)
    said = ada.tell(f"/tasks/{task['id']}/feedback", given, 201)
    assert {name: said[name] for name in given} == given
    (row,) = ada.ask(f"/tasks/{task['id']}/feedback")["results"]
    assert row == said
    empty = ada.tell(f"/tasks/{task['id']}/feedback", dict.fromkeys(given), 201)
    assert (empty["rework_reason"], empty["unexpected_blockers"]) == ("", [])
    ada.tell(f"/tasks/{task['id']}/feedback", {"quality_score": 5.1}, 400)


def test_the_better_place_shows_whether_the_rule_was_right(
    ada: Caller, tree: dict[str, HopperInstance], folder: Path
) -> None:
    (folder / "routing_rules.yaml").write_text(RULES)
    CONFIGURATION.reload()
    body = {"title": "x", "tags": ["page"], "instance_id": "top", "complexity": 4}
    task = ada.tell("/tasks", body, 201)
    assert task["instance_id"] == "web-run"
    for better, good in (("WEB", True), ("web-run", True), ("ops", False), (" ", None)):
        words = {"should_have_routed_to": better}
        said = ada.tell(f"/tasks/{task['id']}/feedback", words, 201)
        assert said["was_good_match"] is good, better
    (rule, _) = ada.ask("/rules")["results"]
    assert (rule["id"], rule["judged"], rule["good_matches"]) == ("to-web", 3, 2)


def test_feedback_finds_the_decision_also_of_an_earlier_epoch(
    ada: Caller, tree: dict[str, HopperInstance], folder: Path
) -> None:
    (folder / "routing_rules.yaml").write_text(RULES)
    CONFIGURATION.reload()
    task = ada.tell("/tasks", {"title": "x", "tags": ["page"], "instance_id": "top"}, 201)
    sent = ada.ask(f"/tasks/{task['id']}/decisions")["results"][0]

    def judge(good: bool) -> str:
        said = ada.tell(f"/tasks/{task['id']}/feedback", {"was_good_match": good}, 201)
        return str(said["decision_id"])

    assert judge(True) == sent["id"]
    ada.call("PATCH", f"/tasks/{task['id']}", {"tags": ["page", "more"]})
    assert ada.ask(f"/tasks/{task['id']}")["epoch"] == 2
    assert judge(False) == sent["id"]
    for verb in ("cancel", "retry"):
        ada.tell(f"/tasks/{task['id']}/{verb}", {}, 200)
    assert judge(False) == sent["id"]
    report = {row["id"]: row["accuracy"] for row in ada.ask("/rules")["results"]}
    assert report == {"to-web": 0.3333, "to-ops": None}


def test_feedback_is_not_held_against_a_rule_whose_choice_was_refused(
    ada: Caller, tree: dict[str, HopperInstance], folder: Path
) -> None:
    rules = RULES.replace("[page]", "[ops]", 1).replace("[page]", "[ops]").replace("server", "none")
    (folder / "routing_rules.yaml").write_text(rules)
    CONFIGURATION.reload()
    ada.call("PATCH", "/instances/web", {"config": {"accept": "manual"}})
    task = ada.tell("/tasks", {"title": "x", "tags": ["ops"], "instance_id": "top"}, 201)
    offer = ada.ask("/delegations", task_id=task["id"], status="pending")["results"][0]["id"]
    ada.tell(f"/delegations/{offer}/reject", {"reason": "not mine"})
    assert ada.ask(f"/tasks/{task['id']}")["instance_id"] == "ops"
    ada.tell(f"/tasks/{task['id']}/feedback", {"was_good_match": False}, 201)
    assert {row["judged"] for row in ada.ask("/rules")["results"]} == {0}


def test_a_broken_reload_is_visible_while_the_old_rules_are_in_force(
    ada: Caller, folder: Path
) -> None:
    file = folder / "routing_rules.yaml"
    file.write_text(RULES)
    CONFIGURATION.reload()
    file.write_text(BROKEN)
    CONFIGURATION.look_again()
    report = ada.ask("/rules")
    assert [row["id"] for row in report["results"]] == ["to-web", "to-ops"]
    (problem,) = report["problems"]
    assert (problem["file"], problem["line"], problem["key"]) == (
        str(file), 3, "rules.1.keyword",
    )  # fmt: skip


def test_every_setting_of_an_instance_says_where_it_comes_from(
    ada: Caller, caller: Callable[..., Caller], tree: dict[str, HopperInstance], folder: Path
) -> None:
    file = folder / "scope_behaviors.yaml"
    file.write_text("PROJECT:\n  routing:\n    max_orchestrations: 3\n")
    CONFIGURATION.reload()
    ada.call("PATCH", "/instances/web", {"config": {"offer_seconds": 60}})
    found = ada.ask("/instances/web/settings")
    assert (found["instance_id"], found["scope"]) == ("web", "PROJECT")
    settings = found["settings"]
    assert settings["max_orchestrations"] == {"value": 3, "source": str(file), "line": 3}
    assert settings["offer_seconds"] == {"value": 60, "source": "instance", "line": None}
    assert settings["accept"] == {"value": "auto", "source": "shipped", "line": None}
    assert settings["behavior"]["value"].endswith("ProjectScopeBehavior")
    stranger = caller("bob", "viewer", tree["ops"])
    assert stranger.call("GET", "/instances/web/settings").status_code == 404


def test_files_are_checked_before_they_are_put_in_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(RULES)
    bad.write_text(RULES.replace("project:web\n", "project:ops\n"))
    assert main(["--json", "rules", "check", str(good)]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": 1, "sound": True}
    before = CONFIGURATION.current()
    assert main(["rules", "check", str(good), str(bad)]) == 1
    words = capsys.readouterr().err
    assert f"{bad}:6: expectations.0: 'x' goes to project:web by to-web" in words
    assert main(["rules", "check", str(tmp_path / "none.yaml")]) == 1
    assert CONFIGURATION.current() is before
    (tmp_path / "scope_behaviors.yaml").write_text("EVENT: {behavior: no.where}\n")
    assert main(["rules", "check", str(tmp_path)]) == 1
    assert "scope_behaviors.yaml:1: EVENT.behavior: does not import" in capsys.readouterr().err
