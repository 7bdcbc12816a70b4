"""All 64 pairs of the lifecycle table, the actions, and what each does to work (R2 to R5)."""

from __future__ import annotations

import itertools

import pytest

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from hopper.errors import Conflict, Gone, InvalidTransition, NotAccepting
from hopper.protocol import INSTANCE
from instances.allowances import effective_status
from instances.choices import InstanceStatus
from instances.lifecycle import actions as lifecycle
from instances.models import Event, HopperInstance, Task
from instances.tasks.worker import claim_next, claim_task, complete_task
from tests.factories import ALICE, InstanceFactory, TaskFactory

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sound"),
]

PATHS = {
    "created": [],
    "starting": ["starting"],
    "running": ["starting", "running"],
    "paused": ["starting", "running", "paused"],
    "stopping": ["starting", "stopping"],
    "stopped": ["starting", "stopping", "stopped"],
    "error": ["error"],
    "terminated": ["terminated"],
}


def _in(status: str) -> HopperInstance:
    instance: HopperInstance = InstanceFactory(scope="PROJECT", running=False)
    for step in PATHS[status]:
        instance = lifecycle.set_instance_status(instance.pk, status=step, actor=ALICE)
    assert instance.status == status
    return instance


@pytest.mark.parametrize(
    ("before", "after"), list(itertools.product(InstanceStatus.values, InstanceStatus.values))
)
def test_every_pair_of_the_table(before: str, after: str) -> None:
    instance = _in(before)
    events = Event.objects.filter(instance=instance).count()
    if before == after:
        lifecycle.set_instance_status(instance.pk, status=after, actor=ALICE)
        assert Event.objects.filter(instance=instance).count() == events
        return
    if INSTANCE.permits(before, after):
        changed = lifecycle.set_instance_status(instance.pk, status=after, actor=ALICE)
        assert changed.status == after
        assert Event.objects.filter(instance=instance).count() == events + 1
        return
    with pytest.raises(InvalidTransition) as refusal:
        lifecycle.set_instance_status(instance.pk, status=after, actor=ALICE)
    assert refusal.value.extra["state"] == before
    assert refusal.value.extra["allowed"] == INSTANCE.allowed(before)


@pytest.mark.parametrize("status", InstanceStatus.values)
@pytest.mark.parametrize(
    ("action", "from_", "to"),
    [
        ("start", ("created", "stopped", "error", "starting"), "running"),
        ("stop", ("starting", "running", "paused", "error"), "stopped"),
        ("restart", ("created", "stopped", "error", "starting", "running", "paused"), "running"),
        ("pause", ("running",), "paused"),
        ("resume", ("paused",), "running"),
        ("recover", ("error",), "running"),
        ("fail", ("created", "starting", "running", "paused", "stopping", "stopped"), "error"),
    ],
)
def test_actions(action: str, from_: tuple[str, ...], to: str, status: str) -> None:
    instance = _in(status)
    act = getattr(lifecycle, f"{action}_instance")
    settled = (status == to and action != "restart") or (action, status) == ("stop", "stopping")
    if status in from_ or settled:
        assert act(instance.pk, actor=ALICE).status == to
    else:
        with pytest.raises(Conflict) as refusal:
            act(instance.pk, actor=ALICE)
        assert refusal.value.extra["state"] == status


def test_start_records_both_steps() -> None:
    instance = InstanceFactory()
    kinds = Event.objects.filter(instance=instance).order_by("id").values_list("kind", flat=True)
    assert list(kinds) == ["instance.created", "instance.starting", "instance.running"]


@pytest.mark.parametrize(
    ("own", "above", "effective"),
    [
        ("running", ["running"], "running"),
        ("running", ["created"], "running"),
        ("running", ["paused", "running"], "paused"),
        ("paused", ["error"], "error"),
        ("created", ["running"], "created"),
        ("running", ["stopped", "paused"], "stopped"),
        ("stopping", ["starting"], "stopping"),
    ],
)
def test_the_most_restrictive_status_rules(own: str, above: list[str], effective: str) -> None:
    assert effective_status(own, above) == effective


