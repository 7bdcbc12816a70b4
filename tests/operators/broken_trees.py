"""Ways to break what is promised of trees, delegations and their ends."""

from __future__ import annotations

from django.db.models import F, Model
from django.utils import timezone

from delegation.delegator import Delegator
from delegation.models import TaskDelegation
from instances.history import record, task_event
from instances.lessons import file_lesson
from instances.models import Attempt, Event, HopperInstance, Lesson, Task, TaskDependency
from instances.tree.shape import rebuild_tree
from tests.factories import ALICE, InstanceFactory, TaskFactory
from tests.operators.breakage import World, breaks
from tests.operators.broken_tasks import terminate, without_foreign_keys


def hops(task: Task) -> list[TaskDelegation]:
    """Return the delegations of a task, in order."""
    return list(TaskDelegation.objects.for_task(task.pk))


def change(row: TaskDelegation, **values: object) -> None:
    """Change one delegation."""
    TaskDelegation.objects.filter(pk=row.pk).update(**values)


@breaks("I3")
def disorder_the_path(world: World) -> None:
    first, _ = hops(world.queued)
    change(first, hop=9)


@breaks("I3")
def cut_the_path_short(world: World) -> None:
    _, last = hops(world.queued)
    change(last, status="cancelled", reason="reassigned")


@breaks("I3")
def walk_in_a_circle(world: World) -> None:
    first, last = hops(world.queued)
    for hop, row in enumerate((first, last), start=3):
        row.pk, row.hop = f"{row.pk}0", hop
        row.save(force_insert=True)


@breaks("I4")
def forget_the_offer(world: World) -> None:
    Delegator(ALICE).delegate_task(world.manual.pk, world.run.pk)
    Task.objects.filter(pk=world.manual.pk).update(offered_to=None)


@breaks("I4")
def offer_what_another_holds(world: World) -> None:
    aside = InstanceFactory(scope="ORCHESTRATION", parent=world.other, name="aside")
    offer = Delegator(ALICE).delegate_task(world.manual.pk, world.run.pk).delegation
    change(offer, source_instance=world.other, target_instance=aside)
    Task.objects.filter(pk=world.manual.pk).update(offered_to=aside)


@breaks("I4")
def offer_to_another_than_was_asked(world: World) -> None:
    aside = InstanceFactory(scope="ORCHESTRATION", parent=world.web, name="aside")
    Delegator(ALICE).delegate_task(world.manual.pk, world.run.pk)
    Task.objects.filter(pk=world.manual.pk).update(offered_to=aside)


@breaks("I5")
def skip_a_level(world: World) -> None:
    _, last = hops(world.done)
    change(last, source_instance=world.top)


@breaks("I5")
def send_to_a_cousin(world: World) -> None:
    first, _ = hops(world.done)
    aside = InstanceFactory(scope="ORCHESTRATION", parent=world.other, name="aside")
    _, last = hops(world.done)
    change(last, target_instance=aside)
    assert first.target_instance_id == world.web.pk


@breaks("I5")
def take_a_task_from_nowhere(world: World) -> None:
    _, last = hops(world.done)
    change(last, source_instance=None)


@breaks("I6")
def ask_again(world: World) -> None:
    delegator = Delegator(ALICE)
    offer = delegator.delegate_task(world.manual.pk, world.run.pk).delegation
    delegator.reject_delegation(offer.pk, reason="not now")
    delegator.delegate_task(world.manual.pk, world.run.pk, force=True, reason="please")
    TaskDelegation.objects.filter(task=world.manual).update(forced=False)


@breaks("I6")
def ask_who_gave_up(world: World) -> None:
    delegator = Delegator(ALICE)
    delegator.escalate_task(world.queued.pk, reason="too hard")
    delegator.delegate_task(world.queued.pk, world.run.pk, force=True, reason="please")
    TaskDelegation.objects.filter(task=world.queued).update(forced=False)


@breaks("I11")
def fail_a_hop(world: World) -> None:
    _, last = hops(world.done)
    change(last, status="failed")


@breaks("I11")
def cancel_the_hops_of_a_done_task(world: World) -> None:
    TaskDelegation.objects.filter(task=world.done).update(
        status="cancelled", reason="task_cancelled"
    )


@breaks("I11")
def complete_a_hop_of_other_work(world: World) -> None:
    Delegator(ALICE).escalate_task(world.queued.pk, reason="too hard")
    row = TaskDelegation.objects.get(task=world.queued, status="failed")
    change(row, status="completed")


@breaks("I16")
def wait_in_a_circle(world: World) -> None:
    for task, before in ((world.queued, world.manual), (world.manual, world.queued)):
        TaskDependency.objects.create(task=task, depends_on=before)


