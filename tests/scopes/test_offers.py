"""Answers of the behaviours to offers (R3, R8, R22)."""

from __future__ import annotations

import pytest

from instances.choices import HopperScope
from scopes.deciding import get_behavior_for_instance, get_behavior_for_scope
from tests.scopes.facts import instance, task


@pytest.mark.parametrize(
    ("sentence", "target", "verdict", "code"),
    [
        ("running", instance("a"), "accept", ""),
        ("running, full", instance("a", queued=100), "refuse", "queue_full"),
        ("running, room for one", instance("a", queued=99), "accept", ""),
        ("running, manual", instance("a", config={"accept": "manual"}), "wait", ""),
        ("never started", instance("a", status="created"), "wait", ""),
        ("starting", instance("a", status="starting"), "wait", ""),
        ("paused", instance("a", status="paused"), "wait", ""),
        ("stopping", instance("a", status="stopping"), "refuse", "target_stopping"),
        ("stopped", instance("a", status="stopped"), "refuse", "target_stopped"),
        ("in error", instance("a", status="error"), "refuse", "target_error"),
        ("terminated", instance("a", status="terminated"), "refuse", "target_terminated"),
        ("no remote", instance("a", "FEDERATED"), "refuse", "no_remote"),
    ],
)
def test_an_offer_is_answered(sentence: str, target, verdict: str, code: str) -> None:
    answer = get_behavior_for_instance(target).answer(task(), target)
    assert (answer.verdict, answer.code) == (verdict, code), sentence


@pytest.mark.parametrize("scope", HopperScope.values)
def test_every_scope_has_a_behaviour(scope: str) -> None:
    assert get_behavior_for_scope(scope) is get_behavior_for_scope(scope)
