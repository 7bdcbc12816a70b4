"""Questions about delegations: I3, I4, I5, I6, I11."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby, pairwise

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from delegation.audit.extent import Breaches, Extent, said
from delegation.choices import DelegationStatus as D, DelegationType, Reason
from delegation.models import TaskDelegation
from hopper.protocol import PARENTS
from instances.choices import TERMINAL, TaskStatus as T
from instances.models import Event, Task

_UP = Q(delegation_type=DelegationType.ESCALATE)
_ENDS = (
    (T.DONE, D.COMPLETED, Reason.TASK_DONE),
    (T.FAILED, D.FAILED, Reason.TASK_FAILED),
    (T.CANCELLED, D.CANCELLED, Reason.TASK_CANCELLED),
)


def paths(asked: Extent) -> Breaches:
    """I3: the active path is simple, connected, and ends at the holder."""
    rows = asked.tasks(
        TaskDelegation.objects.filter(status=D.ACCEPTED, source_instance__isnull=False)
        .exclude(_UP)
        .exclude(task__status__in=TERMINAL),
        "task",
    ).order_by("task_id", "hop", "id")
    columns = ("task_id", "source_instance_id", "target_instance_id", "task__instance_id")
    found = rows.values_list(*columns).iterator(chunk_size=5000)
    for task_id, group in groupby(found, key=lambda row: row[0]):
        hops = list(group)
        if any(here[2] != after[1] for here, after in pairwise(hops)):
            yield task_id, "its active path is not connected"
        places = [hops[0][1], *(hop[2] for hop in hops)]
        if len(set(places)) != len(places):
            yield task_id, "its active path visits an instance twice"
        if hops[-1][2] != hops[-1][3]:
            yield task_id, f"its active path ends at {hops[-1][2]}, but {hops[-1][3]} holds it"


def pending(asked: Extent) -> Breaches:
    """I4: at most one pending delegation per task, made by the holder, and the task says so."""
    offers = TaskDelegation.objects.filter(status=D.PENDING)
    rows = asked.tasks(offers, "task")
    for row in rows.order_by().values("task_id").annotate(n=Count("pk")).filter(n__gt=1):
        yield row["task_id"], f"has {row['n']} pending delegations"
    open_rows = rows.exclude(task__status__in=TERMINAL)
    elsewhere = open_rows.exclude(
        Q(source_instance=F("task__instance"))
        | Q(source_instance__isnull=True, task__instance__isnull=True)
    )
    yield from said(
        elsewhere, "task_id", "delegation {pk} is pending, but was not made by the holder"
    )
    unsaid = open_rows.exclude(task__offered_to=F("target_instance"))
    yield from said(
        unsaid, "task_id", "delegation {pk} is pending, but the task is not offered to its target"
    )
    offered = asked.tasks(Task.objects.open().filter(offered_to__isnull=False))
    hollow = offered.filter(~Exists(offers.filter(task=OuterRef("pk"))))
    yield from said(hollow, "pk", "is offered without a pending delegation")


def legal_hops(asked: Extent) -> Breaches:
    """I5: every target was a legal child (escalate: parent) of its source, by R1 too.

    A source may be missing only if the task was unassigned at the offer.
    """
    rows = asked.tasks(TaskDelegation.objects.all(), "task")
    hops = rows.filter(source_instance__isnull=False)
    kinds = hops.order_by().values_list(
        "delegation_type", "source_instance__scope", "target_instance__scope"
    )
    for kind, source, target in kinds.distinct():
        up = kind == DelegationType.ESCALATE
        child, parent = (source, target) if up else (target, source)
        if parent not in PARENTS.get(child, ()):
            same = {"source_instance__scope": source, "target_instance__scope": target}
            for pk in hops.filter(delegation_type=kind, **same).values_list("pk", flat=True):
                yield pk, f"{kind} from a {source} to a {target}"
    yield from _illegal_hops(hops)
    handed = rows.filter(source_instance__isnull=True).exclude(
        Exists(
            Event.objects.filter(
                task=OuterRef("task"),
                delegation_id=OuterRef("pk"),
                kind="delegation.offered",
                holder_id="",
            )
        )
    )
    yield from said(handed, "pk", "has no source, but its task was held by one when it was offered")


def _illegal_hops(hops: QuerySet[TaskDelegation]) -> Breaches:
    """Yield the hops between two instances that never were child and parent."""
    down = hops.exclude(_UP).exclude(target_instance__parent=F("source_instance"))
    up = hops.filter(_UP).exclude(source_instance__parent=F("target_instance"))
    ends = ("pk", "target_instance_id", "source_instance_id")
    found = list(down.values_list(*ends))
    found += [(pk, child, parent) for pk, parent, child in up.values_list(*ends)]
    moved = Event.objects.filter(
        kind="instance.moved", instance_id__in={child for _, child, _ in found}
    )
    parents: dict[str, set[str]] = defaultdict(set)
    for child, data in moved.values_list("instance_id", "data"):
        parents[str(child)].add(data.get("was"))
    for pk, child, parent in found:
        if parent not in parents[child]:
            yield pk, f"{child} is no child of {parent} and never was"


def asked_again(asked: Extent) -> Breaches:
    """I6: no offer to an instance excluded in that epoch unless forced.

    Excluded instances refused the task, let an offer expire, or escalated the task (R10).
    """
    same = TaskDelegation.objects.filter(task=OuterRef("task"), epoch=OuterRef("epoch"))
    refused = same.filter(
        status__in=(D.REJECTED, D.EXPIRED),
        target_instance=OuterRef("target_instance"),
        completed_at__lt=OuterRef("delegated_at"),
    )
    gave_up = same.filter(
        _UP, source_instance=OuterRef("target_instance"), delegated_at__lt=OuterRef("delegated_at")
    )
    offers = TaskDelegation.objects.exclude(_UP).filter(forced=False)
    again = asked.tasks(offers, "task").filter(Exists(refused) | Exists(gave_up))
    yield from said(
        again, "pk", "{target_instance_id} was asked again for {task_id} after it had refused"
    )


def ends_agree(asked: Extent) -> Breaches:
    """I11: a downward delegation's end agrees with its task's end in that epoch."""
    accepted = TaskDelegation.objects.exclude(_UP).filter(accepted_at__isnull=False)
    rows = asked.tasks(accepted, "task")
    for task_status, status, reason in _ENDS:
        contradicting = rows.filter(reason=reason).exclude(status=status)
        for pk, was in contradicting.values_list("pk", "status"):
            yield pk, f"ended {was}, but says {reason}"
        endings = Event.objects.filter(
            task=OuterRef("task"), status=task_status, epoch__gte=OuterRef("epoch")
        )
        unproved = rows.filter(reason=reason, status=status).filter(~Exists(endings))
        for pk in unproved.values_list("pk", flat=True):
            yield pk, f"says {reason}, but the task has not ended {task_status} since"
        last = rows.filter(
            task__status=task_status, completed_at__gte=F("task__finished_at"), reason__in=_REASONS
        )
        for pk, was in last.exclude(reason=reason).values_list("pk", "status"):
            yield pk, f"ended {was}, its task {task_status}"
    delivered = rows.filter(status=D.COMPLETED).exclude(reason=Reason.TASK_DONE)
    yield from said(delivered, "pk", "is completed, but not because its task was done")


_REASONS = [reason for *_, reason in _ENDS]

QUESTIONS = (
    ("I3", "the active path is simple, connected and ends at the holder", paths),
    ("I4", "at most one pending delegation, made by the holder", pending),
    ("I5", "every hop is legal by the parent table", legal_hops),
    ("I6", "no instance is asked twice in an epoch", asked_again),
    ("I11", "delegations end as their task does", ends_agree),
)
