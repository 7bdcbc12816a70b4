"""Effects of the sweep when time has passed, and of capabilities (R5, R7, R9, R21)."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.placing import reroute_task
from delegation.router import preview_route
from delegation.sweep import sweep
from hopper.errors import Conflict, NotAccepting, NotFound, RuleBroken
from instances.lifecycle.actions import (
    fail_instance,
    pause_instance,
    set_instance_status,
    stop_instance,
    update_instance,
)
from instances.models import Event, HopperInstance, IdempotencyRecord, Task
from instances.tasks.editing import update_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_task, release_task
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.worlds import kept

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@pytest.fixture
@kept
def top() -> HopperInstance:
    """A GLOBAL with two projects that fit the tag x."""
    top: HopperInstance = InstanceFactory(name="top")
    for name in ("one", "two"):
        InstanceFactory(scope="PROJECT", name=name, parent=top, config={"capabilities": ["x"]})
    return top


def test_an_offer_that_nobody_answers_expires_and_the_next_is_asked(top: HopperInstance) -> None:
    task = TaskFactory(instance=top)
    offer = Delegator(ALICE).delegate_task(task.pk, "one").delegation
    Task.objects.filter(pk=task.pk).update(tags=["x"], tag_keys=["x"])
    past = timezone.now() - timedelta(seconds=1)
    TaskDelegation.objects.filter(pk=offer.pk).update(
        expires_at=past, delegated_at=past - timedelta(minutes=15)
    )
    assert sweep().offers_expired == 1
    task.refresh_from_db()
    assert task.instance_id == "two"


def test_an_event_is_drained_at_its_end_and_terminated_when_it_is_empty(
    top: HopperInstance,
) -> None:
    event = InstanceFactory(
        scope="EVENT", name="fair", parent=top, expires_at=timezone.now() + timedelta(days=1)
    )
    HopperInstance.objects.filter(pk=event.pk).update(expires_at=timezone.now())
    assert sweep().instances_drained == 2
    event.refresh_from_db()
    assert event.status == "terminated"


def test_an_event_with_work_in_it_is_only_stopped(top: HopperInstance) -> None:
    event = InstanceFactory(
        scope="EVENT", name="fair", parent=top, expires_at=timezone.now() + timedelta(days=1)
    )
    task = TaskFactory(instance=event)
    HopperInstance.objects.filter(pk=event.pk).update(expires_at=timezone.now())
    sweep()
    event.refresh_from_db()
    task.refresh_from_db()
    assert (event.status, task.instance_id) == ("stopped", "fair")


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"scope": "EVENT"}, "terminated"),
        ({"scope": "ORCHESTRATION", "instance_type": "temporary"}, "stopped"),
    ],
)
def test_a_task_that_comes_back_after_the_end_is_sent_up_too(
    fields: dict[str, str], end: str
) -> None:
    web = InstanceFactory(scope="PROJECT")
    fair = InstanceFactory(
        **fields, name="fair", parent=web, expires_at=timezone.now() + timedelta(days=1)
    )
    tasks = [TaskFactory(instance=web, executor_preference="human") for _ in range(3)]
    for task in tasks:
        Delegator(ALICE).delegate_task(task.pk, fair.pk, accept="auto")
    leases = [claim_task(task.pk, worker="bob", actor=ALICE) for task in tasks[:2]]

    def places() -> list[str]:
        sweep()
        return [str(Task.objects.get(pk=task.pk).instance_id) for task in tasks]

    HopperInstance.objects.filter(pk=fair.pk).update(expires_at=timezone.now())
    assert places() == [fair.pk, fair.pk, web.pk]
    release_task(tasks[0].pk, token=leases[0].token, actor=ALICE)
    assert places() == [web.pk, fair.pk, web.pk]
    with time_machine.travel(timezone.now() + timedelta(minutes=6)):
        assert places() == [web.pk] * 3
        fair.refresh_from_db()
        assert fair.status == end
        events = Event.objects.count()
        assert (sweep().instances_drained, Event.objects.count()) == (0, events)


def test_an_instance_that_stays_in_error_is_evacuated_after_its_grace(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, tags=["x"])
    holder = str(task.instance_id)
    fail_instance(holder, reason="disk full", actor=ALICE)
    assert sweep().instances_drained == 0
    with time_machine.travel(timezone.now() + timedelta(minutes=14)):
        # Whoever looks after it tells what he does: the grace goes on.
        update_instance(holder, changes={"description": "being repaired"}, actor=ALICE)
        assert sweep().instances_drained == 0
    with time_machine.travel(timezone.now() + timedelta(minutes=16)):
        assert sweep().instances_drained == 1
        task.refresh_from_db()
        assert task.instance_id not in (None, holder)


def test_an_offer_that_slipped_in_below_a_stopping_instance_is_taken_back(
    top: HopperInstance,
) -> None:
    task = TaskFactory(instance=top)
    offer = Delegator(ALICE).delegate_task(task.pk, "one").delegation
    HopperInstance.objects.filter(pk="one").update(status="stopping")
    swept = sweep()
    offer.refresh_from_db()
    assert (swept.offers_withdrawn, offer.status) == (1, "cancelled")


def test_a_stopping_instance_is_settled_and_old_answers_are_forgotten(
    top: HopperInstance,
) -> None:
    set_instance_status("one", status="stopping", actor=ALICE)
    IdempotencyRecord.objects.create(
        caller="a", key="k", digest="d", created_at=timezone.now() - timedelta(days=2)
    )
    swept = sweep()
    assert (swept.instances_settled, swept.answers_forgotten) == (1, 1)
    assert swept.total() == 2
    assert sweep().total() == 0


def test_a_task_that_a_crash_left_due_is_placed(top: HopperInstance) -> None:
    task = TaskFactory(instance=top)
    Task.objects.filter(pk=task.pk).update(tags=["x"], tag_keys=["x"], route_due=True)
    assert sweep().tasks_placed == 1
    task.refresh_from_db()
    assert task.instance_id in ("one", "two")


def test_a_required_capability_is_met_by_what_lies_below(top: HopperInstance) -> None:
    InstanceFactory(
        scope="ORCHESTRATION",
        name="gpu-run",
        parent=HopperInstance.objects.get(pk="two"),
        config={"capabilities": ["gpu"]},
    )
    task = TaskFactory(instance=top, required_capabilities=["gpu"])
    assert task.instance_id == "gpu-run"


def test_a_capability_that_no_instance_has_alerts_a_person(top: HopperInstance) -> None:
    task = TaskFactory(instance=top, required_capabilities=["teleport"])
    assert (task.status, task.waiting_code) == ("blocked", "CapabilityGap")


def test_an_edit_that_changes_routing_places_the_task_anew(top: HopperInstance) -> None:
    task = TaskFactory(instance=top)
    update_task(task.pk, changes={"tags": ["x"], "priority": "urgent"}, actor=ALICE)
    task.refresh_from_db()
    assert (task.instance_id in ("one", "two"), task.epoch) == (True, 2)


def test_a_reroute_begins_at_the_holder_and_is_refused_for_work_in_hand(
    top: HopperInstance,
) -> None:
    task = TaskFactory(instance=top)
    assert preview_route(task.pk)[0]["verdict"] == "stay"
    assert reroute_task(task.pk, actor=ALICE).epoch == 2
    set_status(task.pk, status="in_progress", actor=ALICE)
    with pytest.raises(Conflict):
        reroute_task(task.pk, actor=ALICE)
    with pytest.raises(Conflict):
        preview_route(TaskFactory().pk)


def test_an_instance_that_may_not_be_asked_is_named_with_the_reason(top: HopperInstance) -> None:
    task = TaskFactory(instance=top)
    run = InstanceFactory(
        scope="ORCHESTRATION", name="run", parent=HopperInstance.objects.get(pk="one")
    )
    delegator = Delegator(ALICE)
    with pytest.raises(NotFound):
        delegator.delegate_task(task.pk, "nowhere")
    with pytest.raises(RuleBroken, match="next hop towards it is one"):
        delegator.delegate_task(task.pk, run.pk)
    held_below = TaskFactory(instance=run)
    with pytest.raises(RuleBroken, match="escalate"):
        delegator.delegate_task(held_below.pk, "one")
    with pytest.raises(RuleBroken, match="no child"):
        delegator.delegate_task(held_below.pk, "two")
    stop_instance("two", actor=ALICE)
    with pytest.raises(NotAccepting):
        delegator.delegate_task(task.pk, "two")
    pause_instance(top.pk, actor=ALICE)
    with pytest.raises(Conflict, match="passes nothing on"):
        delegator.delegate_task(task.pk, "one")


def test_a_refusal_is_overridden_only_by_force_with_a_reason(top: HopperInstance) -> None:
    task = TaskFactory(instance=top)
    delegator = Delegator(ALICE)
    offer = delegator.delegate_task(task.pk, "one").delegation
    delegator.reject_delegation(offer.pk, reason="busy")
    assert delegator.reject_delegation(offer.pk, reason="busy").rejection_reason == "busy"
    with pytest.raises(Conflict, match="refused"):
        delegator.delegate_task(task.pk, "one")
    with pytest.raises(Conflict):
        delegator.accept_delegation(offer.pk)
    asked = delegator.delegate_task(task.pk, "one", force=True, reason="boss says").delegation
    assert asked.forced
    taken_back = delegator.cancel_delegation(asked.pk, reason="never mind")
    assert delegator.cancel_delegation(taken_back.pk).status == "cancelled"


def test_a_refusal_counts_until_the_task_is_placed_anew(top: HopperInstance) -> None:
    task = TaskFactory(instance=top)
    delegator = Delegator(ALICE)
    offer = delegator.delegate_task(task.pk, "one").delegation
    delegator.reject_delegation(offer.pk, reason="busy")
    with pytest.raises(Conflict, match="refused"):
        delegator.delegate_task(task.pk, "one")

    reroute_task(task.pk, actor=ALICE)

    asked = delegator.delegate_task(task.pk, "one").delegation
    assert (asked.forced, asked.epoch) == (False, offer.epoch + 1)


def test_a_paused_or_full_target_cannot_accept(top: HopperInstance) -> None:
    delegator = Delegator(ALICE)
    offer = delegator.delegate_task(TaskFactory(instance=top).pk, "one").delegation
    pause_instance("one", actor=ALICE)
    with pytest.raises(NotAccepting):
        delegator.accept_delegation(offer.pk)
    HopperInstance.objects.filter(pk="two").update(config={"max_queued_tasks": 0})
    full = delegator.delegate_task(TaskFactory(instance=top).pk, "two").delegation
    with pytest.raises(Conflict) as refusal:
        delegator.accept_delegation(full.pk)
    assert refusal.value.code == "queue_full"
