"""Instances come, change and go."""

from __future__ import annotations

from delegation.delegator import Delegator
from instances.lifecycle import actions as lifecycle
from instances.models import HopperInstance
from tests.crash.acts.asking import Asked, act
from tests.crash.worlds import (
    leased,
    offered,
    project,
    queued,
    tree,
)
from tests.factories import ALICE, InstanceFactory, TaskFactory


@act
def creating_an_instance() -> Asked:
    tree()
    body = {"id": "ops", "name": "ops", "scope": "PROJECT", "parent_id": "top"}
    return Asked("POST", "/instances", body)


@act
def moving_an_instance() -> Asked:
    tree()
    project("ops")
    return Asked("PATCH", "/instances/run", {"parent_id": "ops"})


@act
def giving_an_instance_new_capabilities() -> Asked:
    tree()
    TaskFactory(
        instance=HopperInstance.objects.get(pk="top"),
        title="unroutable",
        required_capabilities=["ops"],
        tags=["ops"],
    )
    return Asked("PATCH", "/instances/web", {"config": {"capabilities": ["web", "ops"]}})


@act
def starting_an_instance() -> Asked:
    tree()
    ops = InstanceFactory(
        scope="PROJECT",
        parent=HopperInstance.objects.get(pk="top"),
        name="ops",
        running=False,
        config={"capabilities": ["ops"]},
    )
    TaskFactory(instance=HopperInstance.objects.get(pk="top"), title="due", tags=["ops"])
    return Asked("POST", f"/instances/{ops.pk}/start", {})


@act
def resuming_an_instance_with_waiting_offers() -> Asked:
    tree()
    project("ops")
    lifecycle.pause_instance("ops", actor=ALICE)
    task = TaskFactory(instance=HopperInstance.objects.get(pk="top"), title="offered")
    Delegator(ALICE).delegate_task(task.pk, "ops")
    return Asked("POST", "/instances/ops/resume", {})


@act
def stopping_an_instance_by_force() -> Asked:
    tree()
    queued("at work")
    leased()
    queued("waiting")
    return Asked("POST", "/instances/run/stop", {"force": True})


@act
def emptying_an_instance() -> Asked:
    tree()
    queued("at work")
    leased()
    queued("waiting")
    return Asked("POST", "/instances/run/stop", {"evacuate": True})


@act
def declaring_an_instance_in_error() -> Asked:
    tree()
    project("ops")
    offered()
    return Asked("POST", "/instances/ops/fail", {"reason": "burnt"})


@act
def terminating_a_subtree_at_work() -> Asked:
    tree()
    queued("at work")
    leased()
    queued("waiting")
    return Asked("DELETE", "/instances/web?cascade=true")


@act
def closing_a_run() -> Asked:
    tree()
    run = InstanceFactory(
        scope="ORCHESTRATION",
        parent=HopperInstance.objects.get(pk="web"),
        name="short",
        instance_type="ephemeral",
    )
    TaskFactory(instance=run, title="left over")
    return Asked("POST", "/instances/short/close", {"force": True})
