"""The cost of routing a task does not grow with the number of projects (R9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hopper.database import engine
from tests.factories import InstanceFactory, TaskFactory
from tests.soundness import unsound

if TYPE_CHECKING:
    from instances.models import HopperInstance

pytestmark = [pytest.mark.unmeasured, pytest.mark.django_db(transaction=True)]

TASKS: dict[str, dict[str, Any]] = {
    "matched": {"tags": ["x"]},
    "matched, and down to a run": {"tags": ["x"], "complexity": 5},
    "by what it requires": {"required_capabilities": ["x"]},
    "named": {"project": "p3"},
    "no child matches": {"title": "walk the dog"},
    "nobody can": {"required_capabilities": ["gpu"]},
}
# Transactions, savepoints and readings of the clock count too; a hop writes offer, acceptance,
# decision and events.
ROUND_TRIPS = 8
"""The most statements of a creation and two hops where the database keeps functions."""
BUDGETS = {
    "matched": 28,
    "matched, and down to a run": 30,
    "by what it requires": 30,
    "named": 28,
    "no child matches": 17,
    "nobody can": 22,
}


def grow(top: HopperInstance, first: int, last: int) -> None:
    """Add projects with a run and a task each."""
    for n in range(first, last):
        config = {"capabilities": ["x", f"can{n}"], "domains": [f"domain{n}"]}
        project = InstanceFactory(scope="PROJECT", name=f"p{n}", parent=top, config=config)
        run = InstanceFactory(scope="ORCHESTRATION", name=f"r{n}", parent=project)
        TaskFactory(instance=run)


def spent(top: HopperInstance) -> dict[str, int]:
    """Return the queries of creating and placing each kind of task."""
    found = {}
    for name, fields in TASKS.items():
        with CaptureQueriesContext(connection) as caught:
            TaskFactory(instance=top, **fields)
        found[name] = len(caught)
    return found


def test_a_hundred_projects_cost_as_many_queries_as_ten() -> None:
    top = InstanceFactory(name="top")
    grow(top, 0, 10)
    spent(top)
    few = spent(top)
    grow(top, 10, 100)
    many = spent(top)
    print(many)
    assert many == few
    over = {name: count for name, count in many.items() if count > BUDGETS[name]}
    assert over == {}
    if engine().keeps_functions:
        assert many["matched, and down to a run"] <= ROUND_TRIPS
    assert unsound() == []
