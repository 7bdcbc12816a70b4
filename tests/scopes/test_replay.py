"""Past decisions made again from their records: none differ, but under another configuration."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from delegation.delegator import Delegator
from hopper.cli.main import main
from hopper.config.files import CONFIGURATION
from instances.lifecycle.actions import stop_instance
from instances.models import HopperInstance
from instances.tasks.editing import update_task
from scopes.models import RoutingDecision
from scopes.replay import last_decisions, replay
from scopes.settings import MAX_OFFERS
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.scopes.test_configuration import folder
from tests.scopes.winners import winner_of
from tests.soundness import unsound

__all__ = ["folder"]
pytestmark = [pytest.mark.unmeasured, pytest.mark.django_db(transaction=True)]

RULES = """\
rules:
  - {id: pages, type: tag, destination: "project:web", required_tags: [page]}
"""


@pytest.fixture
def past(folder: Path, transactional_db: None) -> HopperInstance:
    """A GLOBAL at which decisions of every kind were made."""
    (folder / "routing_rules.yaml").write_text(RULES)
    CONFIGURATION.reload()
    top = InstanceFactory(name="top")
    for name, config in (
        ("web", {"capabilities": ["web", "css"], "domains": ["page"]}),
        ("ops", {"capabilities": ["server"], "manual_fallback": False, "max_orchestrations": 1}),
        ("odd", {"capabilities": ["odd"], "accept": "manual"}),
    ):
        InstanceFactory(scope="PROJECT", parent=top, name=name, config=config)
    for fields in (
        {"tags": ["page"]}, {"tags": ["css"], "complexity": 4}, {"tags": ["server"]},
        {"tags": ["server"], "complexity": 5}, {"title": "a page"}, {"title": "nothing"},
        {"project": "opps"}, {"project": "new-one"}, {"required_capabilities": ["gpu"]},
        {"tags": ["css"], "required_capabilities": ["css"], "description": "x" * 30_000},
        {"tags": ["odd"]},
    ):  # fmt: skip
        TaskFactory(instance=top, **fields)
    stop_instance("ops-run-001", actor=ALICE)
    TaskFactory(instance=top, tags=["server"], complexity=5)
    return top


def differences(*line: str) -> Any:
    """Return what `hopper_replay --json` prints."""
    out = io.StringIO()
    call_command("hopper_replay", "--json", *line, stdout=out)
    return json.loads(out.getvalue())


def test_nothing_differs_under_the_configuration_it_was_made_under(past: HopperInstance) -> None:
    verdicts = set(RoutingDecision.objects.values_list("verdict", flat=True))
    assert verdicts == {"send", "stay", "refuse"}
    edited = RoutingDecision.objects.filter(verdict="send").last()
    assert edited is not None
    update_task(edited.task_id, changes={"title": "quite another"}, actor=ALICE)
    number = RoutingDecision.objects.count()
    assert differences() == {"replayed": number, "differences": [], "skipped": 0}
    for sent in RoutingDecision.objects.filter(verdict="send"):
        assert winner_of(sent.candidates) == sent.target_id
    assert unsound() == []


def test_a_replay_reads_the_records_alone(past: HopperInstance, django_assert_num_queries) -> None:
    records = list(last_decisions(100))
    with django_assert_num_queries(0):
        assert replay(records).differences == ()


def test_a_replay_reports_only_the_decisions_that_a_changed_file_changes(
    past: HopperInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new-rules.yaml"
    new.write_text(RULES.replace("project:web", "project:ops"))
    (one,) = differences("--candidate", str(new))["differences"]
    assert (one["was"]["target_id"], one["now"]["target_id"]) == ("web", "ops")
    assert one["now"]["reasons"][0] == "rule pages: tags page, for project:ops"
    assert main(["--local", "route", "replay", "--candidate", str(new)]) == 0
    told = capsys.readouterr().out
    assert f"{one['task_id']} at top: send web -> send ops" in told
    assert "1 different" in told
    hops = RoutingDecision.objects.filter(task=one["task_id"]).count()
    assert differences("--task", one["task_id"], "--candidate", str(new))["replayed"] == hops
    assert differences("--last", "1")["replayed"] == 1
    assert differences()["differences"] == [], "a candidate never comes into force"


def test_a_whole_folder_stands_for_the_present_one(past: HopperInstance, tmp_path: Path) -> None:
    candidate = tmp_path / "candidate"
    candidate.mkdir()
    (candidate / "scope_behaviors.yaml").write_text(
        "PROJECT: {routing: {orchestration_threshold: 6}}\n"
        "GLOBAL: {routing: {unmatched: balance}}\n"
    )
    found = {
        (one["was"]["verdict"], one["was"]["target_id"] or one["was"]["code"],
         one["now"]["verdict"], one["now"]["target_id"] or one["now"]["code"])
        for one in differences("--candidate", str(candidate))["differences"]
    }  # fmt: skip
    assert ("send", "web-run-001", "stay", "ManualQueue") in found
    assert ("stay", "AwaitingTriage", "send", "odd") in found
    assert {was for was, *_ in found} == {"send", "stay", "refuse"}


def test_a_broken_candidate_is_refused_and_old_records_are_counted(
    past: HopperInstance, tmp_path: Path
) -> None:
    broken = tmp_path / "routing_rules.yaml"
    broken.write_text("rules: [{}]\n")
    with pytest.raises(CommandError, match=r"routing_rules.yaml:1: rules\.0"):
        differences("--candidate", str(broken))
    RoutingDecision.objects.update(situation={})
    assert differences()["skipped"] == RoutingDecision.objects.count()


def test_the_hop_limit_is_not_a_behaviours_decision(folder: Path) -> None:
    top = InstanceFactory(name="top")
    for number in range(MAX_OFFERS + 1):
        config = {"capabilities": ["odd"], "accept": "manual"}
        InstanceFactory(scope="PROJECT", parent=top, name=f"p{number:02}", config=config)
    task = TaskFactory(instance=top, tags=["odd"])
    while offer := task.delegations.filter(status="pending").first():
        Delegator(ALICE).reject_delegation(offer.pk, reason="no")
    assert task.decisions.last().code == "HopLimit"
    assert differences()["differences"] == []
