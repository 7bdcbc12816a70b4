"""The examples of the how-tos work as they stand: a behaviour of one's own, a file of rules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hopper.cli.main import main
from hopper.config.files import CONFIGURATION
from scopes.models import RoutingDecision
from scopes.replay import last_decisions, replay
from tests.factories import InstanceFactory, TaskFactory
from tests.scopes.test_configuration import folder
from tests.soundness import unsound

if TYPE_CHECKING:
    from instances.models import Task

__all__ = ["folder"]
pytestmark = pytest.mark.django_db(transaction=True)

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"


def block(page: str, language: str) -> str:
    """Return the first block of that language on a page."""
    found = re.search(rf"```{language}\n(.*?)```", (HOW_TO / page).read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_behaviour_of_the_how_to_decides_and_answers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib" / "my_company"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "routing.py").write_text(block("write-a-behaviour.md", "python"))
    monkeypatch.syspath_prepend(str(package.parent))
    (folder / "scope_behaviors.yaml").write_text(block("write-a-behaviour.md", "yaml"))
    CONFIGURATION.reload()

    top = InstanceFactory(name="top")
    for name, language in (("berlin", "de"), ("paris", "fr")):
        config = {"capabilities": [f"lang:{language}"]}
        project = InstanceFactory(scope="PROJECT", name=name, parent=top, config=config)
        InstanceFactory(scope="ORCHESTRATION", name=f"{name}-run", parent=project)

    def placed(*tags: str, **fields: str | int) -> Task:
        task: Task = TaskFactory(instance=top, tags=list(tags), **fields)
        return task

    assert placed("lang:de", owner="kim").instance_id == "berlin"
    assert placed("lang:fr", owner="kim", complexity=5).instance_id == "paris-run"
    assert placed("lang:fr", "billing", owner="kim", complexity=5).instance_id == "paris"
    assert placed("nothing", owner="kim").instance_id == "top"
    orphan = placed("lang:de")
    assert (orphan.status, orphan.waiting_code) == ("blocked", "Unroutable")
    assert [one["reason"] for one in orphan.waiting["refusals"]] == ["no_owner"]
    sent = RoutingDecision.objects.filter(instance=top, verdict="send").first()
    assert sent is not None
    assert (sent.behavior, sent.reasons) == (
        "my_company.routing.LanguageDesk",
        ["berlin speaks lang:de"],
    )
    assert replay(last_decisions(100)).differences == ()
    assert unsound() == []


def test_the_rules_of_the_how_to_meet_their_expectations(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = block("change-routing-rules.md", "yaml")
    new = tmp_path / "new-rules.yaml"
    new.write_text(text)
    assert main(["--local", "rules", "check", str(new)]) == 0
    new.write_text(text.replace("[documentation, readme]", "[documentation]"))
    assert main(["--local", "rules", "check", str(new)]) == 1
    assert "new-rules.yaml:22: expectations.0: 'Write the readme' goes to" in (
        capsys.readouterr().err
    )
    (folder / "routing_rules.yaml").write_text(text)
    CONFIGURATION.reload()
    top = InstanceFactory(name="top")
    for name in ("docs", "billing", "on-call", "inbox"):
        InstanceFactory(scope="PROJECT", name=name, parent=top)
    assert TaskFactory(instance=top, title="Write the readme").instance_id == "docs"
    burning = TaskFactory(instance=top, title="The site is down", priority="high")
    assert burning.instance_id == "on-call"
    assert unsound() == []
