"""Questions about delegations: I3, I4, I5, I6, I11."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise

from django.db.models import Count, F, Q

from delegation.choices import DelegationStatus as D
from delegation.choices import DelegationType
from delegation.models import TaskDelegation
from instances.choices import TaskStatus as T
from instances.models import Task
from instances.states import PARENTS

Breaches = Iterator[tuple[str, str]]

_ENDS = {T.DONE: D.COMPLETED, T.FAILED: D.FAILED, T.CANCELLED: D.CANCELLED}


def paths() -> Breaches:
    """I3: the active path is simple, connected, and ends at the holder."""
    rows = (
        TaskDelegation.objects.filter(status=D.ACCEPTED, source_instance__isnull=False)
        .exclude(delegation_type=DelegationType.ESCALATE)
        .order_by("task_id", "hop", "id")
        .values_list("task_id", "source_instance_id", "target_instance_id", "task__instance_id")
    )
    for task_id, group in groupby(rows, key=lambda row: row[0]):
        hops = list(group)
        if any(here[2] != after[1] for here, after in pairwise(hops)):
            yield task_id, "its active path is not connected"
        places = [hops[0][1], *(hop[2] for hop in hops)]
        if len(set(places)) != len(places):
            yield task_id, "its active path visits an instance twice"
        if hops[-1][2] != hops[-1][3]:
            yield task_id, f"its active path ends at {hops[-1][2]}, but {hops[-1][3]} holds it"


def pending() -> Breaches:
    """I4: at most one pending delegation per task, made by the holder, and the task says so."""
    rows = TaskDelegation.objects.filter(status=D.PENDING)
    for row in rows.values("task_id").annotate(n=Count("pk")).filter(n__gt=1):
        yield row["task_id"], f"has {row['n']} pending delegations"
    elsewhere = rows.exclude(
        Q(source_instance=F("task__instance"))
        | Q(source_instance__isnull=True, task__instance__isnull=True)
    )
    for pk, task_id in elsewhere.values_list("pk", "task_id"):
        yield task_id, f"delegation {pk} is pending, but was not made by the holder"
    unsaid = rows.exclude(task__offered_to=F("target_instance"))
    for pk, task_id in unsaid.values_list("pk", "task_id"):
        yield task_id, f"delegation {pk} is pending, but the task is not offered to its target"
    hollow = Task.objects.filter(offered_to__isnull=False).exclude(pk__in=rows.values("task_id"))
    for pk in hollow.values_list("pk", flat=True):
        yield pk, "is offered without a pending delegation"


def legal_hops() -> Breaches:
    """I5: every target was a legal child of its source, every escalation goes to a parent."""
    rows = TaskDelegation.objects.filter(source_instance__isnull=False).values_list(
        "pk", "delegation_type", "source_instance__scope", "target_instance__scope"
    )
    for pk, kind, source, target in rows:
        up = kind == DelegationType.ESCALATE
        child, parent = (source, target) if up else (target, source)
        if parent not in PARENTS[child]:
            yield pk, f"{kind} from a {source} to a {target}"
    open_rows = TaskDelegation.objects.open().filter(source_instance__isnull=False)
    strangers = open_rows.exclude(delegation_type=DelegationType.ESCALATE).exclude(
        target_instance__parent=F("source_instance")
    )
    for pk, source, target in strangers.values_list(
        "pk", "source_instance_id", "target_instance_id"
    ):
        yield pk, f"{target} is no child of {source}"


def asked_again() -> Breaches:
    """I6: no offer to an instance excluded in that epoch unless forced."""
    refused = TaskDelegation.objects.filter(status__in=(D.REJECTED, D.EXPIRED)).values_list(
        "task_id", "epoch", "target_instance_id", "completed_at"
    )
    for task_id, epoch, target, when in refused.iterator():
        later = TaskDelegation.objects.filter(
            task_id=task_id,
            epoch=epoch,
            target_instance_id=target,
            delegated_at__gt=when,
            forced=False,
        ).exclude(delegation_type=DelegationType.ESCALATE)
        for pk in later.values_list("pk", flat=True):
            yield pk, f"{target} was asked again for {task_id} after it had refused"


def ends_agree() -> Breaches:
    """I11: a downward delegation's end agrees with its task's end in that epoch."""
    for status, end in _ENDS.items():
        rows = (
            TaskDelegation.objects.filter(task__status=status, epoch=F("task__epoch"))
            .filter(reason__in=("task_done", "task_failed", "task_cancelled"))
            .exclude(delegation_type=DelegationType.ESCALATE)
            .exclude(accepted_at__isnull=True)
            .exclude(status=end)
        )
        for pk, was in rows.values_list("pk", "status"):
            yield pk, f"ended {was}, its task {status}"
    lost = TaskDelegation.objects.filter(status=D.COMPLETED).exclude(
        delegation_type=DelegationType.ESCALATE
    )
    for pk in (
        lost.filter(epoch=F("task__epoch"))
        .exclude(task__status=T.DONE)
        .values_list("pk", flat=True)
    ):
        yield pk, "is completed, but its task is not done"


QUESTIONS = (
    ("I3", "the active path is simple, connected and ends at the holder", paths),
    ("I4", "at most one pending delegation, made by the holder", pending),
    ("I5", "every hop is legal by the parent table", legal_hops),
    ("I6", "nobody is asked again in an epoch", asked_again),
    ("I11", "delegations end as their task does", ends_agree),
)
