"""What the laboratory kills a process at: each act prepares its world and says what is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework.test import APIClient

from delegation.models import TaskDelegation
from delegation.services.delegator import Delegator
from delegation.services.sweep import sweep
from hopper.cli.local import OPERATOR_KEY
from instances.models import Event, HopperInstance, IdempotencyRecord, Task
from instances.services import lifecycle
from instances.services.history import instance_event, record
from instances.services.queue import Lease, claim_next, complete_task, fail_task
from instances.services.tasks import cancel_task
from tests.factories import ALICE, InstanceFactory, TaskFactory


@dataclass(frozen=True)
class Asked:
    """A request of a client, or a sweep. Anybody may ask it again who got no answer (R20)."""

    method: str
    path: str = ""
    body: Any = None

    def ask(self, key: str = "") -> int:
        """Carry it out in this process and return the status, 0 for a sweep."""
        if self.method == "SWEEP":
            sweep()
            return 0
        client = APIClient(raise_request_exception=False, **{OPERATOR_KEY: "alice"})
        headers = {"Idempotency-Key": key} if key else {}
        call = getattr(client, self.method.lower())
        answer = call(f"/api/v1{self.path}", self.body, format="json", headers=headers)
        return int(answer.status_code)


ACTS: dict[str, Callable[[], Asked]] = {}
"""By name; naturally idempotent, but for those that are not (R20)."""

SWEEP = Asked("SWEEP")


ONLY_BY_KEY: set[str] = set()
"""Those that mean something new whenever they are asked for without a key."""


def act(prepare: Callable[[], Asked]) -> Callable[[], Asked]:
    """List an act under its name in words."""
    ACTS[prepare.__name__.replace("_", " ")] = prepare
    return prepare


def act_only_by_key(prepare: Callable[[], Asked]) -> Callable[[], Asked]:
    """List an act that asks for something new each time it is asked for."""
    ONLY_BY_KEY.add(prepare.__name__.replace("_", " "))
    return act(prepare)


def tree(**config: Any) -> HopperInstance:
    """Make top > web > run, all running, and return the run; `config` is web's."""
    top = InstanceFactory(name="top")
    web = InstanceFactory(
        scope="PROJECT", parent=top, name="web", config={"capabilities": ["web"], **config}
    )
    run: HopperInstance = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")
    return run


def project(name: str, **config: Any) -> HopperInstance:
    """Make one more project below the top."""
    top = HopperInstance.objects.get(pk="top")
    made: HopperInstance = InstanceFactory(scope="PROJECT", parent=top, name=name, config=config)
    return made


def queued(title: str = "queued", **values: Any) -> Task:
    """Make a task that came from the top into the run's queue."""
    top = HopperInstance.objects.get(pk="top")
    made: Task = TaskFactory(instance=top, title=title, tags=["web"], complexity=5, **values)
    return made


def leased(worker: str = "bob") -> Lease:
    """Let a worker claim the next task of the run."""
    (lease,) = claim_next("run", worker=worker, actor=ALICE).leases
    return lease


def family(children: int = 2, **values: Any) -> Task:
    """Make a decomposed task in the run, with its children beside it."""
    run = HopperInstance.objects.get(pk="run")
    parent: Task = TaskFactory(instance=run, title="parent", **values)
    for number in range(children):
        TaskFactory(title=f"child {number}", parent_id=parent.pk)
    return parent


def offered(target: str = "ops") -> TaskDelegation:
    """Make a task that rests at the top and is offered to a project, which has not answered."""
    task = TaskFactory(instance=HopperInstance.objects.get(pk="top"), title="offered")
    return Delegator(ALICE).delegate_task(task.pk, target).delegation


def past(**ago: float) -> Any:
    """Return a moment so long ago; one second by default."""
    return timezone.now() - timedelta(**(ago or {"seconds": 1}))


def without_effects(instance_id: str, status: str) -> None:
    """Change an instance's status as a process does that dies before it has done what follows."""
    instance = HopperInstance.objects.get(pk=instance_id)
    instance.status = status
    instance.save(update_fields=["status"])
    record(instance_event(instance, f"instance.{status}", actor=ALICE, now=timezone.now()))


def new_task(**values: Any) -> Asked:
    """Ask for a task under a key of its own."""
    body = {"title": "new", "unique_key": "k", "instance_id": "top", **values}
    return Asked("POST", "/tasks", body)


def of_lease(verb: str, lease: Lease, **values: Any) -> Asked:
    """Report on a lease."""
    return Asked("POST", f"/tasks/{lease.task.pk}/{verb}", {"token": lease.token, **values})


# Work comes in


@act
def creating_a_task_that_falls_to_a_run() -> Asked:
    tree()
    return new_task(tags=["web"], complexity=5)


@act
def creating_a_task_for_a_project_that_is_not_there_yet() -> Asked:
    tree()
    return new_task(project="mobile")


@act
def creating_a_task_that_waits_for_another() -> Asked:
    tree()
    return new_task(tags=["web"], complexity=5, depends_on=[queued().pk])


@act
def creating_a_task_that_no_child_may_take() -> Asked:
    tree()
    lifecycle.pause_instance("web", actor=ALICE)
    return new_task(project="web")


@act
def creating_a_task_that_its_project_hands_back() -> Asked:
    tree(manual_fallback=False, orchestration_threshold=1, create_orchestrations=False)
    lifecycle.pause_instance("run", actor=ALICE)
    return new_task(tags=["web"], executor_preference="orchestration")


@act
def adding_a_child_to_a_task() -> Asked:
    tree()
    parent = TaskFactory(instance=HopperInstance.objects.get(pk="run"), title="parent")
    return new_task(instance_id="run", parent_id=parent.pk)


@act
def decomposing_a_task() -> Asked:
    run = tree()
    parent = TaskFactory(instance=run.parent, title="parent")
    children = [
        {"key": "a", "title": "a", "instance_id": "run"},
        {"key": "b", "title": "b", "complexity": 5, "depends_on": ["a"]},
    ]
    return Asked("POST", f"/tasks/{parent.pk}/decompose", {"children": children})


@act
def editing_where_a_task_goes() -> Asked:
    tree()
    project("ops", capabilities=["ops"])
    task = TaskFactory(instance=HopperInstance.objects.get(pk="top"), title="edited")
    return Asked("PATCH", f"/tasks/{task.pk}", {"tags": ["ops"]})


# Workers


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
def cancelling_a_finished_task_by_force() -> Asked:
    tree()
    queued()
    lease = leased()
    complete_task(lease.task.pk, token=lease.token, actor=ALICE)
    body = {"status": "cancelled", "force": True}
    return Asked("POST", f"/tasks/{lease.task.pk}/status", body)


# Delegations


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


# Instances


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


# The sweep


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


def leased_token(title: str) -> str:
    """Return the token of the live lease on the task of that title."""
    return str(Task.objects.get(title=title).lease_token)
