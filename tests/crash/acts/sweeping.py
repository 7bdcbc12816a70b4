"""The sweep does what time or a crash has left."""

from __future__ import annotations

from delegation.models import TaskDelegation
from instances.lifecycle import actions as lifecycle
from instances.models import Event, HopperInstance, IdempotencyRecord, Task
from instances.tasks.worker import complete_task
from tests.crash.acts.asking import SWEEP, Asked, act
from tests.crash.worlds import (
    leased,
    offered,
    past,
    project,
    queued,
    tree,
    without_effects,
)
from tests.factories import ALICE, TaskFactory


@act
def sweeping_up_lost_leases() -> Asked:
    tree()
    for number in range(2):
        queued(f"lost {number}")
        leased()
    Task.objects.leased().update(lease_expires_at=past())
    return SWEEP


@act
def sweeping_up_offers() -> Asked:
    tree()
    project("ops")
    TaskDelegation.objects.filter(pk=offered().pk).update(expires_at=past())
    return SWEEP


@act
def sweeping_up_offers_that_slipped_in_below_a_stopped_instance() -> Asked:
    tree()
    project("ops")
    offered()
    without_effects("ops", "stopping")
    return SWEEP


@act
def sweeping_up_tasks_a_crash_left_due() -> Asked:
    tree()
    lifecycle.pause_instance("top", actor=ALICE)
    for number in range(2):
        queued(f"due {number}")
    without_effects("top", "running")
    return SWEEP


@act
def sweeping_up_what_lasted_until_now() -> Asked:
    tree()
    queued()
    HopperInstance.objects.filter(pk="run").update(instance_type="temporary", expires_at=past())
    return SWEEP


@act
def sweeping_up_below_an_old_error() -> Asked:
    tree()
    queued()
    lifecycle.fail_instance("run", actor=ALICE)
    Event.objects.filter(instance="run", kind="instance.error").update(at=past(hours=1))
    return SWEEP


@act
def sweeping_up_dependants() -> Asked:
    run = tree()
    before = queued()
    TaskFactory(instance=run, title="after", depends_on=[before.pk])
    lease = leased()
    complete_task(lease.task.pk, token=lease.token, actor=ALICE)
    Task.objects.filter(title="after").update(ready=False)
    return SWEEP


@act
def sweeping_up_old_answers() -> Asked:
    tree()
    IdempotencyRecord.objects.create(caller="a", key="k", digest="", created_at=past(days=2))
    return SWEEP
