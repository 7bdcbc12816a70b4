"""The rules of Phase 1 route twelve tasks over HTTP as a person reading the file would."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import Caller, ada, caller
from tests.factories import InstanceFactory
from tests.scopes.test_rules import PHASE_1, PROJECTS, QUEUES
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ada", "caller"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(PHASE_1 is None, reason="the Phase 1 rules do not lie beside the checkout"),
]

TWELVE = [
    ({"title": "Let the swarm take phase two"}, "czarina", "czarina-keyword-detection: keywords"),
    ({"title": "Two at once", "tags": ["multi-agent"]}, "czarina", "czarina-tag-detection: tags"),
    ({"title": "Give the universal queue an mcp server"}, "hopper", "hopper-keyword-detection"),
    ({"title": "Who may do what", "tags": ["governance"]}, "sark", "sark-tag-detection"),
    ({"title": "Read up on philosophy"}, "symposium", "symposium-keyword-detection"),
    ({"title": "Move it", "description": "docker images to AWS"}, "infrastructure",
     "infrastructure-keyword-detection: keywords docker, aws"),
    ({"title": "The login page is broken"}, "bugs", "bug-fix-detection: keywords broken"),
    ({"title": "A bug in the docker images"}, "bugs", "bug-fix-detection: keywords bug"),
    ({"title": "A security issue", "priority": "urgent"}, "urgent-bugs", "urgent-bug-composite"),
    ({"title": "Polish the readme"}, "docs", "documentation-detection: keywords readme"),
    ({"title": "Ask the auditor", "priority": "high"}, "global", "high-priority-boost: priority"),
    ({"title": "Walk the dog"}, "global", ""),
]  # fmt: skip


@pytest.fixture(autouse=True)
def instance_tree(settings: Any, tmp_path: Path) -> Iterator[None]:
    """The instances that the file speaks of, below a GLOBAL that is called so."""
    assert PHASE_1 is not None
    shutil.copy(PHASE_1, tmp_path / "routing_rules.yaml")
    settings.HOPPER_CONFIG_DIR = str(tmp_path)
    top = InstanceFactory(name="global")
    for name in (*PROJECTS, *QUEUES):
        InstanceFactory(scope="PROJECT", name=name, parent=top)
    yield
    assert unsound() == []


def test_twelve_tasks_go_where_the_file_says_and_say_why(ada: Caller) -> None:
    for body, place, reason in TWELVE:
        task = ada.tell("/tasks", body | {"instance_id": "global"}, 201)
        first = ada.ask(f"/tasks/{task['id']}/decisions")["results"][0]
        assert task["instance_id"] == place, body
        assert first["instance_id"] == "global"
        assert any(reason in words for words in first["reasons"]), (body, first["reasons"])
        assert bool(first["rules"]) == bool(reason), body
        assert (task["waiting_on"]["code"] == "AwaitingTriage") == (place == "global")