def test_a_pause_is_not_written_downward_and_resume_restores() -> None:
    top = InstanceFactory()
    project = InstanceFactory(scope="PROJECT", parent=top)
    lifecycle.pause_instance(top.pk, actor=ALICE)
    project.refresh_from_db()
    assert (project.status, project.standing().effective) == ("running", "paused")
    lifecycle.resume_instance(top.pk, actor=ALICE)
    assert project.standing().effective == "running"


def test_a_stop_waits_for_the_last_lease_below() -> None:
    project = InstanceFactory(scope="PROJECT")
    run = InstanceFactory(scope="ORCHESTRATION", parent=project)
    TaskFactory(instance=run)
    (lease,) = claim_next(run.pk, worker="bob", actor=ALICE).leases
    assert lifecycle.stop_instance(project.pk, actor=ALICE).status == "stopping"
    with pytest.raises(Conflict):
        claim_next(run.pk, worker="bob", actor=ALICE)
    with pytest.raises(Conflict) as refusal:
        lifecycle.set_instance_status(project.pk, status="stopped", actor=ALICE)
    assert refusal.value.code == "live_leases"
    complete_task(lease.task.pk, token=lease.token, actor=ALICE)
    project.refresh_from_db()
    assert project.status == "stopped"


def test_a_restart_that_fails_halfway_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    known = lifecycle.change_instance

    def failing(instance, status, *args, **stop):
        if status == "starting":
            raise Conflict("no")
        known(instance, status, *args, **stop)

    monkeypatch.setattr(lifecycle, "change_instance", failing)
    with pytest.raises(Conflict):
        lifecycle.restart_instance(run.pk, actor=ALICE)
    run.refresh_from_db()
    assert run.status == "running"


def test_a_claim_that_was_under_way_is_revoked_by_a_forced_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    task = TaskFactory(instance=run)
    known = lifecycle.change_instance

    def slipping(*args, **stop):
        # What was leased before is read, and the status not yet changed.
        assert claim_next(run.pk, worker="bob", actor=ALICE).leases
        known(*args, **stop)

    monkeypatch.setattr(lifecycle, "change_instance", slipping)
    assert lifecycle.stop_instance(run.pk, force=True, actor=ALICE).status == "stopped"
    task.refresh_from_db()
    assert (task.status, task.attempts.get().outcome) == ("pending", "evicted")


def test_a_restart_over_live_leases_needs_force() -> None:
    run = InstanceFactory(scope="ORCHESTRATION", parent=InstanceFactory(scope="PROJECT"))
    task = TaskFactory(instance=run)
    (lease,) = claim_next(run.pk, worker="bob", actor=ALICE).leases
    with pytest.raises(Conflict) as refusal:
        lifecycle.restart_instance(run.pk, actor=ALICE)
    assert refusal.value.extra["live_leases"] == 1
    assert lifecycle.restart_instance(run.pk, force=True, actor=ALICE).status == "running"
    task.refresh_from_db()
    assert (task.status, task.instance_id, task.failures) == ("pending", run.pk, 0)
    assert task.attempts.get().outcome == "evicted"
    with pytest.raises(Conflict):
        complete_task(task.pk, token=lease.token, actor=ALICE)


def test_a_stop_withdraws_offers_and_their_tasks_are_placed_again() -> None:
    top = InstanceFactory()
    one = InstanceFactory(scope="PROJECT", parent=top, config={"capabilities": ["x"]})
    two = InstanceFactory(
        scope="PROJECT", parent=top, config={"capabilities": ["x"], "accept": "auto"}
    )
    task = TaskFactory(instance=top)
    offer = Delegator(ALICE).delegate_task(task.pk, one.pk).delegation
    Task.objects.filter(pk=task.pk).update(tags=["x"], tag_keys=["x"])
    lifecycle.stop_instance(one.pk, actor=ALICE)
    offer.refresh_from_db()
    task.refresh_from_db()
    assert (offer.status, offer.reason) == ("cancelled", "target_stopped")
    assert task.instance_id == two.pk


