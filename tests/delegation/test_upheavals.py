"""Stop, error, evacuation and the end of an instance, word by word (R5)."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from delegation.sweep import sweep
from hopper.errors import Conflict, NotAccepting
from instances.lifecycle import actions as lifecycle
from instances.lifecycle.closing import close_instance
from instances.models import HopperInstance, Task
from instances.tasks.ending import cancel_task
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next, claim_task, complete_task, heartbeat
from instances.waiting import waiting_on
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.flows.rows import held_off
from tests.worlds import kept

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sound")]


@pytest.fixture
@kept
def web() -> HopperInstance:
    """A project `web` under `top`, which sends what is tagged web there; `run` below it."""
    top = InstanceFactory(name="top")
    made: HopperInstance = InstanceFactory(
        scope="PROJECT", name="web", parent=top, config={"capabilities": ["web"]}
    )
    InstanceFactory(scope="ORCHESTRATION", name="run", parent=made, instance_type="ephemeral")
    return made


def routed(**fields: object) -> Task:
    """Return a task that came from the top to the project."""
    task: Task = TaskFactory(instance=HopperInstance.objects.get(pk="top"), tags=["web"], **fields)
    return task


def routed_to_the_run() -> Task:
    task = routed(executor_preference="orchestration")
    assert task.instance_id == "run"
    return task


def state(task: Task) -> tuple[str, str | None, str]:
    """Return a task's status, holder and reason, as they are now."""
    task.refresh_from_db()
    reason = waiting_on([task]).get(task.pk)
    return task.status, task.instance_id, reason["code"] if reason else ""


def escalating() -> Task:
    """Return a task that the run has handed up and that nobody has taken yet."""
    task = routed_to_the_run()
    lifecycle.pause_instance("web", actor=ALICE)
    Delegator(ALICE).escalate_task(task.pk, reason="too hard")
    with held_off():
        lifecycle.resume_instance("web", actor=ALICE)
    assert state(task) == ("pending", "run", "AwaitingEscalation")
    return task


def offers() -> set[tuple[str, str]]:
    return set(TaskDelegation.objects.filter(accepted_at=None).values_list("status", "reason"))


# Stop


def test_a_stop_cancels_offers_from_below_and_their_tasks_stay(web: HopperInstance) -> None:
    task = routed()
    Delegator(ALICE).delegate_task(task.pk, "run")
    lifecycle.stop_instance("web", actor=ALICE)
    assert state(task) == ("pending", "web", "HolderStopped")
    assert offers() == {("cancelled", "target_stopped")}
    assert task.route_due


def test_an_escalation_outlasts_a_stop_and_is_answered_afterwards(web: HopperInstance) -> None:
    task = escalating()
    lifecycle.stop_instance("web", evacuate=True, actor=ALICE)
    assert (task.offered_to_id, state(task)[:2]) == ("web", ("pending", "run"))
    assert offers() == {("pending", "escalated")}
    lifecycle.start_instance("web", actor=ALICE)
    assert state(task)[1] == "web"


def test_force_takes_leases_back_uncounted_and_leaves_hand_work(web: HopperInstance) -> None:
    leased, by_hand = routed_to_the_run(), routed()
    claim_task(leased.pk, worker="w", actor=ALICE)
    set_status(by_hand.pk, status="in_progress", owner="ann", actor=ALICE)
    assert lifecycle.stop_instance("web", force=True, actor=ALICE).status == "stopped"
    assert state(leased) == ("pending", "run", "AncestorStopped")
    assert (leased.failures, leased.attempts.get().outcome) == (0, "evicted")
    assert state(by_hand) == ("in_progress", "web", "InProgress")


def test_evacuation_leaves_tasks_that_escalate_are_blocked_or_came_by_no_path(
    web: HopperInstance,
) -> None:
    rising = escalating()
    goes, stuck = routed(), routed()
    set_status(stuck.pk, status="blocked", reason="ask me", actor=ALICE)
    local = TaskFactory(instance=web)
    lifecycle.stop_instance("web", evacuate=True, actor=ALICE)
    assert state(goes)[:2] == ("pending" if goes.status == "pending" else "blocked", "top")
    assert state(rising)[:2] == ("pending", "run")
    assert state(stuck) == ("blocked", "web", "InputRequired")
    assert state(local) == ("pending", "web", "HolderStopped")
    ended = goes.delegations.get()
    assert (ended.status, ended.reason) == ("failed", "evacuated")


