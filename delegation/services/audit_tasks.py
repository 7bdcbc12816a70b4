"""Questions about tasks, leases and attempts: I1, I2, I7, I8, I10, I14, I15, I17, I18, I19."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, Subquery

from delegation.models import TaskDelegation
from instances.choices import STARTED, TERMINAL, AttemptOutcome, InstanceStatus
from instances.choices import TaskStatus as T
from instances.models import Attempt, Event, HopperInstance, InstanceLoad, Task
from instances.states import EXECUTING, ROUTING
from scopes.models import RoutingDecision

Breaches = Iterator[tuple[str, str]]


def tasks_nowhere() -> Breaches:
    """I1: an event speaks of each task, which is terminal, held or unassigned."""
    odd = Task.objects.filter(instance__isnull=True, route_due=True)
    for pk in odd.values_list("pk", flat=True):
        yield pk, "is unassigned and yet due for placing"
    unborn = Task.objects.exclude(events__kind="task.created")
    for pk in unborn.values_list("pk", flat=True):
        yield pk, "exists without an event of its creation"


def held_by_the_dead() -> Breaches:
    """I2: no unfinished task is held by a terminated instance."""
    dead = Task.objects.open().filter(instance__status=InstanceStatus.TERMINATED)
    for pk, holder in dead.values_list("pk", "instance_id"):
        yield pk, f"is unfinished and held by {holder}, which is terminated"


def leases() -> Breaches:
    """I7: a lease exactly while started, save hand work and decomposed parents, one at a time."""
    unstarted = Task.objects.exclude(status__in=STARTED).filter(lease_token__isnull=False)
    for pk, status in unstarted.values_list("pk", "status"):
        yield pk, f"is {status} and has a lease"
    live = Attempt.objects.filter(outcome__isnull=True)
    for pk, number in live.exclude(
        task__status__in=STARTED, task__lease_token__isnull=False, task__attempt=F("number")
    ).values_list("task_id", "number"):
        yield pk, f"attempt {number} is open, but the task has no such lease"
    for pk in (
        Task.objects.leased().exclude(pk__in=live.values("task_id")).values_list("pk", flat=True)
    ):
        yield pk, "has a lease without an open attempt"
    for pk in Task.objects.leased().filter(decomposed=True).values_list("pk", flat=True):
        yield pk, "is decomposed and has a lease"


def leases_in_the_right_place() -> Breaches:
    """I8: the lease's instance is the holder and may execute."""
    for pk, place, holder in (
        Attempt.objects.filter(outcome__isnull=True)
        .exclude(instance=F("task__instance"))
        .values_list("task_id", "instance_id", "task__instance_id")
    ):
        yield pk, f"is leased at {place} and held by {holder}"
    elsewhere = Task.objects.leased().exclude(instance__scope__in=EXECUTING)
    for pk, holder in elsewhere.values_list("pk", "instance_id"):
        yield pk, f"is leased at {holder}, which does not execute"


def open_ends_of_the_finished() -> Breaches:
    """I10: a terminal task has no open delegation, lease, or non-abandoned open child."""
    done = Task.objects.filter(status__in=TERMINAL)
    for row, task_id in (
        TaskDelegation.objects.open().filter(task__status__in=TERMINAL).values_list("pk", "task_id")
    ):
        yield task_id, f"has ended, but delegation {row} is open"
    leased = done.filter(Q(lease_token__isnull=False) | Q(offered_to__isnull=False))
    for pk in leased.values_list("pk", flat=True):
        yield pk, "has ended, but is still leased or offered"
    for pk, child in (
        Task.objects.open()
        .filter(parent__status__in=TERMINAL)
        .exclude(on_parent_close="abandon")
        .values_list("parent_id", "pk")
    ):
        yield pk, f"has ended, but its child {child} is open"


def times() -> Breaches:
    """I14: times are ordered."""
    for pk in Task.objects.filter(updated_at__lt=F("created_at")).values_list("pk", flat=True):
        yield pk, "was updated before it was created"
    for pk in Task.objects.filter(finished_at__lt=F("created_at")).values_list("pk", flat=True):
        yield pk, "was finished before it was created"
    disordered = TaskDelegation.objects.filter(
        Q(accepted_at__lt=F("delegated_at"))
        | Q(completed_at__lt=F("delegated_at"))
        | Q(completed_at__lt=F("accepted_at"))
    )
    for pk in disordered.values_list("pk", flat=True):
        yield pk, "was not offered, accepted and closed in this order"


