"""The history of a task names no instance that the caller may not know."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from delegation.delegator import Delegator
from instances.models import HopperInstance, Task
from tests.api.conftest import Caller
from tests.factories import ALICE, TaskFactory


@pytest.fixture
def task(tree: dict[str, HopperInstance]) -> Task:
    """A task at web that ops refused before."""
    made = TaskFactory(instance=tree["top"])
    refused = Delegator(ALICE).delegate_task(made.pk, "ops", notes="for ops").delegation
    Delegator(ALICE).reject_delegation(refused.pk, reason="too busy")
    taken = Delegator(ALICE).delegate_task(made.pk, "web").delegation
    Delegator(ALICE).accept_delegation(taken.pk)
    return made


@pytest.fixture
def viewer(caller: Callable[..., Caller], tree: dict[str, HopperInstance]) -> Caller:
    return caller("viewer", "viewer", tree["web"])


def test_the_chain_has_the_refusal_without_the_sibling(
    viewer: Caller, ada: Caller, task: Task
) -> None:
    refused, taken = viewer.ask(f"/tasks/{task.pk}/delegations")["delegations"]
    assert (refused["status"], refused["target_instance_id"]) == ("rejected", None)
    assert (refused["rejection_reason"], refused["notes"]) == ("", "")
    assert (taken["source_instance_id"], taken["target_instance_id"]) == ("top", "web")
    whole = ada.ask(f"/tasks/{task.pk}/delegations")["delegations"][0]
    assert (whole["target_instance_id"], whole["rejection_reason"]) == ("ops", "too busy")


def test_the_events_leave_the_sibling_out(viewer: Caller, ada: Caller, task: Task) -> None:
    told = viewer.ask(f"/tasks/{task.pk}/events")["results"]
    offered = [event["data"]["to"] for event in told if event["kind"] == "delegation.offered"]
    assert offered == [None, "web"]
    assert "delegation.rejected" not in [event["kind"] for event in told]
    assert "'ops'" not in str(told)
    whole = ada.ask(f"/tasks/{task.pk}/events")["results"]
    assert "delegation.rejected" in [event["kind"] for event in whole]


def test_a_task_that_left_for_a_sibling_left_for_nowhere_known(viewer: Caller, task: Task) -> None:
    Delegator(ALICE).delegate_task(
        task.pk, "ops", delegation_type="reassign", notes="secret", force=True, reason="again"
    )
    rows = viewer.ask("/instances/web/delegations")["results"]
    assert all(row["target_instance_id"] in (None, "web") for row in rows)
    assert "secret" not in str(rows)
    assert "'ops'" not in str(viewer.ask("/instances/web/events")["results"])
