"""Ways to break one invariant each, by writing rows behind the services' backs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from delegation.models import TaskDelegation
from delegation.services.delegator import Delegator
from instances.models import (
    Attempt,
    Event,
    HopperInstance,
    InstanceLoad,
    Task,
    TaskDependency,
)
from instances.services.history import instance_event, record
from instances.services.queue import claim_next, complete_task
from scopes.models import RoutingDecision
from tests.factories import ALICE, InstanceFactory, TaskFactory

CAPABLE = {"capabilities": ["web"]}


@dataclass
class World:
    """GLOBAL > PROJECT > ORCHESTRATION with a task in each stage of its life."""

    top: HopperInstance
    web: HopperInstance
    run: HopperInstance
    other: HopperInstance
    manual: Task
    queued: Task
    leased: Task
    done: Task


def build() -> World:
    """Make the sound world that is then broken."""
    top = InstanceFactory(name="top")
    web = InstanceFactory(scope="PROJECT", parent=top, name="web", config=CAPABLE)
    run = InstanceFactory(scope="ORCHESTRATION", parent=web, name="run")
    other = InstanceFactory(scope="PROJECT", parent=top, name="other")
    done = _worked(top, run)
    leased = _queued(top)
    claim_next(run.pk, worker="bob", actor=ALICE)
    manual = TaskFactory(instance=top, tags=["web"], executor_preference="human")
    return World(top, web, run, other, manual, _queued(top), leased, done)


def _queued(top: HopperInstance) -> Task:
    return TaskFactory(instance=top, tags=["web"], complexity=4)


def _worked(top: HopperInstance, run: HopperInstance) -> Task:
    task = _queued(top)
    (lease,) = claim_next(run.pk, worker="bob", actor=ALICE).leases
    complete_task(task.pk, token=lease.token, actor=ALICE)
    return task


def _terminate(instance: HopperInstance) -> None:
    HopperInstance.objects.filter(pk=instance.pk).update(status="terminated")
    instance.status = "terminated"
    record(instance_event(instance, "instance.terminated", actor=ALICE, now=timezone.now()))


def _hops(task: Task) -> list[TaskDelegation]:
    return list(TaskDelegation.objects.for_task(task.pk))


def forget_the_creation(world: World) -> None:
    Event.objects.filter(task=world.done, kind="task.created").delete()


def terminate_a_holder(world: World) -> None:
    task = TaskFactory(instance=world.other)
    assert task.instance_id == world.other.pk
    _terminate(world.other)


def disorder_the_path(world: World) -> None:
    first, _ = _hops(world.queued)
    TaskDelegation.objects.filter(pk=first.pk).update(hop=9)


def forget_the_offer(world: World) -> None:
    Delegator(ALICE).delegate_task(world.manual.pk, world.run.pk)
    Task.objects.filter(pk=world.manual.pk).update(offered_to=None)


def skip_a_level(world: World) -> None:
    _, last = _hops(world.done)
    TaskDelegation.objects.filter(pk=last.pk).update(source_instance=world.top)


def ask_again(world: World) -> None:
    delegator = Delegator(ALICE)
    offer = delegator.delegate_task(world.manual.pk, world.run.pk).delegation
    delegator.reject_delegation(offer.pk, reason="not now")
    delegator.delegate_task(world.manual.pk, world.run.pk, force=True, reason="please")
    TaskDelegation.objects.filter(task=world.manual).update(forced=False)


def close_the_attempt(world: World) -> None:
    Attempt.objects.filter(task=world.leased).update(outcome="released")


def lease_elsewhere(world: World) -> None:
    Attempt.objects.filter(task=world.leased).update(instance=world.web)


def leave_a_hop_open(world: World) -> None:
    _, last = _hops(world.done)
    TaskDelegation.objects.filter(pk=last.pk).update(status="accepted", reason="")


def fail_a_hop(world: World) -> None:
    _, last = _hops(world.done)
    TaskDelegation.objects.filter(pk=last.pk).update(status="failed")


def turn_time_back(world: World) -> None:
    Task.objects.filter(pk=world.queued.pk).update(created_at=F("created_at") + timedelta(days=1))


def skip_an_attempt(world: World) -> None:
    Attempt.objects.filter(task=world.done).update(number=2)


def wait_in_a_circle(world: World) -> None:
    for task, before in ((world.queued, world.manual), (world.manual, world.queued)):
        TaskDependency.objects.create(task=task, depends_on=before)


def hang_a_task_under_its_child(world: World) -> None:
    Task.objects.filter(pk=world.queued.pk).update(parent=world.manual)
    Task.objects.filter(pk=world.manual.pk).update(parent=world.queued)


def misplace_an_instance(world: World) -> None:
    HopperInstance.objects.filter(pk=world.run.pk).update(level=7)


def overlap_two_intervals(world: World) -> None:
    HopperInstance.objects.filter(pk=world.web.pk).update(rght=F("rght") + 1)


def point_elsewhere(world: World) -> None:
    HopperInstance.objects.filter(pk=world.run.pk).update(parent=world.other)


def miscount(world: World) -> None:
    InstanceLoad.objects.filter(pk=world.run.pk).update(running=5)


def lose_a_counter(world: World) -> None:
    InstanceLoad.objects.filter(pk=world.other.pk).delete()


def forget_the_decision(world: World) -> None:
    RoutingDecision.objects.filter(task=world.manual, instance=world.web).delete()


def silence_an_end(world: World) -> None:
    Event.objects.filter(task=world.done).update(ending=False)


def tell_one_instance_less(world: World) -> None:
    Event.objects.filter(task=world.done, ending=True, instance=world.web).update(ending=False)


def rewrite_the_present(world: World) -> None:
    Task.objects.filter(pk=world.queued.pk).update(attempt=1)


def forget_to_place(world: World) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    Task.objects.filter(pk=world.manual.pk).update(
        route_due=True, created_at=long_ago, updated_at=long_ago
    )


def close_a_run_over_work(world: World) -> None:
    brief = InstanceFactory(
        scope="ORCHESTRATION", parent=world.web, name="brief", instance_type="ephemeral"
    )
    phase = InstanceFactory(scope="ORCHESTRATION", parent=brief, name="phase")
    TaskFactory(instance=phase)
    _terminate(brief)


Break = Callable[[World], None]

BREAKAGE: tuple[tuple[str, Break], ...] = (
    ("I1", forget_the_creation),
    ("I2", terminate_a_holder),
    ("I3", disorder_the_path),
    ("I4", forget_the_offer),
    ("I5", skip_a_level),
    ("I6", ask_again),
    ("I7", close_the_attempt),
    ("I8", lease_elsewhere),
    ("I10", leave_a_hop_open),
    ("I11", fail_a_hop),
    ("I14", turn_time_back),
    ("I15", skip_an_attempt),
    ("I16", wait_in_a_circle),
    ("I16", hang_a_task_under_its_child),
    ("I16", misplace_an_instance),
    ("I16", overlap_two_intervals),
    ("I17", miscount),
    ("I17", lose_a_counter),
    ("I18", forget_the_decision),
    ("I19", silence_an_end),
    ("I19", tell_one_instance_less),
    ("I20", rewrite_the_present),
    ("I21", forget_to_place),
    ("I22", close_a_run_over_work),
)