def attempts() -> Breaches:
    """I15: attempts are contiguous, with one outcome each, at most one success an epoch."""
    spans = (
        Attempt.objects.values("task_id")
        .annotate(n=Count("pk"), low=Min("number"), high=Max("number"))
        .values_list("task_id", "n", "low", "high", "task__attempt")
    )
    for pk, count, low, high, last in spans:
        if low != 1 or high != count or last != high:
            yield pk, f"has {count} attempts, numbered {low} to {high}, and counts {last}"
    twice = (
        Attempt.objects.filter(outcome=AttemptOutcome.COMPLETED)
        .values("task_id", "epoch")
        .annotate(n=Count("pk"))
        .filter(n__gt=1)
    )
    for row in twice:
        yield row["task_id"], f"succeeded {row['n']} times in epoch {row['epoch']}"


def counters() -> Breaches:
    """I17: the counter of live leases equals the count."""
    counted = (
        Task.objects.leased()
        .filter(instance=OuterRef("pk"))
        .order_by()
        .values("instance")
        .annotate(n=Count("pk"))
        .values("n")
    )
    rows = InstanceLoad.objects.annotate(n=Subquery(counted)).values_list("pk", "running", "n")
    for pk, running, count in rows:
        if running != (count or 0):
            yield pk, f"counts {running} live leases, but has {count or 0}"
    missing = HopperInstance.objects.filter(load__isnull=True)
    for pk in missing.values_list("pk", flat=True):
        yield pk, "has no counter"


def reasons() -> Breaches:
    """I18: a task that rests at a routing holder has a decision of that holder and epoch."""
    resting = Task.objects.filter(
        status=T.PENDING, route_due=False, offered_to__isnull=True, instance__scope__in=ROUTING
    )
    decided = RoutingDecision.objects.filter(
        task=OuterRef("pk"), instance=OuterRef("instance"), epoch=OuterRef("epoch")
    )
    undecided = resting.exclude(
        pk__in=resting.filter(pk__in=decided.values("task_id")).values("pk")
    )
    for pk, holder in undecided.values_list("pk", "instance_id"):
        yield pk, f"rests at {holder} without a decision of it in this epoch"
    blocked = Task.objects.filter(status=T.BLOCKED).exclude(waiting__has_key="code")
    for pk in blocked.values_list("pk", flat=True):
        yield pk, "is blocked without a reason"


def one_end_each() -> Breaches:
    """I19: exactly one event per terminal transition and per (task, epoch, instance)."""
    endings = Event.objects.filter(ending=True)
    ended = Task.objects.filter(status__in=TERMINAL)
    told = endings.filter(task=OuterRef("pk"), epoch=OuterRef("epoch"), status=OuterRef("status"))
    silent = ended.exclude(pk__in=ended.filter(pk__in=told.values("task_id")).values("pk"))
    for pk, status in silent.values_list("pk", "status"):
        yield pk, f"is {status} without an event that says so"
    hops = TaskDelegation.objects.filter(
        task__status__in=TERMINAL, epoch=F("task__epoch"), accepted_at__isnull=False
    ).filter(reason__in=("task_done", "task_failed", "task_cancelled"))
    heard = endings.filter(task=OuterRef("task"), epoch=OuterRef("epoch"))
    for place in ("source_instance", "target_instance"):
        deaf = hops.filter(**{f"{place}__isnull": False}).exclude(
            Exists(heard.filter(instance=OuterRef(place)))
        )
        for pk, instance_id in deaf.values_list("task_id", f"{place}_id"):
            yield pk, f"has ended, but {instance_id} on its path was not told"
    twice = (
        endings.values("task_id", "epoch", "instance_id").annotate(n=Count("pk")).filter(n__gt=1)
    )
    for row in twice:
        yield row["task_id"], f"ended {row['n']} times in the feed of {row['instance_id']}"


QUESTIONS = (
    ("I1", "every task exists and is terminal, held or unassigned", tasks_nowhere),
    ("I2", "no unfinished task is held by a terminated instance", held_by_the_dead),
    ("I7", "at most one live lease, exactly while started", leases),
    ("I8", "a lease is at the holder, which executes", leases_in_the_right_place),
    ("I10", "a terminal task leaves nothing open", open_ends_of_the_finished),
    ("I14", "times are ordered", times),
    ("I15", "attempts are contiguous, one success an epoch", attempts),
    ("I17", "counters equal the counts", counters),
    ("I18", "every wait has a reason", reasons),
    ("I19", "every end is told exactly once", one_end_each),
)
