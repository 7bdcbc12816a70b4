"""Without a usable configuration a write is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from hopper.config import files
from hopper.config.document import BrokenConfig, Problem
from hopper.config.files import CONFIGURATION
from instances.models import Event, HopperInstance, Task
from tests.api.conftest import Caller

PROBLEM = Problem("/etc/hopper/routing_rules.yaml", 3, "rules.0.type", "is missing")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tasks", {"title": "x"}),
        ("/tasks", {"title": "x", "instance_id": "top"}),
        ("/instances", {"name": "x", "scope": "PROJECT", "parent_id": "top"}),
    ],
)
def test_a_broken_configuration_writes_nothing_and_names_the_fault(
    ada: Caller, nobody: Caller, tree: dict[str, HopperInstance], monkeypatch, path: str, body
) -> None:
    def broken():
        raise BrokenConfig([PROBLEM])

    before = (Task.objects.count(), HopperInstance.objects.count(), Event.objects.count())
    with monkeypatch.context() as patched:
        patched.setattr(CONFIGURATION, "current", broken)
        patched.setattr(files, "operator_folder", lambda: Path("/etc/hopper"))
        answer = ada.tell(path, body, status=503, **{"Idempotency-Key": "again"})
        stranger = nobody.tell(path, body, status=401)
    assert answer["code"] == "broken_configuration"
    assert answer["detail"] == "/etc/hopper/routing_rules.yaml:3: rules.0.type: is missing"
    assert "hopper/routing_rules" not in str(stranger), "files are nobody's business"
    after = (Task.objects.count(), HopperInstance.objects.count(), Event.objects.count())
    assert after == before
    ada.tell(path, body, status=201, **{"Idempotency-Key": "again"})
