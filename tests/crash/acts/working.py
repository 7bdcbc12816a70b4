"""Workers claim, report and give up; families end."""

from __future__ import annotations

from instances.lifecycle import actions as lifecycle
from instances.models import HopperInstance
from instances.tasks.ending import cancel_task
from instances.tasks.worker import complete_task, fail_task
from tests.crash.acts.asking import SWEEP, Asked, act, of_lease
from tests.crash.worlds import (
    family,
    leased,
    leased_token,
    queued,
    tree,
)
from tests.factories import ALICE, TaskFactory


@act
def claiming_the_next() -> Asked:
    tree()
    queued()
    return Asked("POST", "/instances/run/claim", {"worker": "bob"})


@act
def claiming_a_given_task() -> Asked:
    tree()
    return Asked("POST", f"/tasks/{queued().pk}/claim", {"worker": "bob"})


@act
def starting_work() -> Asked:
    tree()
    queued()
    return of_lease("start", leased())


@act
def a_heartbeat_with_a_checkpoint() -> Asked:
    tree()
    queued()
    return of_lease("heartbeat", leased(), checkpoint={"page": 3}, progress=0.5)


@act
def completing_a_task_others_wait_for() -> Asked:
    run = tree()
    before = queued()
    TaskFactory(instance=run, title="after", depends_on=[before.pk])
    return of_lease("complete", leased(), result={"ok": True})


@act
def completing_the_last_child() -> Asked:
    tree()
    family()
    complete_task(leased().task.pk, token=leased_token("child 0"), actor=ALICE)
    return of_lease("complete", leased(), result=1)


@act
def completing_the_last_work_of_a_stopping_run() -> Asked:
    tree()
    queued()
    lease = leased()
    lifecycle.stop_instance("run", actor=ALICE)
    return of_lease("complete", lease)


@act
def completing_too_late() -> Asked:
    tree()
    queued()
    lease = leased()
    cancel_task(lease.task.pk, actor=ALICE)
    return of_lease("complete", lease, result={"late": True})


@act
def failing_for_now() -> Asked:
    tree()
    queued()
    return of_lease("fail", leased(), error="try again")


@act
def failing_for_good_with_siblings() -> Asked:
    tree()
    family(3, failure_policy="fail_fast")
    return of_lease("fail", leased(), error="no", retryable=False)


@act
def failing_for_good_where_failures_go_up() -> Asked:
    tree(on_failure="escalate")
    HopperInstance.objects.filter(pk="run").update(config={"on_failure": "escalate"})
    queued()
    return of_lease("fail", leased(), error="no", retryable=False)


@act
def discarding_a_dead_letter() -> Asked:
    tree()
    queued()
    lease = leased()
    fail_task(lease.task.pk, token=lease.token, retryable=False, actor=ALICE)
    return Asked("POST", f"/tasks/{lease.task.pk}/discard", {"reason": "obsolete"})


@act
def releasing_a_task() -> Asked:
    tree()
    return of_lease("release", leased()) if queued() else SWEEP


@act
def cancelling_a_family_at_work() -> Asked:
    tree()
    parent = family(3)
    leased()
    return Asked("POST", f"/tasks/{parent.pk}/cancel", {"reason": "no more"})


@act
def retrying_a_failed_child() -> Asked:
    tree()
    family(1)
    lease = leased()
    fail_task(lease.task.pk, token=lease.token, retryable=False, actor=ALICE)
    return Asked("POST", f"/tasks/{lease.task.pk}/retry", {})


@act
def setting_a_status_by_force() -> Asked:
    tree()
    queued()
    task = leased().task
    return Asked("POST", f"/tasks/{task.pk}/status", {"status": "done", "force": True})


@act
def reopening_what_work_had_waited_for() -> Asked:
    run = tree()
    before = queued()
    complete_task(before.pk, token=leased().token, actor=ALICE)
    TaskFactory(instance=run, title="after", depends_on=[before.pk])
    leased()
    return Asked("POST", f"/tasks/{before.pk}/retry", {})


@act
def cancelling_a_finished_task_by_force() -> Asked:
    run = tree()
    queued()
    lease = leased()
    complete_task(lease.task.pk, token=lease.token, actor=ALICE)
    TaskFactory(instance=run, title="after", depends_on=[lease.task.pk])
    body = {"status": "cancelled", "force": True}
    return Asked("POST", f"/tasks/{lease.task.pk}/status", body)
