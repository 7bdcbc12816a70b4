"""Ways to break what is promised of tasks, leases and families."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection
from django.db.models import F
from django.utils import timezone

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from instances.history import instance_event, record, task_event
from instances.lifecycle.actions import pause_instance
from instances.models import Attempt, Event, HopperInstance, InstanceLoad, Task, TaskDependency
from instances.tasks.status_by_hand import set_status
from instances.tasks.worker import claim_next, fail_task
from instances.tree import open_counts
from scopes.models import RoutingDecision
from tests.factories import ALICE, TaskFactory
from tests.operators.breakage import World, breaks

AN_HOUR = timedelta(hours=1)


def terminate(instance: HopperInstance) -> None:
    """Terminate an instance as no service does: what it holds stays."""
    HopperInstance.objects.filter(pk=instance.pk).update(status="terminated")
    instance.status = "terminated"
    record(instance_event(instance, "instance.terminated", actor=ALICE, now=timezone.now()))


def set_task(task: Task, **values: object) -> None:
    """Change the row, and let the log say so."""
    before = Task.objects.get(pk=task.pk).status
    Task.objects.filter(pk=task.pk).update(**values)
    task.refresh_from_db()
    record(task_event(task, "task.changed", actor=ALICE, now=timezone.now(), before=before))


def without_foreign_keys(statement: str, *parameters: object) -> None:
    """Run a statement that no foreign key stops."""
    off, on = (
        ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON")
        if connection.vendor == "sqlite"
        else ("SET session_replication_role = replica", "SET session_replication_role = DEFAULT")
    )
    with connection.cursor() as cursor:
        cursor.execute(off)
        cursor.execute(statement, parameters)
        cursor.execute(on)
    # The triggers that count were off too.
    open_counts.recount()


def family(world: World, *, finish: int = 2, **options: object) -> tuple[Task, list[Task]]:
    """Return a parent of two children in the run, and them, so many of them done."""
    parent = TaskFactory(instance=world.run, title="parent", priority="low", **options)
    children = [TaskFactory(parent_id=parent.pk, instance=world.run) for _ in range(2)]
    for child in children[:finish]:
        set_status(child.pk, status="done", actor=ALICE)
    return parent, children


def second_lease(world: World) -> tuple[str, str]:
    """Return the tokens of two leases of the run."""
    claim_next(world.run.pk, worker="eve", actor=ALICE)
    first, second = Task.objects.leased().order_by("pk")
    return str(first.lease_token), str(second.lease_token)


@breaks("I1")
def forget_the_creation(world: World) -> None:
    Event.objects.filter(task=world.done, kind="task.created").delete()


@breaks("I1")
def lose_a_task(world: World) -> None:
    lost = TaskFactory(instance=world.run)
    without_foreign_keys(f"DELETE FROM {Task._meta.db_table} WHERE id = %s", lost.pk)


@breaks("I1")
def give_a_task_to_nobody_real(world: World) -> None:
    lone = TaskFactory(instance=None)
    set_task(lone)
    Event.objects.filter(task=lone).update(holder_id="ghost")
    sql = f"UPDATE {Task._meta.db_table} SET instance_id = 'ghost' WHERE id = %s"
    without_foreign_keys(sql, lone.pk)


@breaks("I2")
def terminate_a_holder(world: World) -> None:
    task = TaskFactory(instance=world.other)
    assert task.instance_id == world.other.pk
    terminate(world.other)


@breaks("I2")
def hand_a_task_to_the_dead(world: World) -> None:
    terminate(world.other)
    set_task(TaskFactory(instance=None), instance=world.other)
    # So that only the holder is wrong: it has decided, and it is no EPHEMERAL instance.
    task = Task.objects.get(instance=world.other)
    decision = RoutingDecision.objects.filter(task=world.manual).first()
    assert decision is not None
    decision.pk, decision.task, decision.instance = "dec-1", task, world.other
    decision._state.adding = True
    decision.save()


@breaks("I7")
def close_the_attempt(world: World) -> None:
    Attempt.objects.filter(task=world.leased).update(outcome="released")


@breaks("I7")
def lease_of_another_epoch(world: World) -> None:
    Attempt.objects.filter(task=world.leased).update(epoch=7)


@breaks("I7")
def release_without_closing_the_attempt(world: World) -> None:
    set_task(world.leased, status="pending", lease_seconds=None, worker="")
    InstanceLoad.objects.filter(pk=world.run.pk).update(running=0)


@breaks("I7")
def lease_a_parent(world: World) -> None:
    set_task(
        world.leased, status="in_progress", decomposed=True, waiting={"code": "WaitingChildren"}
    )
    child = TaskFactory(instance=world.run)
    Task.objects.filter(pk=child.pk).update(parent=world.leased, root=world.leased)


@breaks("I8")
def lease_elsewhere(world: World) -> None:
    Attempt.objects.filter(task=world.leased).update(instance=world.web)


@breaks("I8")
def lease_where_nobody_works(world: World) -> None:
    task = TaskFactory(instance=world.top)
    set_task(
        task,
        status="claimed",
        attempt=1,
        worker="eve",
        lease_seconds=300,
        lease_expires_at=timezone.now() + AN_HOUR,
    )
    Attempt.objects.create(
        task=task, number=1, epoch=1, instance=world.top, worker="eve",
        started_at=timezone.now(),
    )  # fmt: skip
    InstanceLoad.objects.filter(pk=world.top.pk).update(running=1)


@breaks("I9")
def lower_a_limit_before_the_leases(world: World) -> None:
    second_lease(world)
    HopperInstance.objects.filter(pk=world.run.pk).update(config={"max_concurrent_tasks": 1})


@breaks("I9")
def lease_beyond_the_limit(world: World) -> None:
    HopperInstance.objects.filter(pk=world.run.pk).update(config={"max_concurrent_tasks": 1})
    set_task(
        world.queued,
        status="claimed",
        attempt=1,
        worker="eve",
        lease_seconds=300,
        lease_expires_at=timezone.now() + AN_HOUR,
    )
    Attempt.objects.create(
        task=world.queued, number=1, epoch=1, instance=world.run, worker="eve",
        started_at=timezone.now(),
    )  # fmt: skip
    InstanceLoad.objects.filter(pk=world.run.pk).update(running=2)


@breaks("I10")
def leave_a_hop_open(world: World) -> None:
    last = TaskDelegation.objects.for_task(world.done.pk).last()
    assert last is not None
    TaskDelegation.objects.filter(pk=last.pk).update(status="accepted", reason="")


@breaks("I10")
def leave_an_attempt_open(world: World) -> None:
    Attempt.objects.filter(task=world.done).update(outcome=None)


@breaks("I10")
def leave_a_child_open(world: World) -> None:
    Task.objects.filter(pk=world.queued.pk).update(parent=world.done, root=world.done)


@breaks("I12")
def close_a_parent_over_a_failed_child(world: World) -> None:
    parent, (first, second) = family(world, finish=0)
    for child in (first, second):
        set_status(child.pk, status="in_progress", actor=ALICE)
        fail_task(child.pk, retryable=False, actor=ALICE)
    assert Task.objects.get(pk=parent.pk).status == "failed"
    Task.objects.filter(pk=parent.pk).update(status="done")
    Event.objects.filter(task=parent, status="failed").update(status="done")


@breaks("I12")
def close_a_parent_that_should_resume(world: World) -> None:
    parent, _ = family(world)
    assert Task.objects.get(pk=parent.pk).status == "done"
    Task.objects.filter(pk=parent.pk).update(completion="resume")


@breaks("I12")
def raise_the_quorum_afterwards(world: World) -> None:
    parent, (_, second) = family(world, finish=1, failure_policy="best_effort")
    set_status(second.pk, status="in_progress", actor=ALICE)
    fail_task(second.pk, retryable=False, actor=ALICE)
    assert Task.objects.get(pk=parent.pk).status == "done"
    Task.objects.filter(pk=parent.pk).update(quorum=2)


@breaks("I12")
def say_afterwards_that_the_failure_did_not_matter(world: World) -> None:
    parent, (_, second) = family(world, finish=1)
    set_status(second.pk, status="in_progress", actor=ALICE)
    fail_task(second.pk, retryable=False, actor=ALICE)
    assert Task.objects.get(pk=parent.pk).status == "failed"
    Task.objects.filter(pk=second.pk).update(failure_means="best_effort")


@breaks("I13")
def take_the_children_away(world: World) -> None:
    _, children = family(world, finish=0)
    for child in children:
        Task.objects.filter(pk=child.pk).update(parent=None, root=child.pk)


@breaks("I13")
def wait_for_no_child(world: World) -> None:
    task = TaskFactory(instance=None)
    set_task(task, status="in_progress", decomposed=True, waiting={"code": "WaitingChildren"})


@breaks("I14")
def turn_time_back(world: World) -> None:
    Task.objects.filter(pk=world.queued.pk).update(created_at=F("created_at") + timedelta(days=1))


@breaks("I14")
def accept_before_the_offer(world: World) -> None:
    hops = TaskDelegation.objects.filter(task=world.queued)
    hops.update(accepted_at=F("delegated_at") - timedelta(seconds=1))


@breaks("I14")
def end_an_attempt_before_it_began(world: World) -> None:
    Attempt.objects.filter(task=world.done).update(ended_at=F("started_at") - AN_HOUR)


@breaks("I15")
def skip_an_attempt(world: World) -> None:
    Attempt.objects.filter(task=world.done).update(number=2)


@breaks("I15")
def forget_an_attempt(world: World) -> None:
    Attempt.objects.filter(task=world.done).delete()


@breaks("I15")
def end_an_attempt_in_an_unknown_way(world: World) -> None:
    Attempt.objects.filter(task=world.done).update(outcome="vanished")


@breaks("I17")
def miscount(world: World) -> None:
    InstanceLoad.objects.filter(pk=world.run.pk).update(running=5)


@breaks("I17")
def lose_a_counter(world: World) -> None:
    InstanceLoad.objects.filter(pk=world.other.pk).delete()


@breaks("I17")
def lose_the_counts_of_open_tasks(_world: World) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {open_counts.TABLE}")


@breaks("I18")
def forget_the_decision(world: World) -> None:
    RoutingDecision.objects.filter(task=world.manual, instance=world.web).delete()


@breaks("I18")
def block_without_a_reason(world: World) -> None:
    set_task(world.manual, status="blocked", waiting={})


@breaks("I18")
def name_another_offer(world: World) -> None:
    pause_instance(world.run.pk, actor=ALICE)
    Delegator(ALICE).delegate_task(world.manual.pk, world.run.pk)
    Task.objects.filter(pk=world.manual.pk).update(
        waiting={"code": "AwaitingAcceptance", "object": "del-0"}
    )


@breaks("I18")
def wait_for_what_has_ended(world: World) -> None:
    late = TaskFactory(instance=world.run, depends_on=[world.queued.pk])
    TaskDependency.objects.filter(task=late).update(depends_on=world.done)
    past = timezone.now() - AN_HOUR
    Task.objects.filter(pk__in=[late.pk, world.done.pk]).update(created_at=past, updated_at=past)


@breaks("I18")
def work_before_it_is_time(world: World) -> None:
    TaskDependency.objects.create(task=world.leased, depends_on=world.queued)
    past = timezone.now() - AN_HOUR
    Task.objects.filter(pk__in=[world.leased.pk, world.queued.pk]).update(
        created_at=past, updated_at=past
    )


@breaks("I18")
def work_in_nobodys_hands(world: World) -> None:
    set_status(world.manual.pk, status="in_progress", owner="eve", actor=ALICE)
    Task.objects.filter(pk=world.manual.pk).update(worker="")


@breaks("I20")
def rewrite_the_present(world: World) -> None:
    Task.objects.filter(pk=world.queued.pk).update(
        status="blocked", waiting={"code": "InputRequired"}
    )


@breaks("I20")
def move_a_task_silently(world: World) -> None:
    Task.objects.filter(pk=TaskFactory(instance=None).pk).update(instance=world.run)


@breaks("I20")
def run_an_instance_silently(world: World) -> None:
    HopperInstance.objects.filter(pk=world.other.pk).update(status="paused")


@breaks("I20")
def cut_a_page_from_the_log(world: World) -> None:
    Event.objects.filter(task=world.done, kind="task.claimed").delete()


@breaks("I21")
def forget_to_place(world: World) -> None:
    past = timezone.now() - AN_HOUR
    Task.objects.filter(pk=world.manual.pk).update(route_due=True, created_at=past, updated_at=past)


@breaks("I21")
def forget_to_place_what_was_put_back(world: World) -> None:
    past = timezone.now() - AN_HOUR
    task = TaskFactory(instance=world.top)
    Task.objects.filter(pk=task.pk).update(route_due=True, created_at=past, updated_at=past)
    RoutingDecision.objects.filter(task=task).delete()