def test_evacuation_sends_unstarted_tasks_back_up() -> None:
    top = InstanceFactory()
    project = InstanceFactory(scope="PROJECT", parent=top, config={"capabilities": ["x"]})
    tasks = [TaskFactory(instance=top, tags=["x"]) for _ in range(3)]
    lifecycle.stop_instance(project.pk, evacuate=True, actor=ALICE)
    assert set(Task.objects.values_list("instance_id", flat=True)) == {top.pk}
    rows = TaskDelegation.objects.filter(task__in=tasks)
    assert set(rows.values_list("status", "reason")) == {("failed", "evacuated")}


def test_evacuation_leaves_running_work_to_its_worker() -> None:
    top = InstanceFactory()
    project = InstanceFactory(scope="PROJECT", parent=top, config={"capabilities": ["x"]})
    working, waiting = (TaskFactory(instance=top, tags=["x"]) for _ in range(2))
    lease = claim_task(working.pk, worker="bob", actor=ALICE)

    lifecycle.stop_instance(project.pk, evacuate=True, actor=ALICE)

    working.refresh_from_db()
    assert (working.instance_id, working.lease_token) == (project.pk, lease.token)
    assert Task.objects.get(pk=waiting.pk).instance_id == top.pk
    assert HopperInstance.objects.get(pk=project.pk).status == "stopping"
    complete_task(working.pk, token=lease.token, actor=ALICE)
    assert HopperInstance.objects.get(pk=project.pk).status == "stopped"


def test_terminate_refuses_while_something_is_left() -> None:
    top = InstanceFactory()
    project = InstanceFactory(scope="PROJECT", parent=top)
    TaskFactory(instance=project)
    with pytest.raises(Conflict) as refusal:
        lifecycle.terminate_instance(top.pk, actor=ALICE)
    assert refusal.value.extra == {"live_children": 1, "unfinished_tasks": 1}


def test_terminated_children_do_not_hold_their_parent() -> None:
    top = InstanceFactory()
    lifecycle.terminate_instance(InstanceFactory(scope="PROJECT", parent=top).pk, actor=ALICE)
    assert lifecycle.terminate_instance(top.pk, actor=ALICE).status == "terminated"
    assert lifecycle.terminate_instance(top.pk, actor=ALICE).status == "terminated"


def test_terminate_with_cascade_loses_no_task() -> None:
    top = InstanceFactory()
    project = InstanceFactory(scope="PROJECT", parent=top, config={"capabilities": ["x"]})
    run = InstanceFactory(scope="ORCHESTRATION", parent=project)
    waiting = TaskFactory(instance=top, tags=["x"], complexity=5)
    running = TaskFactory(instance=top, tags=["x"], complexity=5)
    local = TaskFactory(instance=run)
    (lease,) = claim_next(run.pk, worker="bob", limit=1, actor=ALICE).leases
    lifecycle.terminate_instance(project.pk, cascade=True, actor=ALICE)
    assert HopperInstance.objects.get(pk=run.pk).status == "terminated"
    for task in (waiting, running, local):
        task.refresh_from_db()
        assert (task.status, task.instance_id) == ("pending", top.pk)
    with pytest.raises(Gone):
        complete_task(lease.task.pk, token=lease.token, result={"late": 1}, actor=ALICE)


def test_terminating_the_root_leaves_its_tasks_unassigned() -> None:
    top = InstanceFactory()
    task = TaskFactory(instance=top)
    lifecycle.terminate_instance(top.pk, cascade=True, actor=ALICE)
    task.refresh_from_db()
    assert (task.status, task.instance_id) == ("pending", None)


@pytest.mark.parametrize("status", ["stopping", "stopped", "error", "terminated"])
def test_no_new_tasks_where_the_instance_takes_none(status: str) -> None:
    instance = _in(status)
    with pytest.raises(NotAccepting) as refusal:
        TaskFactory(instance=instance)
    assert refusal.value.extra["state"] == status