@breaks("I16")
def have_a_child_wait_for_who_waits_for_its_parent(world: World) -> None:
    child = TaskFactory(parent_id=world.manual.pk)
    for task, before in ((child, world.queued), (world.queued, world.manual)):
        TaskDependency.objects.create(task=task, depends_on=before)


@breaks("I16")
def hang_a_task_under_its_child(world: World) -> None:
    Task.objects.filter(pk=world.queued.pk).update(parent=world.manual)
    Task.objects.filter(pk=world.manual.pk).update(parent=world.queued)


@breaks("I16")
def misplace_an_instance(world: World) -> None:
    HopperInstance.objects.filter(pk=world.run.pk).update(level=7)


@breaks("I16")
def overlap_two_intervals(world: World) -> None:
    HopperInstance.objects.filter(pk=world.web.pk).update(rght=F("rght") + 1)


@breaks("I16")
def hang_an_instance_under_itself(world: World) -> None:
    brief = InstanceFactory(scope="ORCHESTRATION", parent=world.other, name="brief")
    phase = InstanceFactory(scope="ORCHESTRATION", parent=brief, name="phase")
    TaskFactory(instance=phase)
    HopperInstance.objects.filter(pk=brief.pk).update(parent=phase)


@breaks("I16")
def hang_a_project_where_none_may_be(world: World) -> None:
    below = InstanceFactory(scope="PROJECT", parent=world.top, name="below")
    HopperInstance.objects.filter(pk=below.pk).update(scope="FEDERATED")
    deeper = InstanceFactory(scope="ORCHESTRATION", parent=world.other, name="deeper")
    HopperInstance.objects.filter(pk=deeper.pk).update(parent=below)
    rebuild_tree()


@breaks("I16")
def count_another_root(world: World) -> None:
    Task.objects.filter(pk=world.queued.pk).update(root=world.manual)


@breaks("I19")
def silence_an_end(world: World) -> None:
    Event.objects.filter(task=world.done).update(ending=False)


@breaks("I19")
def tell_one_instance_less(world: World) -> None:
    Event.objects.filter(task=world.done, ending=True, instance=world.web).update(ending=False)


@breaks("I19")
def tell_the_root_nothing(world: World) -> None:
    Event.objects.filter(task=world.done, ending=True, instance=world.top).delete()


@breaks("I19")
def tell_an_end_that_was_none(world: World) -> None:
    task = world.queued
    now = timezone.now()
    record(task_event(task, "task.rumour", actor=ALICE, now=now, ending=True))


@breaks("I19")
def end_twice_in_an_epoch(world: World) -> None:
    Event.objects.filter(task=world.done, ending=True).update(data={})


@breaks("I22")
def close_a_run_over_work(world: World) -> None:
    brief = InstanceFactory(
        scope="ORCHESTRATION", parent=world.web, name="brief", instance_type="ephemeral"
    )
    phase = InstanceFactory(scope="ORCHESTRATION", parent=brief, name="phase")
    TaskFactory(instance=phase)
    terminate(brief)


@breaks("I22")
def hang_work_under_a_closed_run(world: World) -> None:
    brief = InstanceFactory(
        scope="ORCHESTRATION", parent=world.web, name="brief", instance_type="ephemeral"
    )
    busy = InstanceFactory(scope="ORCHESTRATION", parent=world.other, name="busy")
    TaskFactory(instance=busy)
    terminate(brief)
    HopperInstance.objects.filter(pk=busy.pk).update(parent=brief)
    rebuild_tree()


def point_elsewhere(world: World) -> None:
    """Contradict the numbers by a pointer; the numbers can be made again."""
    HopperInstance.objects.filter(pk=world.run.pk).update(parent=world.other)


@breaks("I24")
def keep_the_key_of_another_name(world: World) -> None:
    HopperInstance.objects.filter(pk=world.web.pk).update(name="Straße")


@breaks("I24")
def keep_the_key_of_other_tags(world: World) -> None:
    Task.objects.filter(pk=world.manual.pk).update(tags=["Web", "ops"])


@breaks("I24")
def forget_the_key_of_a_domain(world: World) -> None:
    lesson = file_lesson("Cache it", domain="CSS", seen=HopperInstance.objects.all(), actor=ALICE)
    Lesson.objects.filter(pk=lesson.pk).update(domain_key="CSS")


@breaks("I25")
def tell_of_an_instance_that_is_not_there(world: World) -> None:
    told = Event.objects.create(kind="instance.edited", at=timezone.now(), instance=world.other)
    point_nowhere(Event, told.pk)


@breaks("I25")
def have_leased_at_an_instance_that_is_not_there(world: World) -> None:
    point_nowhere(Attempt, Attempt.objects.get(task=world.done).pk)


def point_nowhere(history: type[Model], pk: int) -> None:
    """Let a row of the history name an instance that does not exist."""
    table = history._meta.db_table
    without_foreign_keys(f"UPDATE {table} SET instance_id = 'nowhere' WHERE id = %s", pk)
