"""A stored decision gives its winner again, and a preview leaves no trace."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps

from scopes.models import RoutingDecision
from scopes.replay import replay
from tests.api.conftest import Caller, ada, caller
from tests.factories import InstanceFactory, TaskFactory
from tests.scopes.winners import winner_of
from tests.soundness import unsound

if TYPE_CHECKING:
    from collections.abc import Callable

    from instances.models import HopperInstance

__all__ = ["ada", "caller"]

pytestmark = [pytest.mark.storm, pytest.mark.django_db(transaction=True)]

WORDS = ("python", "docker", "login", "css", "gpu", "docs")


def rows() -> dict[str, int]:
    """Return how many rows each table of Hopper has."""
    ours = ("hopper", "instances", "scopes", "delegation")
    models = [model for app in ours for model in apps.get_app_config(app).get_models()]
    return {model._meta.label: model._default_manager.count() for model in models}


def grow(dice: random.Random) -> HopperInstance:
    """Make a GLOBAL over a dozen projects of different abilities, some with runs."""
    top: HopperInstance = InstanceFactory(name="top", config={"unmatched": "balance"})
    for number in range(12):
        project = InstanceFactory(
            scope="PROJECT",
            name=f"p{number}",
            parent=top,
            config={
                "capabilities": dice.sample(WORDS, 2),
                "domains": dice.sample(WORDS, 2),
                "max_queued_tasks": 100_000,
                "max_concurrent_tasks": dice.choice([5, 10, 20]),
            },
        )
        for _ in range(number % 3):
            config = {"max_queued_tasks": 100_000}
            InstanceFactory(scope="ORCHESTRATION", parent=project, config=config)
    return top


def some_task(dice: random.Random) -> dict[str, Any]:
    """Return what a random task asks for."""
    return {
        "title": " ".join(dice.sample(WORDS, dice.randint(1, 3))),
        "tags": dice.sample(WORDS, dice.randint(0, 2)),
        "required_capabilities": dice.sample(WORDS, dice.choice([0, 0, 0, 1])),
        "project": dice.choice(["", "", "", "p3"]),
        "complexity": dice.randint(1, 5),
    }


def test_the_stored_record_gives_the_winner_and_a_preview_writes_nothing(
    ada: Caller, storm: Callable[[int, int], int]
) -> None:
    number, dice = storm(20, 10_000), random.Random(20)
    top = grow(dice)
    tasks = [TaskFactory(instance=top, **some_task(dice)).pk for _ in range(number)]

    sent = RoutingDecision.objects.filter(verdict="send")
    wrong = [
        decision.pk
        for decision in sent.iterator(chunk_size=500)
        if winner_of(decision.candidates) != decision.target_id
    ]
    assert wrong == []
    assert sent.count() >= number
    made_again = replay(RoutingDecision.objects.iterator(chunk_size=500))
    assert (made_again.replayed, made_again.differences) == (RoutingDecision.objects.count(), ())

    before = rows()
    for task_id in dice.sample(tasks, min(number // 2, 200)):
        ada.tell(f"/tasks/{task_id}/route?preview=true")
        ada.tell("/rules/preview", some_task(dice) | {"instance_id": "top"})
    assert rows() == before
    print(number, "tasks,", sent.count(), "choices,", made_again.replayed, "made again")
    assert unsound() == []
