"""Questions about waiting: does the reason hold, and is the wait short enough: I18, I21."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, TextField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from delegation.audit.extent import TWO_SWEEPS, Breaches, Extent, said
from delegation.choices import DelegationStatus as D
from delegation.models import TaskDelegation
from instances.allowances import ROUTING, Standing
from instances.choices import (
    ATTENTION,
    PLACING_BLOCKS,
    STARTED,
    TERMINAL,
    DependencyRule,
    InstanceStatus,
    TaskStatus as T,
    WaitingCode as W,
)
from instances.models import HopperInstance, Task, TaskDependency, lineages
from scopes.models import RoutingDecision

_OFFERED = (W.AWAITING_ACCEPTANCE, W.AWAITING_ESCALATION)


def reasons(asked: Extent) -> Breaches:
    """I18: every unfinished task and pending offer has a reason that still holds.

    For a reason that is derived at each read (R26), the question reads the source rows.
    """
    yield from _stored_codes(asked)
    yield from _offers(asked)
    yield from _objects(asked)
    yield from _dependencies(asked)
    yield from _undecided(asked)


def _stored_codes(asked: Extent) -> Breaches:
    """Yield tasks whose stored reason is missing or belongs to another status."""
    tasks = asked.tasks(Task.objects.open()).annotate(code=_word("waiting__code"))
    coded = Q(code__isnull=False) & ~Q(code="")
    fits = (
        Q(status=T.BLOCKED, code__in=sorted(ATTENTION))
        | Q(status=T.PENDING, code__in=(*_OFFERED, W.RETRY_BACKOFF))
        | Q(status=T.IN_PROGRESS, decomposed=True, code=W.WAITING_CHILDREN)
    )
    yield from said(
        tasks.filter(coded).exclude(fits), "pk", "is {status}, but says that it waits for {code}"
    )
    needs = (
        Q(status=T.BLOCKED)
        | Q(status=T.PENDING, offered_to__isnull=False)
        | Q(status=T.IN_PROGRESS, decomposed=True)
    )
    yield from said(tasks.filter(needs).exclude(coded), "pk", "is {status} without a reason")
    idle = tasks.filter(status__in=STARTED, decomposed=False, worker="")
    yield from said(idle, "pk", "is {status} in nobody's hands")


def _offers(asked: Extent) -> Breaches:
    """Yield offers to terminated instances, and tasks that wait for another task's delegation."""
    offers = TaskDelegation.objects.filter(status=D.PENDING)
    dead = offers.filter(target_instance__status=InstanceStatus.TERMINATED)
    for rows in (asked.tasks(dead, "task"), asked.instances(dead, "target_instance")):
        yield from said(
            rows, "pk", "waits for an answer of {target_instance_id}, which is terminated"
        )
    own = offers.filter(task=OuterRef("pk"))
    asking = asked.tasks(Task.objects.filter(Exists(own), status=T.PENDING))
    named = asking.annotate(named=_word("waiting__object"))
    yield from said(
        named.filter(~Exists(own.filter(pk=OuterRef("named")))),
        "pk",
        "says that it waits for {named}, which is not its pending delegation",
    )


def _objects(asked: Extent) -> Breaches:
    """Yield tasks that placing blocked at an instance that no longer exists."""
    blocked = Task.objects.filter(status=T.BLOCKED, waiting__code__in=sorted(PLACING_BLOCKS))
    live = HopperInstance.objects.live().filter(pk=OuterRef("named"))
    named = asked.tasks(blocked).annotate(named=_word("waiting__object"))
    yield from said(
        named.filter(~Exists(live)), "pk", "waits for a decision at {named}, which is not alive"
    )


def _dependencies(asked: Extent) -> Breaches:
    """Yield tasks whose `ready` differs from their predecessors, two sweeps after these ended."""
    patience = asked.now - TWO_SWEEPS
    before = TaskDependency.objects.filter(task=OuterRef("pk"))
    fresh = before.filter(depends_on__updated_at__gte=patience)
    settled = (
        asked.dependants(Task.objects.all())
        .filter(route_due=False, offered_to__isnull=True, updated_at__lt=patience)
        .filter(~Exists(fresh))
    )
    any_end = Q(task__dependency_rule=DependencyRule.ANY_TERMINAL)
    met = Q(depends_on__status=T.DONE) | (any_end & Q(depends_on__status__in=TERMINAL))
    waiting = settled.filter(status=T.PENDING, ready=False)
    still_open = before.exclude(depends_on__status__in=TERMINAL)
    yield from said(
        waiting.filter(~Exists(still_open)),
        "pk",
        "waits for its predecessors, which have all ended",
    )
    # Also a task in work: after a release, the task may be claimed.
    early = settled.exclude(status__in=TERMINAL).filter(Exists(before.exclude(met)), ready=True)
    yield from said(early, "pk", "is ready, though a predecessor is not done")
    failed = before.filter(depends_on__status__in=(T.FAILED, T.CANCELLED)).exclude(any_end)
    stuck = settled.filter(status=T.BLOCKED, waiting__code=W.DEPENDENCY_FAILED)
    yield from said(
        stuck.filter(~Exists(failed)),
        "pk",
        "is blocked by a failed predecessor, but none has failed",
    )


def _undecided(asked: Extent) -> Breaches:
    resting = asked.tasks(Task.objects.filter(status=T.PENDING)).filter(
        route_due=False, offered_to__isnull=True, instance__scope__in=ROUTING
    )
    decided = RoutingDecision.objects.filter(
        task=OuterRef("pk"), instance=OuterRef("instance"), epoch=OuterRef("epoch")
    )
    yield from said(
        resting.filter(~Exists(decided)),
        "pk",
        "rests at {instance_id} without a decision of it in this epoch",
    )


def nothing_left_due(asked: Extent) -> Breaches:
    """I21: no task is due for placing longer than two sweeps while its holder may route.

    Events need no question: readers poll for them.
    """
    # Few tasks are due, and time alone breaks this. So all due tasks are read, without the extent.
    patience = asked.now - TWO_SWEEPS
    late = Task.objects.filter(route_due=True, updated_at__lt=patience)
    holders = set(late.order_by().values_list("instance_id", flat=True).distinct()) - {None}
    lines = lineages(map(str, holders))
    places = {ancestor.id for line in lines.values() for ancestor in line}
    # A younger change cannot have caused the wait.
    changed = HopperInstance.objects.filter(
        pk__in=places, updated_at__gte=patience, created_at__lt=patience
    )
    fresh = set(changed.values_list("pk", flat=True))
    for task_id, holder, since in late.values_list("pk", "instance_id", "updated_at"):
        line = lines.get(str(holder), [])
        if not line or fresh & {ancestor.id for ancestor in line}:
            continue
        if Standing.along(line).may("route"):
            yield task_id, f"has been due for placing at {holder} since {since:%Y-%m-%d %H:%M:%S}"


def _word(path: str) -> Cast:
    """Return the text at a path into JSON, as a plain value to compare with columns."""
    return Cast(KT(path), TextField())


QUESTIONS = (
    ("I18", "every wait has a reason that holds", reasons),
    ("I21", "nothing stays due for placing", nothing_left_due),
)
