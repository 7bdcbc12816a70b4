"""A page needs as many queries for 100 rows as for 10."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from delegation.delegator import Delegator
from instances.tasks.worker import claim_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

if TYPE_CHECKING:
    from instances.models import HopperInstance
    from tests.admin.conftest import Family, Site

pytestmark = pytest.mark.unmeasured

BUDGET = 15
LISTS = [
    "instances_hopperinstance", "instances_task", "instances_event", "instances_attempt",
    "delegation_taskdelegation", "scopes_routingdecision",
]  # fmt: skip


def _queries(site: Site, page: str, *args: str) -> int:
    # The first look at a kind of page fills Django's cache of content types.
    site.get(page, *args)
    with CaptureQueriesContext(connection) as captured:
        assert site.get(page, *args).status_code == 200
    return len(captured)


def _grow(family: Family, count: int) -> None:
    for _ in range(count):
        project: HopperInstance = InstanceFactory(scope="PROJECT", parent=family.top)
        task = TaskFactory(instance=family.top)
        delegator = Delegator(ALICE)
        handed = delegator.delegate_task(task.pk, project.pk).delegation
        delegator.accept_delegation(handed.pk)
        run = InstanceFactory(scope="ORCHESTRATION", parent=project)
        claim_task(TaskFactory(instance=run).pk, worker="worker-1", actor=ALICE)


@pytest.mark.slow
def test_lists_cost_the_same_at_10_and_100_rows(site: Site, family: Family) -> None:
    _grow(family, 10)
    few = {model: _queries(site, f"{model}_changelist") for model in LISTS}
    _grow(family, 90)
    many = {model: _queries(site, f"{model}_changelist") for model in LISTS}
    assert many == few
    assert max(many.values()) <= BUDGET


def test_a_task_costs_the_same_however_long_its_story(site: Site, family: Family) -> None:
    short = TaskFactory(instance=family.top)
    long = TaskFactory(instance=family.top)
    delegator = Delegator(ALICE)
    for task, rounds in ((short, 1), (long, 10)):
        for _ in range(rounds):
            offer = delegator.delegate_task(task.pk, family.web.pk).delegation
            delegator.cancel_delegation(offer.pk)
        delegator.delegate_task(task.pk, family.web.pk)
    costs = {_queries(site, "instances_task_change", task.pk) for task in (short, long)}
    assert len(costs) == 1
    assert costs.pop() <= BUDGET


def test_an_instance_costs_the_same_however_long_its_story(site: Site, family: Family) -> None:
    before = _queries(site, "instances_hopperinstance_change", "web")
    for _ in range(20):
        TaskFactory(instance=family.web)
    assert _queries(site, "instances_hopperinstance_change", "web") == before
    assert before <= BUDGET