# Error


def test_an_error_cancels_offers_to_it_and_lets_leases_go_on(web: HopperInstance) -> None:
    leased = routed_to_the_run()
    token = claim_task(leased.pk, worker="w", actor=ALICE).token
    offered = routed()
    Delegator(ALICE).delegate_task(offered.pk, "run")
    lifecycle.fail_instance("run", reason="disk full", actor=ALICE)
    assert offers() == {("cancelled", "target_error")}
    assert state(offered)[:2] == ("pending", "web")
    with pytest.raises(Conflict):
        claim_next("run", worker="w", actor=ALICE)
    with pytest.raises(NotAccepting):
        TaskFactory(instance=HopperInstance.objects.get(pk="run"))
    heartbeat(leased.pk, token=token, actor=ALICE)
    assert complete_task(leased.pk, token=token, actor=ALICE).status == "done"


def test_after_the_grace_an_error_sends_up_only_unstarted_tasks(web: HopperInstance) -> None:
    rising, leased, goes = escalating(), routed_to_the_run(), routed_to_the_run()
    claim_task(leased.pk, worker="w", lease_seconds=3600, actor=ALICE)
    lifecycle.fail_instance("run", actor=ALICE)
    sweep()
    assert state(goes) == ("pending", "run", "HolderError")
    with time_machine.travel(timezone.now() + timedelta(minutes=16)):
        assert sweep().instances_drained == 1
        assert state(goes)[1] not in ("run", None)
        assert goes.delegations.filter(status="failed", reason="evacuated").count() == 1
        assert state(leased) == ("claimed", "run", "InProgress")
        # What the run had handed up was answered by the project; no evacuation took it.
        assert not rising.delegations.filter(reason="evacuated").exists()
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        sweep()
        assert state(leased)[1] not in ("run", None)
        assert leased.attempts.get().outcome == "expired"


def test_recovery_needs_no_repair(web: HopperInstance) -> None:
    ready = routed_to_the_run()
    lifecycle.fail_instance("web", actor=ALICE)
    late = routed()
    assert late.instance_id == "top"
    assert state(ready) == ("pending", "run", "AncestorError")
    lifecycle.recover_instance("web", actor=ALICE)
    assert state(ready) == ("pending", "run", "ReadyForWorker")
    assert state(late)[1] == "web"
    assert len(claim_next("run", worker="w", actor=ALICE).leases) == 1


# For good


def test_an_end_lifts_only_the_blocks_that_placing_set(web: HopperInstance) -> None:
    unplaced = TaskFactory(instance=web, required_capabilities=["teleport"])
    by_hand = routed()
    set_status(by_hand.pk, status="blocked", actor=ALICE)
    before = cancel_task(routed_to_the_run().pk, actor=ALICE)
    after = routed(depends_on=[before.pk])
    assert [state(task)[2] for task in (unplaced, by_hand, after)] == [
        "CapabilityGap",
        "InputRequired",
        "DependencyFailed",
    ]
    with held_off():
        lifecycle.terminate_instance("web", cascade=True, actor=ALICE)
    assert state(unplaced) == ("pending", "top", "Routing")
    assert state(by_hand) == ("blocked", "top", "InputRequired")
    assert state(after) == ("blocked", "top", "DependencyFailed")
    sweep()


def test_an_end_puts_hand_work_back_and_keeps_parents_going(web: HopperInstance) -> None:
    by_hand, parent = routed(), routed()
    set_status(by_hand.pk, status="in_progress", owner="ann", actor=ALICE)
    child = TaskFactory(parent_id=parent.pk, instance=HopperInstance.objects.get(pk="run"))
    lifecycle.terminate_instance("web", cascade=True, actor=ALICE)
    assert state(by_hand)[:2] in (("pending", "top"), ("blocked", "top"))
    assert state(parent) == ("in_progress", "top", "WaitingChildren")
    assert state(child)[1] == "top"


def test_closing_a_run_withdraws_what_was_offered_to_it(web: HopperInstance) -> None:
    offered = routed()
    Delegator(ALICE).delegate_task(offered.pk, "run")
    summary = close_instance("run", actor=ALICE)
    assert summary["cancelled"] == []
    assert state(offered) == ("pending", "web", "ManualQueue")
    assert offers() == {("cancelled", "target_stopped")}
