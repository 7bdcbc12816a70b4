"""Questions about leases, attempts and their counters: I7, I8, I9, I15, I17."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from django.db.models import Count, F, Max, Min, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from delegation.audit.extent import Breaches, Extent, said
from hopper.counts import counted
from instances.allowances import EXECUTING
from instances.choices import STARTED, TERMINAL, AttemptOutcome
from instances.models import Attempt, Event, HopperInstance, InstanceLoad, Task
from instances.queue_settings import queue_settings
from instances.settings import QUEUE
from instances.tree import open_counts

_READ_BEFORE = timedelta(minutes=1)
"""The longest time between the reading of a limit and the grant of a lease."""


def leases(asked: Extent) -> Breaches:
    """I7: a started task has one lease, except hand work and decomposed parents; others none."""
    tasks = asked.tasks(Task.objects.all())
    unstarted = tasks.exclude(status__in=(*STARTED, *TERMINAL)).filter(lease_seconds__isnull=False)
    yield from said(unstarted, "pk", "is {status} and has a lease")
    live = asked.tasks(Attempt.objects.filter(outcome__isnull=True), "task")
    unmatched = live.exclude(task__status__in=TERMINAL).exclude(
        task__status__in=STARTED,
        task__lease_seconds__isnull=False,
        task__attempt=F("number"),
        task__epoch=F("epoch"),
    )
    yield from said(
        unmatched, "task_id", "attempt {number} is open, but the task has no such lease"
    )
    leased = asked.tasks(Task.objects.leased())
    open_attempts = Attempt.objects.filter(outcome__isnull=True).values("task_id")
    yield from said(
        leased.exclude(pk__in=open_attempts), "pk", "has a lease without an open attempt"
    )
    yield from said(leased.filter(decomposed=True), "pk", "is decomposed and has a lease")
    timed = leased.filter(lease_expires_at__isnull=True)
    yield from said(timed, "pk", "has a lease that never ends")


def leases_in_the_right_place(asked: Extent) -> Breaches:
    """I8: the lease's instance is the holder and may execute."""
    live = Attempt.objects.filter(outcome__isnull=True, task__status__in=STARTED)
    away = asked.tasks(live, "task").exclude(instance_id=F("task__instance_id"))
    yield from said(away, "task_id", "is leased at {instance_id} and held by {task__instance_id}")
    elsewhere = Task.objects.leased().exclude(instance__scope__in=EXECUTING)
    yield from said(
        asked.tasks(elsewhere), "pk", "is leased at {instance_id}, which does not execute"
    )


def limits(asked: Extent) -> Breaches:
    """I9: live leases do not exceed the limit, unless the limit was lowered after their grant."""
    leased = asked.instances(Task.objects.leased(), "instance_id")
    counts = leased.order_by().values("instance_id").annotate(n=Count("pk"))
    crowded = {row["instance_id"]: row["n"] for row in counts}
    for instance in HopperInstance.objects.filter(pk__in=crowded).order_by("pk"):
        limit = queue_settings(instance.scope, instance.config).max_concurrent_tasks
        if crowded[instance.pk] > limit and not _lowered(instance):
            yield instance.pk, f"has {crowded[instance.pk]} live leases, its limit is {limit}"


def _lowered(instance: HopperInstance) -> bool:
    """Return whether the limit may have changed after the newest live lease was granted."""
    live = Attempt.objects.filter(outcome__isnull=True, task__instance=instance)
    newest = live.aggregate(at=Max("started_at"))["at"]
    if newest is None:
        return False
    edits = Event.objects.filter(
        instance=instance, kind="instance.updated", at__gt=newest - _READ_BEFORE
    )
    if any("config" in data.get("fields", ()) for data in edits.values_list("data", flat=True)):
        return True
    source = QUEUE.traced(instance.scope, "max_concurrent_tasks").source
    if not os.path.isfile(source):
        return False
    return bool(datetime.fromtimestamp(os.path.getmtime(source), UTC) > newest - _READ_BEFORE)


def attempts(asked: Extent) -> Breaches:
    """I15: attempts are contiguous, with one outcome each, at most one success an epoch."""
    spans = (
        asked.tasks(Task.objects.all())
        .order_by()
        .values("pk", "attempt")
        .annotate(n=Count("attempts"), low=Min("attempts__number"), high=Max("attempts__number"))
        .filter(~Q(n=F("attempt")) | Q(n__gt=0) & ~Q(low=1, high=F("n")))
    )
    for row in spans:
        numbered = f", numbered {row['low']} to {row['high']}" if row["n"] else ""
        yield (
            row["pk"],
            f"has {counted(row['n'], 'attempt')}{numbered}, and counts {row['attempt']}",
        )
    twice = (
        asked.tasks(Attempt.objects.filter(outcome=AttemptOutcome.COMPLETED), "task")
        .order_by()
        .values("task_id", "epoch")
        .annotate(n=Count("pk"))
        .filter(n__gt=1)
    )
    for row in twice:
        yield row["task_id"], f"succeeded {row['n']} times in epoch {row['epoch']}"
    odd = asked.tasks(Attempt.objects.exclude(outcome__in=AttemptOutcome.values), "task")
    yield from said(
        odd.filter(outcome__isnull=False),
        "task_id",
        "attempt {number} ended as {outcome!r}, which is no outcome",
    )


def counters(asked: Extent) -> Breaches:
    """I17: the stored numbers of live leases and of open tasks equal the counts."""
    counted = (
        Task.objects.leased()
        .filter(instance=OuterRef("pk"))
        .order_by()
        .values("instance")
        .annotate(n=Count("pk"))
        .values("n")
    )
    loads = asked.instances(InstanceLoad.objects.all())
    rows = loads.annotate(n=Coalesce(Subquery(counted), 0)).exclude(running=F("n"))
    yield from said(rows, "pk", "counts {running} live leases, but has {n}")
    missing = asked.instances(HopperInstance.objects.filter(load__isnull=True))
    yield from said(missing, "pk", "has no counter")
    for pk, kept, found in open_counts.wrong_counts(*asked.sql("id", "instance_id")):
        yield pk, f"counts {kept} open tasks, but holds {found}"


QUESTIONS = (
    ("I7", "at most one live lease, exactly while started", leases),
    ("I8", "a lease is at the holder, which executes", leases_in_the_right_place),
    ("I9", "no more leases than the limit", limits),
    ("I15", "attempts are contiguous, one success an epoch", attempts),
    ("I17", "counters equal the counts", counters),
)
