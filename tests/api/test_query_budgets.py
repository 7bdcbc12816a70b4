"""A page costs the same number of queries whatever it holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from delegation.delegator import Delegator
from instances.history import stamp_all
from instances.models import HopperInstance
from instances.tasks.worker import claim_next
from tests.api.conftest import API, Caller
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = pytest.mark.unmeasured

# Two of them find out who calls.
BUDGETS = {
    "/instances": 6,
    "/instances/web/children": 7,
    "/instances/web": 5,
    "/instances/top/hierarchy": 8,
    "/instances/web/tasks": 11,
    "/instances/web/events": 6,
    "/tasks": 10,
    "/tasks?search=task": 10,
    "/events": 5,
    "/events?after=0": 4,
    "/delegations": 7,
    "/status": 17,
}


def spent(ada: Caller, path: str) -> int:
    """Return the queries of one answer."""
    with CaptureQueriesContext(
        connection,
    ) as caught:
        answer = ada.get(f"{API}{path}")
    assert answer.status_code == 200, answer.content
    return len(caught)


def fill(tree: dict[str, HopperInstance], number: int) -> None:
    """Add instances and tasks of every kind, some with predecessors, children and leases."""
    for count in range(number):
        run = InstanceFactory(
            scope="ORCHESTRATION", parent=tree["web"], name=f"run-{number}-{count}"
        )
        first = TaskFactory(instance=run)
        TaskFactory(instance=tree["top"], tags=["web"], depends_on=[first.pk])
        parent = TaskFactory(instance=tree["web"])
        TaskFactory(parent_id=parent.pk)
        claim_next(run.pk, worker="w", actor=ALICE)
        Delegator(ALICE).delegate_task(TaskFactory(instance=tree["web"]).pk, run.pk)
    stamp_all()


def test_a_page_of_a_hundred_costs_what_a_page_of_ten_does(
    ada: Caller, tree: dict[str, HopperInstance]
) -> None:
    fill(tree, 3)
    few = {path: spent(ada, path) for path in BUDGETS}
    fill(tree, 25)
    many = {path: spent(ada, path) for path in BUDGETS}
    # The rows of a list that goes on are counted by a statement of their own.
    assert {path: count - few[path] for path, count in many.items() if count - few[path] > 1} == {}
    over = {path: (count, BUDGETS[path]) for path, count in many.items() if count > BUDGETS[path]}
    assert over == {}


@pytest.mark.parametrize("path", ["/events", "/instances/web/events", "/events?after=0"])
def test_a_feed_holds_every_event_once_in_order(
    ada: Caller, tree: dict[str, HopperInstance], path: str
) -> None:
    fill(tree, 4)
    both = "&" if "?" in path else "?"
    whole = [row["id"] for row in ada.get(f"{API}{path}{both}limit=500").json()["results"]]
    assert whole == sorted(set(whole))
    seen: list[object] = []
    url = f"{API}{path}{both}limit=3"
    while url:
        page = ada.get(url).json()
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert seen == whole


@pytest.mark.postgres
def test_a_turn_of_a_worker_takes_nine_statements(
    caller: Callable[..., Caller], tree: dict[str, HopperInstance]
) -> None:
    bob = caller("bob", "worker", tree["web"])
    run = InstanceFactory(scope="ORCHESTRATION", parent=tree["web"])
    for _ in range(3):
        TaskFactory(instance=run)
    for _ in range(3):
        # The first claim reads its queue. The first call of a function looks for the function.
        with CaptureQueriesContext(connection) as claiming:
            (task,) = bob.tell(f"/instances/{run.pk}/claim", {"worker": "w"})["tasks"]
        with CaptureQueriesContext(connection) as completing:
            bob.tell(f"/tasks/{task['id']}/complete", {"token": task["lease"]["token"]})
    assert len(claiming) <= 4
    assert len(completing) <= 5


def test_finding_out_who_calls_takes_one_statement(ada: Caller) -> None:
    assert spent(ada, "/me") == 1
