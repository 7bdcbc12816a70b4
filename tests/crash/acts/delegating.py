"""Tasks are offered, answered, moved and handed up."""

from __future__ import annotations

from delegation.delegator import Delegator
from instances.models import HopperInstance
from tests.crash.acts.asking import Asked, act, act_only_by_key, of_lease
from tests.crash.worlds import (
    leased,
    offered,
    project,
    queued,
    tree,
)
from tests.factories import ALICE, TaskFactory


@act
def offering_a_task() -> Asked:
    tree()
    project("ops")
    task = TaskFactory(instance=HopperInstance.objects.get(pk="top"), title="offered")
    return Asked("POST", f"/tasks/{task.pk}/delegate", {"target_instance_id": "ops"})


@act
def accepting_an_offer() -> Asked:
    tree()
    project("ops")
    return Asked("POST", f"/delegations/{offered().pk}/accept", {})


@act
def rejecting_an_offer() -> Asked:
    tree()
    project("ops")
    return Asked("POST", f"/delegations/{offered().pk}/reject", {"reason": "not mine"})


@act
def withdrawing_an_offer() -> Asked:
    tree()
    project("ops")
    return Asked("POST", f"/delegations/{offered().pk}/cancel", {})


@act
def completing_by_a_delegation() -> Asked:
    tree()
    project("ops")
    return Asked("POST", f"/delegations/{offered().pk}/complete", {"result": "done"})


@act
def escalating_work() -> Asked:
    tree()
    queued()
    return of_lease("escalate", leased(), reason="too hard")


@act
def reassigning_work() -> Asked:
    tree()
    project("ops")
    offer = offered("web")
    Delegator(ALICE).accept_delegation(offer.pk)
    body = {"target_instance_id": "ops", "delegation_type": "reassign", "force": True}
    return Asked("POST", f"/tasks/{offer.task_id}/delegate", body)


@act_only_by_key
def routing_again() -> Asked:
    tree()
    return Asked("POST", f"/tasks/{offered('web').task_id}/route", {})
