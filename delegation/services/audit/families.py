"""Questions about parents and children: I12, I13."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Count, Exists, OuterRef, Q

from instances.choices import TERMINAL, ChildFailure, Completion, FailurePolicy
from instances.choices import TaskStatus as T
from instances.models import Event, Task

if TYPE_CHECKING:
    from delegation.services.audit.extent import Breaches, Extent


def closed_by_children(asked: Extent) -> Breaches:
    """I12: a parent closed by aggregation agrees with R14 applied to its children."""
    endings = Event.objects.filter(
        task=OuterRef("pk"), epoch=OuterRef("epoch"), ending=True, data__aggregated=True
    )
    closed = Task.objects.filter(Exists(endings), status__in=TERMINAL, decomposed=True)
    judged_by = {
        policy: Count(
            "children", filter=Q(children__status=T.FAILED) & _judged_by(FailurePolicy(policy))
        )
        for policy in FailurePolicy.values
    }
    rows = (
        asked.families(closed)
        .order_by()
        .values("pk", "status", "completion", "failure_policy", "quorum")
        .annotate(done=Count("children", filter=Q(children__status=T.DONE)), **judged_by)
    )
    for row in rows:
        due = _due(row)
        if row["status"] != due:
            failed = sum(row[policy] for policy in FailurePolicy.values)
            yield (
                row["pk"],
                f"was closed {row['status']} by its children, of which {row['done']} are done and "
                f"{failed} failed: it should {f'be {due}' if due else 'not be closed'}",
            )


def _judged_by(policy: FailurePolicy) -> Q:
    """Return the condition for children whose failure this policy judges, not another."""
    as_parent = Q(children__failure_means=ChildFailure.AS_PARENT, failure_policy=policy)
    return as_parent | Q(children__failure_means=policy)


def _due(parent: dict[str, Any]) -> str:
    """Return how R14 closes a parent of these children, "" where it does not close it."""
    failing = {policy for policy in FailurePolicy.values if parent[policy]}
    if not (failing or parent["done"]):
        return ""
    hard = failing & {FailurePolicy.FAIL_FAST, FailurePolicy.WAIT_ALL}
    if hard or (FailurePolicy.BEST_EFFORT in failing and parent["done"] < parent["quorum"]):
        return T.FAILED
    resumes = FailurePolicy.RESUME in (parent["failure_policy"], *failing)
    return "" if resumes or parent["completion"] == Completion.RESUME else T.DONE


def waiting_for_children(asked: Extent) -> Breaches:
    """I13: a parent waiting on children has an open child."""
    waits = Task.objects.filter(status=T.IN_PROGRESS, decomposed=True)
    idle = waits.filter(~Exists(Task.objects.open().filter(parent=OuterRef("pk"))))
    for pk in asked.families(idle).values_list("pk", flat=True):
        yield pk, "waits for its children, of which none is open"


QUESTIONS = (
    ("I12", "a parent closed by its children agrees with them", closed_by_children),
    ("I13", "a parent that waits for children has an open one", waiting_for_children),
)
